"""Means with their standard errors, and paired differences."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Z95", "Mean", "mean", "paired_difference", "replicate_stderr"]

Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over ``n`` examples, its standard error, and how many of the examples were not finite.

    ``stderr`` is None where it is undefined: a single example, or an infinite mean.
    """

    value: float
    stderr: float | None
    n: int
    nonfinite: int = 0

    @property
    def ci95(self) -> tuple[float, float] | None:
        """The normal 95 % interval, None where there is no standard error."""
        if self.stderr is None:
            return None
        return self.value - Z95 * self.stderr, self.value + Z95 * self.stderr

    def scaled(self, factor: float, offset: float = 0.0) -> Mean:
        """The mean of ``factor * x + offset``, for a factor above zero."""
        stderr = None if self.stderr is None else self.stderr * factor
        return Mean(self.value * factor + offset, stderr, self.n, self.nonfinite)


def mean(costs: Tensor) -> Mean:
    """The mean of per-example costs, every example once with weight 1/N, and ``sd / sqrt(N)``.

    Sums are in float64. A cost that is not finite (NaN included) is worth infinity: it makes the mean infinite, and is
    counted.

    Args:
        costs: shape ``(N,)``, the lower the better, such as negative log-densities in nats.

    Raises:
        ValueError: where there are no examples or the shape is not ``(N,)``.
    """
    _check(costs)
    n = costs.numel()
    nonfinite = int((~costs.isfinite()).sum())
    if nonfinite:
        return Mean(math.inf, None, n, nonfinite)
    values = costs.double()
    stderr = None if n == 1 else float(values.std(correction=1)) / math.sqrt(n)
    return Mean(float(values.mean()), stderr, n)


def paired_difference(a: Tensor, b: Tensor) -> Mean:
    """The mean of ``a - b`` over the same examples, with the standard error of the differences.

    Pairing matters: examples are easy or hard for every model, and what they share cancels. A cost that is not finite
    is worth infinity: two of them count as equal, ``a`` alone makes the mean infinite, ``b`` alone minus infinite, and
    both kinds together undefined (NaN).

    Raises:
        ValueError: where shapes differ, or there are no examples.
    """
    _check(a)
    if a.shape != b.shape:
        raise ValueError(
            f"a and b must be costs of the same examples, got shapes {tuple(a.shape)} and {tuple(b.shape)}."
        )
    worth_a, worth_b = (torch.where(cost.isfinite(), cost.double(), math.inf) for cost in (a, b))
    difference = torch.where(worth_a == worth_b, 0.0, worth_a - worth_b)
    nonfinite = int((~difference.isfinite()).sum())
    return Mean(float(difference.mean()), None, a.numel(), nonfinite) if nonfinite else mean(difference)


def replicate_stderr(variances: Tensor, replicates: Tensor) -> float | None:
    """The estimator's own share of the standard error of a mean, ``sqrt(sum_n s_n^2 / R_n) / N``.

    This is not to be added to the standard error over examples, which contains it already.

    Args:
        variances: ``(N,)``, the variance over replicates of each example; NaN where it was asked once only. For those
            the mean variance of the others stands in.
        replicates: ``(N,)``, how often each example was asked.

    Returns:
        None where no example was asked twice.
    """
    _check(variances)
    known = variances.double()[~variances.isnan()]
    if known.numel() == 0:
        return None
    filled = torch.where(variances.isnan(), known.mean(), variances.double())
    return float((filled / replicates).sum().sqrt()) / variances.numel()


def _check(values: Tensor) -> None:
    if values.ndim != 1 or values.numel() == 0:
        raise ValueError(
            f"Expected one value per example, shape (N,) with N at least 1, got shape {tuple(values.shape)}."
        )
