"""Exact tests by permutation: whether two samples come from one distribution, whatever that is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchstone.suites.metrics.evidence import monte_carlo_p_value

__all__ = ["energy_test", "matches_test", "sign_test"]

MOST = 49_999  # permutations; no p-value is below 1 / 50,000


def energy_test(a: Tensor, b: Tensor, rng: torch.Generator) -> tuple[float, float]:
    """The energy distance between two samples, and its p-value by permutation of all their rows.

    ``2 E|A - B| - E|A - A'| - E|B - B'|`` is zero for equal distributions alone. Exact at any size and for any law.

    Source: Székely and Rizzo, "Energy statistics: A class of statistics based on distances", 2013.

    Args:
        a: ``(N, *event)``.
        b: ``(M, *event)``.
        rng: draws the permutations, on the CPU.

    Raises:
        ValueError: where a sample is empty, or the two have other event shapes.
    """
    if not len(a) or not len(b) or a.shape[1:] != b.shape[1:]:
        raise ValueError(f"Expected two samples of one event shape, got {tuple(a.shape)} and {tuple(b.shape)}.")
    rows = torch.cat([a.flatten(1), b.flatten(1)]).double()
    n, m = len(a), len(b)
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    scale = float(distances.mean()) or 1.0
    distances /= scale
    total = float(distances.sum())

    def statistic(first: Tensor) -> Tensor:
        """``first`` marks, ``(P, N + M)`` zeros and ones, which rows stand in the first sample."""
        half = first @ distances
        within = (half * first).sum(1)
        across = half.sum(1) - within
        other = total - within - 2 * across
        return 2 * across / (n * m) - within / n**2 - other / m**2

    def draw(count: int) -> Tensor:
        order = torch.rand(count, n + m, generator=rng).argsort(1)
        return statistic((order < n).double())

    marks = torch.cat([torch.ones(n), torch.zeros(m)]).double()
    observed = float(statistic(marks[None]))
    return observed * scale, monte_carlo_p_value(observed, draw, most=MOST)


def sign_test(differences: Tensor, rng: torch.Generator) -> float:
    """The two-sided p-value of paired differences that are symmetric about zero, by flips of their signs.

    Args:
        differences: ``(N,)``, independent; an infinite one counts as the greatest finite one.
        rng: draws the signs, on the CPU.
    """
    if differences.ndim != 1 or not len(differences):
        raise ValueError(f"Expected differences of shape (N,) with N at least 1, got {tuple(differences.shape)}.")
    finite = differences[differences.isfinite()].abs()
    most = float(finite.max()) if len(finite) else 1.0
    values = differences.double().nan_to_num(0.0, most, -most)

    def draw(count: int) -> Tensor:
        signs = torch.randint(2, (count, len(values)), generator=rng).double() * 2 - 1
        return (signs @ values).abs()

    return monte_carlo_p_value(abs(float(values.sum())), draw)


def matches_test(a: Tensor, b: Tensor) -> float:
    """The probability that two sequences of independent draws from one distribution are equal row by row.

    Given the values that were drawn, every order of the second sequence is equally likely; those that match are the
    products of the factorials of how often each value came. One where they are not equal, and where all rows are.

    Args:
        a: ``(N, *event)``.
        b: the same shape.
    """
    if a.shape != b.shape or not torch.equal(a, b):
        return 1.0
    counts = torch.unique(a.flatten(1), dim=0, return_counts=True)[1]
    return math.exp(sum(math.lgamma(int(count) + 1) for count in counts) - math.lgamma(len(a) + 1))
