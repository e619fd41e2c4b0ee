"""What moves a conditional of an autoregressive model: changes of its inputs, all within their support."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.models.model import Autoregressive, Discrete, ModelError
from torchstone.suites.audits.arithmetic import gap
from torchstone.suites.audits.subject import Subject

__all__ = ["KINDS", "Changed", "changed", "conditional_gaps", "order_of", "values_between"]

KINDS = (
    "every later value at random",
    "every later value to its other end",
    "this value alone",
    "the last value alone",
)
MOST_PROBED = 8  # values of a position at which two conditionals are compared


@final
@dataclass(frozen=True, slots=True)
class Changed:
    """Examples and changed copies of them, in the model's own values.

    Attributes:
        x: ``(N, *event)``.
        other: the same, changed.
        y: labels, where the model takes them.
        rank: ``(N,)``, the first place in the order of generation at which a value was changed.
    """

    x: Tensor
    other: Tensor
    y: Tensor | None
    rank: Tensor


def order_of(model: Autoregressive, dims: int) -> Tensor:
    """The order that the model declares, on the CPU.

    Raises:
        ModelError: where it is no permutation of the positions.
    """
    order = getattr(model, "order", None)
    if not isinstance(order, Tensor) or order.dtype != torch.int64 or sorted(order.tolist()) != list(range(dims)):
        found = f"{order.dtype} of shape {tuple(order.shape)}" if isinstance(order, Tensor) else repr(order)
        raise ModelError(
            f"{type(model).__name__}.order ({found}) is no permutation of 0 to {dims - 1}: set it to a LongTensor of "
            "every flat position of the event once, first generated first."
        )
    return order.detach().cpu()


def values_between(subject: Subject) -> tuple[float, float]:
    """The ends of what values may be changed to: those of the support, or about the data where it is unbounded."""
    support = subject.space.support
    if isinstance(support, Discrete):
        return 0, support.levels - 1
    if support.bounded:
        return support.low, support.high
    x, _ = subject.train(500)
    low, high = float(x.min()), float(x.max())
    width = max(high - low, 1.0)
    return max(low - width, support.low), min(high + width, support.high)


def changed(
    subject: Subject, x: Tensor, y: Tensor | None, order: Tensor, rank: Tensor, kind: str, rng: torch.Generator
) -> Changed:
    """Copies of ``x`` in which only values at or after ``rank`` in the order of generation are others.

    Args:
        subject: whose support says what values there are.
        x: ``(N, *event)`` in the model's own values.
        y: labels, where the model takes them.
        order: flat positions, first generated first.
        rank: ``(N,)``.
        kind: one of `KINDS`.
        rng: draws the values, on the CPU.
    """
    flat = x.flatten(1)[:, order.to(x.device)]
    place, at = torch.arange(len(order), device=x.device), rank.to(x.device)[:, None]
    match kind:
        case "this value alone":
            chosen = place == at
        case "the last value alone":
            chosen = (place == len(order) - 1) & (place >= at)
        case _:
            chosen = place >= at
    ends = kind == "every later value to its other end"
    new = torch.where(chosen, _others(subject, flat, rng, ends=ends), flat)
    other = torch.empty_like(flat)
    other[:, order.to(x.device)] = new
    return Changed(x, other.view_as(x), y, rank)


def conditional_gaps(subject: Subject, pair: Changed, order: Tensor, rng: torch.Generator) -> Tensor:
    """How far each conditional moves, ``(N, D)`` in the order of generation, relative to ``1 + |log-probability|``.

    Both conditionals are asked in batches of one size, and compared at up to `MOST_PROBED` values.
    """
    model = subject.model
    assert isinstance(model, Autoregressive)
    with torch.no_grad():
        before, after = model.conditionals(pair.x, pair.y), model.conditionals(pair.other, pair.y)
        greatest = torch.zeros(pair.x.flatten(1).shape, dtype=torch.float64)
        for values in _probes(subject, pair.x, rng):
            apart = gap(before.log_prob(values), after.log_prob(values))
            if apart.shape != pair.x.shape:
                raise ModelError(
                    f"{type(model).__name__}.conditionals gives log-densities of shape {tuple(apart.shape)} for data "
                    f"of shape {tuple(pair.x.shape)}; give it batch shape (N, *event) and no event shape."
                )
            greatest = torch.maximum(greatest, apart.flatten(1))
    return greatest[:, order]


def _others(subject: Subject, values: Tensor, rng: torch.Generator, *, ends: bool) -> Tensor:
    """Another value of the support for each; the end that is farther away where ``ends``."""
    low, high = values_between(subject)
    if ends:
        return torch.where(values * 2 < low + high, high, low).to(values)
    if isinstance(subject.space.support, Discrete):
        step = torch.randint(1, int(high) + 1, values.shape, generator=rng).to(values)
        return (values + step) % (int(high) + 1)
    return (low + (high - low) * torch.rand(values.shape, generator=rng, dtype=torch.float64)).to(values)


def _probes(subject: Subject, x: Tensor, rng: torch.Generator) -> list[Tensor]:
    """The data themselves, and other values of every position: all levels where they are few."""
    low, high = values_between(subject)
    if isinstance(subject.space.support, Discrete):
        levels = torch.arange(int(high) + 1)
        if len(levels) > MOST_PROBED:
            levels = levels[torch.randperm(len(levels), generator=rng)[: MOST_PROBED - 1]]
            return [x, *(torch.full_like(x, int(level)) for level in levels)]
        return [torch.full_like(x, int(level)) for level in levels]
    inside = torch.linspace(0.0, 1.0, MOST_PROBED + 1, dtype=torch.float64)[1:-1]
    return [x, *(torch.full_like(x, low + (high - low) * float(at)) for at in inside)]
