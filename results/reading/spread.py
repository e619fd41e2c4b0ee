"""What the values of several seeds say together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

__all__ = ["complete", "spread"]

ROUNDING = 1e-12  # relative: numbers that differ by less are one number


def spread(numbers: Sequence[float]) -> float | None:
    """The sample standard deviation of finite numbers, two or more; None where there are fewer, or one is not finite.

    >>> round(spread([1.0, 3.0]), 12)
    1.414213562373
    """
    if len(numbers) < 2 or not all(map(math.isfinite, numbers)):
        return None
    scale = max(map(abs, numbers)) or 1.0  # so that no square is too large
    scaled = [each / scale for each in numbers]
    center = math.fsum(scaled) / len(scaled)
    off = [each - center for each in scaled]
    return 0.0 if max(map(abs, off)) <= ROUNDING else scale * math.hypot(*off) / math.sqrt(len(off) - 1)


def complete(numbers: Iterable[float | None]) -> list[float] | None:
    """The numbers, where none is missing."""
    there = list(numbers)
    known = [each for each in there if each is not None]
    return known if len(known) == len(there) else None
