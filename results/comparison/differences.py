"""How far two means are apart, and how sure that is: paired over the same examples, or from two standard errors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

from torchstone.results.reading.spread import spread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

__all__ = ["RESAMPLES", "Difference", "Resampled", "exactly", "over_seeds", "paired", "resampled", "unpaired"]

RESAMPLES = 10_000
_BATCH = 2_000_000  # values that one step of the bootstrap holds
# What rounding leaves of values that differ by one constant, relative to each of them: sums of many float32.
_ROUNDING = 1e-12
_TOO_LARGE = "The numbers are too large for their difference, or its standard error, to be one."


@final
@dataclass(frozen=True, slots=True)
class Difference:
    """``a - b`` of two means, and its uncertainty.

    Attributes:
        value: the difference; infinite where one of the means is, NaN where both are or one is unknown.
        stderr: its standard error over examples; None where there is none, and ``note`` says why.
        freedom: degrees of freedom of ``stderr``; infinite where it is taken as known.
        paired: whether it was taken example by example.
        n: how many examples it was taken over, where that is known.
        same: whether every value of one is that of the other.
        seed_stderr: its standard error over training seeds; None where one side has a single seed.
        seed_freedom: degrees of freedom of that.
        note: in a sentence, what stands in the way of an interval, or of pairing.
    """

    value: float
    stderr: float | None
    freedom: float = math.inf
    paired: bool = False
    n: int | None = None
    same: bool = False
    seed_stderr: float | None = None
    seed_freedom: float = math.inf
    note: str = ""

    @property
    def error(self) -> float | None:
        """The whole standard error: of examples and, where it is known, of seeds."""
        return None if self.stderr is None else math.hypot(self.stderr, self.seed_stderr or 0.0)

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the whole, by Satterthwaite (Biometrics Bulletin, 1946), but no more than seeds have.

        With two or three seeds the spread often comes out small by chance. Satterthwaite would then give the whole the
        many degrees of freedom of the examples, just where the error is too small.
        """
        parts = ((self.stderr or 0.0, self.freedom), (self.seed_stderr or 0.0, self.seed_freedom))
        whole = math.hypot(*(error for error, _ in parts))
        if not whole:
            return self.freedom
        within = sum((error / whole) ** 4 / freedom for error, freedom in parts)
        together = 1 / within if within else math.inf
        return min(together, self.seed_freedom) if self.seed_stderr else together

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """The two-sided t interval; None where there is no standard error."""
        if self.error is None:
            return None
        reach = _quantile((1 + level) / 2, self.degrees) * self.error if self.error else 0.0
        return self.value - reach, self.value + reach

    def p_above(self, bound: float) -> float | None:
        """One-sided p-value against ``value <= bound``; None where nothing is known of it."""
        if self.error is None:
            return 0.0 if self.value == math.inf else (1.0 if self.value == -math.inf else None)
        if not self.error:
            return 0.0 if self.value > bound else 1.0
        return _survival((self.value - bound) / self.error, self.degrees)

    def p_below(self, bound: float) -> float | None:
        """One-sided p-value against ``value > bound``; None where nothing is known of it."""
        if self.error is None:
            return 0.0 if self.value == -math.inf else (1.0 if self.value == math.inf else None)
        if not self.error:
            return 0.0 if self.value <= bound else 1.0
        return _survival((bound - self.value) / self.error, self.degrees)

    def mirrored(self) -> Difference:
        """``b - a``."""
        return replace(self, value=0.0 - self.value)


@final
@dataclass(frozen=True, slots=True)
class Resampled:
    """What is said of paired differences without the normal law.

    Attributes:
        interval: of the mean, 95 %, by the bias-corrected and accelerated bootstrap over examples; None where it is
            not defined.
        wilcoxon: two-sided p-value of the signed-rank test, which asks whether the differences lie evenly around zero;
            None where it is not defined.
    """

    interval: tuple[float, float] | None
    wilcoxon: float | None


