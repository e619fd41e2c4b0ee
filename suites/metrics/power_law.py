"""How a cost grows with a size: an exponent by least squares on logarithms, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

__all__ = ["PowerLaw", "power_law"]


@final
@dataclass(frozen=True, slots=True)
class PowerLaw:
    """``cost = exp(intercept) * size ** exponent``.

    Attributes:
        exponent: the slope in logarithms.
        stderr: its standard error; None where two points leave nothing to estimate it from.
        ci95: its interval by Student's t; None likewise.
        intercept: natural logarithm of the cost at size one.
        residual: standard deviation of the logarithm of a cost about the law; None likewise.
        n: how many points it was fitted to.
    """

    exponent: float
    stderr: float | None
    ci95: tuple[float, float] | None
    intercept: float
    residual: float | None
    n: int
    centre: float
    spread: float

    def at(self, size: float) -> float:
        """The cost at ``size`` by this law."""
        return math.exp(self.intercept + self.exponent * math.log(size))

    def interval(self, size: float) -> tuple[float, float] | None:
        """The 95 % interval of one more cost at ``size``, if the law holds that far; None for fewer than three points.

        It tells the scatter of the points and the doubt about the exponent, not whether the law goes on.
        """
        if self.residual is None:
            return None
        from scipy.stats import t

        away = (math.log(size) - self.centre) ** 2 / self.spread
        reach = float(t.ppf(0.975, self.n - 2)) * self.residual * math.sqrt(1 + 1 / self.n + away)
        log = self.intercept + self.exponent * math.log(size)
        return math.exp(log - reach), math.exp(log + reach)


def power_law(sizes: Sequence[float], costs: Sequence[float]) -> PowerLaw:
    """Fit a power law to costs at two sizes or more.

    >>> round(power_law([1, 10, 100], [2, 200, 20000]).exponent, 9)
    2.0

    Raises:
        ValueError: where there are fewer than two different sizes, or a number is not above zero.
    """
    if len(sizes) != len(costs) or len(set(sizes)) < 2 or not all(each > 0 for each in (*sizes, *costs)):
        raise ValueError(
            f"Expected costs above zero at two different sizes above zero at least, got {len(costs)} costs at "
            f"{len(set(sizes))} sizes."
        )
    n, x, y = len(sizes), [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    centre, mean = math.fsum(x) / n, math.fsum(y) / n
    spread = math.fsum((each - centre) ** 2 for each in x)
    exponent = math.fsum((a - centre) * (b - mean) for a, b in zip(x, y, strict=True)) / spread
    intercept = mean - exponent * centre
    if n == 2:
        return PowerLaw(exponent, None, None, intercept, None, n, centre, spread)
    from scipy.stats import t

    squares = math.fsum((b - intercept - exponent * a) ** 2 for a, b in zip(x, y, strict=True))
    residual = math.sqrt(squares / (n - 2))
    stderr = residual / math.sqrt(spread)
    reach = float(t.ppf(0.975, n - 2)) * stderr
    ends = (exponent - reach, exponent + reach)
    return PowerLaw(exponent, stderr, ends, intercept, residual, n, centre, spread)
