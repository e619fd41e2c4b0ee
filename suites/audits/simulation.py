"""Data simulated from a latent-variable model, with the latents that they came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.models.model import LatentVariable
from torchstone.models.randomness import draw
from torchstone.suites.audits.subject import Subject

__all__ = ["Simulation", "simulated"]


@final
@dataclass(frozen=True, slots=True)
class Simulation:
    """Independent draws from a model's prior and likelihood, on its device.

    Each latent is an exact draw from the posterior of its example: that is what makes simulated data worth having.

    Attributes:
        z: ``(n, *latent)``.
        x: ``(n, *event)``, as the model takes them.
        y: labels, where the model takes them.
    """

    z: Tensor
    x: Tensor
    y: Tensor | None


def simulated(subject: Subject, n: int, purpose: str) -> Simulation:
    """``n`` examples, ``z ~ p(z | y)`` and ``x ~ p(x | z, y)``, with labels drawn uniformly."""
    model, context = subject.model, subject.context
    assert isinstance(model, LatentVariable)
    labels = subject.labels(n, subject.rng(f"{purpose}/labels"))
    y = None if labels is None else labels.to(context.device)
    with torch.no_grad():
        prior = model.prior(y)
        shape = (n,) if len(prior.batch_shape) == 0 else ()
        z = draw(prior, context.rng(f"audit/{purpose}/latents"), shape)
        rows = []
        for block, start in enumerate(range(0, n, context.batch_size)):
            part = slice(start, start + context.batch_size)
            given = model.likelihood(z[part], None if y is None else y[part])
            rows.append(draw(given, context.rng(f"audit/{purpose}/examples", block)))
    return Simulation(z, torch.cat(rows), y)