def paired(a: ArrayLike, b: ArrayLike, *, worst: float = math.inf) -> Difference:
    """The mean of ``a - b``, with the standard error of the differences, ``sd / sqrt(n)``.

    Args:
        a: shape ``(n,)``, a value for each example.
        b: shape ``(n,)``, of the same examples in the same order.
        worst: what a value that is not finite is worth: infinity for costs, minus infinity for gains. It makes its mean
            infinite, and is never left out.

    Raises:
        ValueError: there are no examples, or the shapes are not one ``(n,)``.
    """
    import numpy as np

    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if first.ndim != 1 or first.shape != second.shape or not first.size:
        raise ValueError(f"paired: shapes {first.shape} and {second.shape} should be one (n,) with n of at least 1")
    n, same = len(first), bool(np.array_equal(first, second, equal_nan=True))
    if same:
        return Difference(0.0, 0.0, math.inf, True, n, True)
    with np.errstate(over="ignore"):
        means = [float(each.mean()) if np.isfinite(each).all() else worst for each in (first, second)]
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            return replace(_infinite(*means), paired=True, n=n)
        differences = first - second
        largest = float(np.abs(differences).max())
        if not math.isfinite(largest):
            return Difference(math.nan, None, paired=True, n=n, note=_TOO_LARGE)
        if n == 1:
            return Difference(float(differences[0]), None, paired=True, n=1, note="One example has no standard error.")
        shares = differences / largest  # whose squares are numbers
        strayed = np.abs(shares - np.median(shares))
        constant = bool((strayed <= _ROUNDING * np.maximum(np.abs(first), np.abs(second)) / largest).all())
    deviation = 0.0 if constant else largest * float(shares.std(ddof=1))
    return Difference(largest * float(shares.mean()), deviation / math.sqrt(n), n - 1, True, n)


def unpaired(
    a: float, b: float, stderr_a: float | None, stderr_b: float | None, n_a: float | None = None,
    n_b: float | None = None,
) -> Difference:  # fmt: skip
    """``a - b`` from two standard errors, which are taken to be independent.

    Where both were measured on the same examples they are not, and the interval is wider than it need be.

    Args:
        a: a mean.
        b: another.
        stderr_a: its standard error; None, NaN, infinite or below zero where there is none.
        stderr_b: that of the other.
        n_a: how many examples gave ``stderr_a``; None where that is not known, and it is then taken as exact.
        n_b: how many gave ``stderr_b``.
    """
    if not (math.isfinite(a) and math.isfinite(b)):
        return _infinite(a, b)
    lacking = [name for name, error in (("first", stderr_a), ("second", stderr_b)) if not _usable(error)]
    if lacking or stderr_a is None or stderr_b is None:
        which = "Neither value" if len(lacking) == 2 else f"The {lacking[0]} value"
        verb = "has" if len(lacking) == 2 else "has not"
        return Difference(a - b, None, note=f"{which} {verb} a standard error that is a finite number.")
    stderr = math.hypot(stderr_a, stderr_b)
    if not (math.isfinite(a - b) and math.isfinite(stderr)):
        return Difference(a - b, None, note=_TOO_LARGE)
    parts = [(stderr_a, n_a), (stderr_b, n_b)]
    within = sum((error / stderr) ** 4 / (n - 1) for error, n in parts if n is not None and n > 1) if stderr else 0.0
    return Difference(a - b, stderr, 1 / within if within else math.inf)


def exactly(a: float, b: float) -> Difference:
    """``a - b`` of two numbers that have no noise, such as a count of parameters."""
    if not (math.isfinite(a) and math.isfinite(b)):
        return _infinite(a, b)
    if not math.isfinite(a - b):
        return Difference(a - b, None, note=_TOO_LARGE)
    return Difference(a - b, 0.0, same=a == b)


