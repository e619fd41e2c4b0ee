"""Whether one count is larger than another explains."""

from __future__ import annotations

import math

__all__ = ["binomial_tail", "excess_p_value"]


def excess_p_value(hits: int, n: int, expected: int, m: int) -> float:
    """The probability of at least ``hits`` of ``n`` in one sample, given all ``hits + expected`` of ``n + m`` in both.

    Fisher's exact test, one-sided: it holds at any size where both samples have one rate.

    >>> round(excess_p_value(3, 3, 0, 3), 12)
    0.05

    Args:
        hits: in the sample in question.
        n: its size.
        expected: hits in the sample that it is compared with.
        m: its size.

    Raises:
        ValueError: where a count is negative or larger than its sample.
    """
    if not (0 <= hits <= n and 0 <= expected <= m) or n == 0:
        raise ValueError(
            f"Counts must lie between 0 and their samples' sizes, got {hits} of {n} and {expected} of {m}."
        )
    total = hits + expected
    logs = [
        _log_choose(n, k) + _log_choose(m, total - k) - _log_choose(n + m, total)
        for k in range(hits, min(n, total) + 1)
    ]
    return min(1.0, math.fsum(math.exp(value) for value in logs))


def binomial_tail(hits: int, n: int, p: float) -> float:
    """The probability of at least ``hits`` of ``n`` independent trials that succeed with probability ``p``.

    >>> round(binomial_tail(2, 2, 0.25), 12)
    0.0625
    """
    from scipy.stats import binom

    return float(binom.sf(hits - 1, n, p))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
