"""What the latents carry: information, active units, collapse, and what the decoder makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.models.model import LatentVariable
from torchstone.models.randomness import draw
from torchstone.suites.context import Context
from torchstone.suites.latent.examples import Examples, Rows
from torchstone.suites.metrics.latents import Aggregate, aggregate, derangement, kl_per_latent, mean_variances

__all__ = ["Usage", "ask_reliance", "ask_usage"]


@final
@dataclass(frozen=True, slots=True)
class Usage:
    """What is known of the latents over many examples.

    Attributes:
        aggregate: mutual information and marginal KL, from both sides.
        variances: of the posterior means over examples, in units of the prior's, ``(latents,)``, largest first.
        kl: of each latent, ``(latents,)``, the mean over examples in the order of the latents; None where no closed
            form is known.
    """

    aggregate: Aggregate
    variances: Tensor
    kl: Tensor | None


def ask_usage(model: LatentVariable, rows: Rows, context: Context) -> Usage | None:
    """Look at the posteriors of ``rows``, at least two; None where they have not one prior in common."""
    with torch.no_grad():
        posterior, prior = model.posterior(rows.x, rows.y), model.prior(rows.y)
        if prior.batch_shape:
            return None
        kl = kl_per_latent(posterior, prior)
        return Usage(
            aggregate(posterior, prior, context.rng("usage/information")),
            mean_variances(posterior, prior, context.rng("usage/variances")),
            None if kl is None else kl.double().mean(0).cpu(),
        )


def ask_reliance(model: LatentVariable, examples: Examples, most: int, context: Context) -> Tensor:
    """How many nats better each example is explained by a latent of its own than by that of another, ``(N,)``.

    Labels, where there are any, stay with the example. A decoder that ignores its latents scores zero.
    """
    rows = examples.first(most)
    other = derangement(len(rows), context.rng("reliance/others", device="cpu")).to(rows.x.device)
    found = []
    with torch.no_grad():
        for block, start in enumerate(range(0, len(rows), examples.size)):
            part = slice(start, start + examples.size)
            own = _drawn(model, rows.x[part], None if rows.y is None else rows.y[part], context, "own", block)
            swapped = other[part]
            labels = None if rows.y is None else rows.y[swapped]
            foreign = _drawn(model, rows.x[swapped], labels, context, "foreign", block)
            y = None if rows.y is None else rows.y[part]
            known, unknown = (model.likelihood(z, y).log_prob(rows.x[part]).double() for z in (own, foreign))
            found.append((known - unknown).cpu())
    return torch.cat(found)


def _drawn(model: LatentVariable, x: Tensor, y: Tensor | None, context: Context, whose: str, block: int) -> Tensor:
    return draw(model.posterior(x, y), context.rng(f"reliance/{whose}", block))
