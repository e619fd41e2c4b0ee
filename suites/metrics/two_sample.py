"""Whether two samples come from one distribution, by permutation."""

from __future__ import annotations

import torch
from torch import Tensor

from torchstone.suites.metrics.evidence import monte_carlo_p_value

__all__ = ["energy_test"]


def energy_test(x: Tensor, y: Tensor, rng: torch.Generator) -> tuple[float, float]:
    r"""The energy distance :math:`2E|x - y| - E|x - x'| - E|y - y'|` and its p-value under permutation.

    Exact at any sample size and for any distribution: under one distribution all ways to divide the values are equally
    likely.

    Source: Székely and Rizzo, "Energy statistics: A class of statistics based on distances", 2013.

    Args:
        x: ``(n, D)``.
        y: ``(n, D)``, as many.
        rng: on the CPU.

    Raises:
        ValueError: where the two have not the same shape, or are empty.
    """
    if x.shape != y.shape or x.ndim != 2 or len(x) == 0:
        raise ValueError(f"x and y must be as many points, (n, D), got shapes {tuple(x.shape)} and {tuple(y.shape)}.")
    points = torch.cat([x, y]).double()
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    sides = torch.cat([torch.ones(len(x)), -torch.ones(len(y))]).double()

    def energy(signs: Tensor) -> Tensor:
        return -((signs @ distances) * signs).sum(-1) / len(x) ** 2

    def simulate(count: int) -> Tensor:
        return energy(sides[torch.rand(count, len(points), generator=rng).argsort(1)])

    observed = float(energy(sides[None])[0])
    return observed, monte_carlo_p_value(observed, simulate, most=49_999)
