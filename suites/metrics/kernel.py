"""The kernel distance between two sets of features (KID): unbiased, with an error, and a test of its being zero."""

from __future__ import annotations

import math
from typing import NamedTuple, final

import torch
from torch import Tensor

from torchstone.suites.metrics.evidence import monte_carlo_p_value
from torchstone.suites.metrics.jackknife import jackknife

__all__ = ["KernelDistance", "equality_test", "kernel_distance", "kid", "kid_in_blocks"]

SUBSETS, SUBSET = 100, 1000  # torch-fidelity's own, and those of the field
MOST = 999  # permutations


@final
class KernelDistance(NamedTuple):
    """An estimate and its standard error; None where too few examples give none."""

    value: float
    stderr: float | None


def kernel_distance(a: Tensor, b: Tensor) -> KernelDistance:
    r"""The squared maximum mean discrepancy under the cubic kernel, over all pairs, with its jackknife error.

    .. math:: k(x, y) = (x \cdot y / D + 1)^3, \qquad
        \frac{\sum_{i \ne j} k(a_i, a_j)}{n (n - 1)} + \frac{\sum_{i \ne j} k(b_i, b_j)}{m (m - 1)}
        - \frac{2 \sum_{ij} k(a_i, b_j)}{n m}

    Unbiased, and so below zero about as often as above where the two distributions are one. There the statistic is
    degenerate and this error 1.45 times too large; `equality_test` answers that question.

    Source: Bińkowski et al., "Demystifying MMD GANs", 2018, arXiv:1801.01401.

    Args:
        a: features ``(N, D)``, N at least 2.
        b: features ``(M, D)``, M at least 2.
    """
    a, b = _checked(a), _checked(b)
    n, m = len(a), len(b)
    rows_a, rows_b = (_kernel(x, x).sum(1) - _kernel_diagonal(x) for x in (a, b))
    cross = _kernel(a, b)
    within_a, within_b, across = rows_a.sum(), rows_b.sum(), cross.sum()
    value = float(within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * across / (n * m))
    if min(n, m) < 3:
        return KernelDistance(value, None)
    fixed_b, fixed_a = within_b / (m * (m - 1)), within_a / (n * (n - 1))
    less_a, less_b = across - cross.sum(1), across - cross.sum(0)
    without_a = (within_a - 2 * rows_a) / ((n - 1) * (n - 2)) + fixed_b - 2 * less_a / ((n - 1) * m)
    without_b = (within_b - 2 * rows_b) / ((m - 1) * (m - 2)) + fixed_a - 2 * less_b / ((m - 1) * n)
    return KernelDistance(value, jackknife(value, [without_a, without_b]).stderr)


def kid(a: Tensor, b: Tensor, *, subsets: int = SUBSETS, subset: int = SUBSET, seed: int = 0) -> float:
    """The mean over random subsets, as torch-fidelity computes it, in the precision of the features.

    One subset of everything is `kernel_distance`, which is in double precision: the difference of kernels that are
    nearly equal has few digits in single precision. torch-fidelity's own spread over subsets is no standard error, as
    the subsets overlap; `kid_in_blocks` has one.

    Args:
        a: features ``(N, D)``.
        b: features ``(M, D)``.
        subsets: how many are drawn.
        subset: examples in each, at most N and M.
        seed: of their choice.
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    found = kid_features_to_metric(a, b, kid_subsets=subsets, kid_subset_size=subset, rng_seed=seed, verbose=False)
    return float(found[KEY_METRIC_KID_MEAN])


def kid_in_blocks(a: Tensor, b: Tensor, block: int = SUBSET) -> KernelDistance:
    """The mean of `kernel_distance` over disjoint blocks of both sets, and its standard error, sd / sqrt(B)."""
    blocks = min(len(a), len(b)) // block
    values = torch.tensor(
        [kernel_distance(a[i * block : (i + 1) * block], b[i * block : (i + 1) * block]).value for i in range(blocks)]
    ).double()
    return KernelDistance(float(values.mean()), float(values.std()) / math.sqrt(blocks) if blocks > 1 else None)


def equality_test(a: Tensor, b: Tensor, rng: torch.Generator) -> float:
    """The p-value of both sets of features being draws of one distribution, by permutation of all their rows.

    Exact at any size. Memory grows with the square of ``N + M``.

    Args:
        a: features ``(N, D)``.
        b: features ``(M, D)``.
        rng: draws the permutations, on the CPU.
    """
    rows, n, m = torch.cat([_checked(a), _checked(b)]), len(a), len(b)
    pairs = _kernel(rows, rows)
    pairs.fill_diagonal_(0.0)
    total = float(pairs.sum())

    def statistic(first: Tensor) -> Tensor:
        half = first @ pairs
        within = (half * first).sum(1)
        across = half.sum(1) - within
        return within / (n * (n - 1)) + (total - within - 2 * across) / (m * (m - 1)) - 2 * across / (n * m)

    def draw(count: int) -> Tensor:
        order = torch.rand(count, n + m, generator=rng).argsort(1)
        return statistic((order < n).double())

    marks = torch.cat([torch.ones(n), torch.zeros(m)]).double()
    return monte_carlo_p_value(float(statistic(marks[None])), draw, most=MOST)


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _kernel_diagonal(a: Tensor) -> Tensor:
    return (a.square().sum(1) / a.shape[1] + 1) ** 3


def _checked(features: Tensor) -> Tensor:
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"Expected features of at least two examples, shape (N, D), got {tuple(features.shape)}.")
    return features.double()
