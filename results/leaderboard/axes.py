"""Axes of pictures: where a number lies on the paper, and which round numbers are written beside it."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from torchstone.results.text.numbers import plain

__all__ = ["BEYOND", "Axis", "Tick", "axis", "reach"]

BEYOND = "is not drawn: its numbers are too large, or too far apart, for an axis."

_REACH = 1.96  # standard errors of an interval of 95 %
_LEAST = sys.float_info.min  # what is smaller has few digits, and no steps between round numbers
_DECADES = 1.3  # that positive numbers span before their axis is logarithmic


@final
@dataclass(frozen=True, slots=True)
class Tick:
    """A number on an axis: where it lies, and how it is written."""

    at: float
    text: str


@final
@dataclass(frozen=True, slots=True)
class Axis:
    """From numbers between ``low`` and ``high`` to places between ``start`` and ``end``, which may run backwards."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, number: float) -> float:
        """The place of ``number``, rounded to a tenth; beyond the ends it is that of the end."""
        low, high, here = (self._scaled(each) for each in (self.low, self.high, max(number, self.low)))
        share = min(max((here - low) / (high - low), 0.0), 1.0)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[Tick]:
        """Three to six round numbers, or so."""
        numbers = _powers(self.low, self.high) if self.logarithmic else _round(self.low, self.high)
        return [Tick(self.at(number), plain(number)) for number in numbers]

    def _scaled(self, number: float) -> float:
        return math.log10(number) if self.logarithmic else number


def axis(numbers: Iterable[float], start: float, end: float, *, logarithmic: bool | None = None) -> Axis | None:
    """An axis that holds all of ``numbers``, with some room at its ends; None where its length would not be finite.

    Args:
        numbers: one at least; with one that is not finite there is no axis.
        start: place of its low end.
        end: place of its high end.
        logarithmic: whether it is; None: where all are positive and they span more than a factor of twenty.
    """
    there = list(numbers)
    if not all(map(math.isfinite, there)):
        return None
    low, high = min(there), max(there)
    if logarithmic is None:
        logarithmic = low > 0 and math.log10(high) - math.log10(low) > _DECADES
    room = next((each for each in (0.06 * (high - low), 0.05 * abs(high)) if each > _LEAST), 1.0)
    made = Axis(low / 1.3, high * 1.3, start, end, True) if logarithmic else Axis(low - room, high + room, start, end)
    return made if math.isfinite(made.high - made.low) and (made.low > 0 or not logarithmic) else None


def reach(stderr: float | None) -> float:
    """Half an interval of 95 %; nothing where there is no standard error that is one."""
    return _REACH * stderr if stderr is not None and math.isfinite(stderr) and stderr >= 0 else 0.0


def _round(low: float, high: float) -> list[float]:
    """Multiples of one, two or five of some power of ten."""
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{place * step:.12g}") for place in range(first, last + 1)]


def _powers(low: float, high: float) -> list[float]:
    """Powers of ten, seven at most; and between them twos and fives where there are two at most."""
    first, last = math.floor(math.log10(low)), min(math.ceil(math.log10(high)), sys.float_info.max_10_exp)
    inside = [exponent for exponent in range(first, last + 1) if low <= 10.0**exponent <= high]
    if len(inside) > 2:
        return [10.0**exponent for exponent in inside[:: -(-len(inside) // 7)]]
    numbers = [factor * 10.0**exponent for exponent in range(first, last + 1) for factor in (1, 2, 5)]
    return [number for number in numbers if low <= number <= high]