def over_seeds(difference: Difference, a: Sequence[float], b: Sequence[float], *, matched: bool) -> Difference:
    """``difference`` with its standard error over training seeds.

    Args:
        difference: of the values averaged over seeds.
        a: the means of the seeds of the first, two at least; otherwise nothing is known of the spread.
        b: those of the second.
        matched: whether they are of the same seeds in the same order, so that a common part of their noise cancels.
    """
    if min(len(a), len(b)) < 2 or not all(map(math.isfinite, (*a, *b))):
        return difference
    if matched:
        error = _error_of_mean([first - second for first, second in zip(a, b, strict=True)])
        return _with_seeds(difference, error, len(a) - 1)
    errors = [(_error_of_mean(each), len(each) - 1) for each in (a, b)]
    whole = math.hypot(*(error for error, _ in errors))
    within = sum((error / whole) ** 4 / freedom for error, freedom in errors) if whole else 0.0
    return _with_seeds(difference, whole, 1 / within if within else math.inf)


def resampled(a: ArrayLike, b: ArrayLike, rng: np.random.Generator, resamples: int = RESAMPLES) -> Resampled:
    """Bootstrap and rank test of the paired differences ``a - b``.

    Bradley Efron, Better Bootstrap Confidence Intervals, 1987. Frank Wilcoxon, Individual Comparisons by Ranking
    Methods, 1945; differences of zero are ranked and then left out (Pratt, 1959).

    Args:
        a: shape ``(n,)``.
        b: shape ``(n,)``, of the same examples in the same order.
        rng: every draw comes from it.
        resamples: how many times the examples are drawn.
    """
    import numpy as np
    from scipy import stats

    differences = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    if not np.isfinite(differences).all() or len(differences) < 2 or not np.ptp(differences):
        return Resampled(None, None)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # what is degenerate comes out as NaN, and is None here
        found: Any = stats.bootstrap(
            (differences,), np.mean, n_resamples=resamples, batch=max(1, _BATCH // len(differences)), method="BCa",
            vectorized=True, rng=rng,
        ).confidence_interval  # fmt: skip
        rank: Any = stats.wilcoxon(differences, zero_method="pratt")
    low, high, p = float(found.low), float(found.high), float(rank.pvalue)
    defined = math.isfinite(low) and math.isfinite(high)
    return Resampled((low, high) if defined else None, p if math.isfinite(p) else None)


def _infinite(a: float, b: float) -> Difference:
    """The difference of two means of which one at least is not finite, in words."""
    if math.isnan(a) or math.isnan(b):
        return Difference(math.nan, None, note="A value is not a number, so nothing follows.")
    if math.isinf(a) and math.isinf(b):
        return Difference(math.nan, None, note="Both means are infinite, and their difference is undefined.")
    which = "first" if math.isinf(a) else "second"
    return Difference(a - b, None, note=f"The {which} mean is infinite: some example has no finite value.")


def _with_seeds(difference: Difference, error: float, freedom: float) -> Difference:
    if not math.isfinite(error):
        return replace(difference, stderr=None, note=_TOO_LARGE)
    return replace(difference, same=difference.same and not error, seed_stderr=error, seed_freedom=freedom)


def _usable(error: float | None) -> bool:
    return error is not None and math.isfinite(error) and error >= 0


def _error_of_mean(values: Sequence[float]) -> float:
    """The standard error of the mean of two values or more; infinite where one of them is."""
    found = spread(values)
    if found is None:
        return math.inf
    error = found / math.sqrt(len(values))
    return 0.0 if error <= _ROUNDING * max(map(abs, values)) else error


def _quantile(level: float, degrees: float) -> float:
    from scipy import special

    return float(special.ndtri(level) if math.isinf(degrees) else special.stdtrit(degrees, level))


def _survival(t: float, degrees: float) -> float:
    from scipy import special

    return float(special.ndtr(-t) if math.isinf(degrees) else special.stdtr(degrees, -t))
