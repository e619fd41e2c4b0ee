"""Medians of timings with intervals that hold where neighbouring calls are slow together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

__all__ = ["Centre", "effective_size", "median", "quantile", "ratio"]

Z95 = 1.959963984540054
FEWEST = 8  # below so many values no correlation is estimated


@final
@dataclass(frozen=True, slots=True)
class Centre:
    """A quantile of repeated measurements.

    Attributes:
        value: the quantile.
        low: lower end of its 95 % interval; the measurement itself where there is one alone.
        high: upper end; likewise.
        stderr: half the width of the interval in standard normal units; None for a single measurement, which tells
            nothing of how far others would lie from it.
        iqr: interquartile range of the measurements; None for a ratio.
        n: how many there were.
        effective: how many independent ones would say as much.
    """

    value: float
    low: float
    high: float
    stderr: float | None
    iqr: float | None
    n: int
    effective: float

    @property
    def ci95(self) -> tuple[float, float] | None:
        """The 95 % interval; None for a single measurement."""
        return None if self.stderr is None else (self.low, self.high)

    def scaled(self, factor: float) -> Centre:
        """The same of ``factor * x``, for a factor above zero."""
        iqr = None if self.iqr is None else self.iqr * factor
        stderr = None if self.stderr is None else self.stderr * factor
        ends = (self.value * factor, self.low * factor, self.high * factor)
        return Centre(*ends, stderr, iqr, self.n, self.effective)

    def inverse(self, numerator: float = 1.0) -> Centre:
        """The same of ``numerator / x``, such as a rate of a duration; ``iqr`` and ``stderr`` to first order.

        Raises:
            ValueError: where a measurement took no time.
        """
        if not self.low > 0:
            raise ValueError(f"a duration of {self.low:g} s has no rate: the clock is too coarse for one call.")
        value, slope = numerator / self.value, numerator / self.value**2
        iqr = None if self.iqr is None else self.iqr * slope
        stderr = None if self.stderr is None else self.stderr * slope
        return Centre(value, numerator / self.high, numerator / self.low, stderr, iqr, self.n, self.effective)


def median(values: Tensor) -> Centre:
    """The median of ``(n,)`` measurements in the order in which they were made, with its interval.

    >>> median(torch.arange(1.0, 102.0)).value
    51.0
    """
    return quantile(values, 0.5)


def quantile(values: Tensor, level: float) -> Centre:
    """A quantile, with the interval between the order statistics that hold it with 95 % probability.

    The number of measurements between the ends of the interval and the quantile is binomial where they are independent;
    here it is taken as normal, and of `effective_size` in place of ``n``. The interval ends at the smallest and the
    largest measurement, so that it is too short where these are few: fewer than six for the median. A single one has no
    interval and no standard error.

    Args:
        values: ``(n,)``, in the order in which they were made.
        level: between zero and one.

    Raises:
        ValueError: where there is no measurement, or one is not finite.
    """
    if values.ndim != 1 or not len(values) or not bool(values.isfinite().all()):
        raise ValueError(f"Expected finite measurements of shape (n,) with n at least 1, got {tuple(values.shape)}.")
    ordered, n, effective = values.double().sort().values, len(values), effective_size(values)
    spread = Z95 * math.sqrt(level * (1 - level) / effective)
    at = [_at(ordered, each) for each in (level, level - spread, level + spread, 0.25, 0.75)]
    stderr = (at[2] - at[1]) / (2 * Z95) if n > 1 else None
    return Centre(at[0], at[1], at[2], stderr, at[4] - at[3], n, effective)


def effective_size(values: Tensor) -> float:
    """How many independent measurements say as much as these ``n`` neighbouring ones: between one and ``n``.

    ``n / (1 + 2 sum_k rho_k)`` with correlations of ranks, summed in pairs of lags for as long as a pair is positive.

    Source: Geyer, "Practical Markov Chain Monte Carlo", 1992.
    """
    n = len(values)
    if n < FEWEST or bool((values == values[0]).all()):
        return float(n)
    ranks = values.double().argsort().argsort().double()
    centred = ranks - ranks.mean()
    size = 2 * n  # zero padding: no wrap-around
    power = torch.fft.rfft(centred, size).abs().square()
    rho = torch.fft.irfft(power, size)[:n] / centred.square().sum()
    total = 0.0
    for lag in range(1, n // 2, 2):
        pair = float(rho[lag] + rho[lag + 1])
        if pair <= 0:
            break
        total += pair
    return min(float(n), max(1.0, n / (1 + 2 * total)))


def ratio(a: Tensor, b: Tensor) -> Centre:
    """The median of ``a`` over the median of ``b``, with its interval, normal in the logarithm.

    It has no interval where either is a single measurement.

    Raises:
        ValueError: where there is no measurement, or one is not above zero.
    """
    if bool((a <= 0).any()) or bool((b <= 0).any()):
        raise ValueError("Expected measurements above zero on both sides of a ratio.")
    first, second = median(a.log()), median(b.log())
    log, n, effective = first.value - second.value, len(a) + len(b), first.effective + second.effective
    value = math.exp(log)
    if first.stderr is None or second.stderr is None:
        return Centre(value, value, value, None, None, n, effective)
    stderr = math.hypot(first.stderr, second.stderr)
    low, high = math.exp(log - Z95 * stderr), math.exp(log + Z95 * stderr)
    return Centre(value, low, high, value * stderr, None, n, effective)


def _at(ordered: Tensor, level: float) -> float:
    """The quantile of sorted values, between neighbours by proportion."""
    place = min(max(level, 0.0), 1.0) * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))
