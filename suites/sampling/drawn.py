"""A set of samples with their features, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from torchstone.models.checks import space_of
from torchstone.models.model import Implicit, ImplicitIterative, ModelError, Sampler
from torchstone.results.record import Flat
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.samplers import ask_samples, labels_like

__all__ = ["Drawn", "draw_samples"]


@final
@dataclass(frozen=True, slots=True)
class Drawn:
    """Samples as data are stored.

    Attributes:
        x: ``(n, *event)``.
        y: the labels that were asked for, ``(n,)``, or None.
        seconds: for each sample, on the clock of the wall.
        evaluations: how often a sampler without a density evaluates its network for a batch of samples, whatever its
            size; None for others.
    """

    x: Tensor
    y: Tensor | None
    seconds: float
    evaluations: float | None

    @property
    def cost(self) -> Flat:
        """What they cost, as a record has it."""
        known = {} if self.evaluations is None else {"evaluations": self.evaluations}
        return {"seconds_per_sample": self.seconds, **known}


def draw_samples(
    model: Sampler, n: int, data: Dataset, context: Context, *, block: int, steps: int | None = None
) -> Drawn:
    """``n`` samples, with labels in the proportions of the training split where the model takes labels.

    The same seeds whatever the ``steps``.

    Raises:
        ModelError: where the samples are not what the model says that it draws.
    """
    labelled = space_of(model).classes is not None
    y = labels_like(data, n, context.rng("labels", device="cpu")) if labelled else None
    with _counted(model) as count:
        began = time.perf_counter()
        x = ask_samples(model, n, y, data.space, context, purpose="samples", block=block, steps=steps)
        seconds = (time.perf_counter() - began) / n
    evaluations: float | None = None
    if isinstance(model, ImplicitIterative):
        if not count.calls:
            name = type(model).__name__
            raise ModelError(f"{name}.sample called its network not once: call self.network(...), and not its forward.")
        evaluations = count.calls / -(-n // block)
    elif isinstance(model, Implicit):
        evaluations = 1.0
    return Drawn(x, y, seconds, evaluations)


@final
@dataclass(slots=True)
class _Count:
    calls: int = 0


@contextmanager
def _counted(model: Sampler) -> Iterator[_Count]:
    """Count the calls of an iterative sampler's network, whoever makes them."""
    count = _Count()
    if not isinstance(model, ImplicitIterative):
        yield count
        return
    if not isinstance(model.network, nn.Module):
        raise ModelError(
            f"{type(model).__name__}.network is a {type(model.network).__name__}; name the nn.Module it calls."
        )

    def counted(module: nn.Module, inputs: object, output: object) -> None:
        count.calls += 1

    handle = model.network.register_forward_hook(counted)
    try:
        yield count
    finally:
        handle.remove()
