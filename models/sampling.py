"""Ancestral sampling, for every autoregressive model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Categorical

__all__ = ["ancestral", "choose"]


def choose(logits: Tensor, rng: torch.Generator) -> Tensor:
    """An index of the last dimension of ``logits`` for each of their rows, int64, drawn by inverting the cumulative."""
    cumulative = logits.double().softmax(-1).cumsum(-1)
    shape = (*logits.shape[:-1], 1)
    uniform = torch.rand(shape, dtype=torch.double, device=rng.device, generator=rng).to(logits.device)
    index = torch.searchsorted(cumulative, uniform, right=True).squeeze(-1)
    return index.clamp(max=logits.shape[-1] - 1)


@torch.no_grad()
def ancestral(
    conditionals: Callable[[Tensor, Tensor | None], Categorical],
    order: Tensor,
    event_shape: tuple[int, ...],
    n: int,
    y: Tensor | None,
    *,
    rng: torch.Generator,
) -> Tensor:
    """Draw ``n`` events position by position, each from its conditional given those drawn before it.

    Args:
        conditionals: the conditionals of all positions, of batch shape ``(n, *event)``.
        order: flat positions, first drawn first.
        event_shape: the shape of one event.
        n: how many to draw.
        y: labels, ``(n,)``, or None.
        rng: the generator, on any device.

    Returns:
        Integers of shape ``(n, *event)``, int64, on the device of ``order``.
    """
    x = torch.zeros((n, *event_shape), dtype=torch.long, device=order.device)
    flat = x.view(n, -1)
    for position in order.tolist():
        logits = conditionals(x, y).logits.flatten(1, -2)[:, position]
        flat[:, position] = choose(logits, rng)
    return x
