"""Standard errors of statistics that are no means."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["bootstrap_stderr"]


def bootstrap_stderr(
    statistic: Callable[[Tensor], float], n: int, rng: torch.Generator, draws: int = 200
) -> float | None:
    """The standard deviation of ``statistic`` over examples drawn again with replacement; None for a single example.

    It says how much the statistic would move with other examples, and nothing of its bias.

    Source: Bootstrap Methods: Another Look at the Jackknife (Efron, 1979).

    Args:
        statistic: of the indices of examples, ``(n,)`` int64.
        n: how many examples there are.
        rng: on the CPU.
        draws: how often.

    Raises:
        ValueError: where there are no examples, or fewer than two draws.
    """
    if n < 1 or draws < 2:
        raise ValueError(f"Expected at least one example and two draws, got {n} and {draws}.")
    if n == 1:
        return None
    every = [statistic(torch.randint(n, (n,), generator=rng)) for _ in range(draws)]
    return float(torch.tensor(every, dtype=torch.double).std(correction=1))
