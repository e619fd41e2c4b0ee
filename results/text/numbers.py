"""A number as it is printed: its sign, as many digits as its uncertainty leaves, and nothing that a terminal obeys."""

from __future__ import annotations

import math
import re

from torchstone.results.record import Kind

__all__ = ["ABSENT", "plain", "printable", "quantity", "readable", "shortened", "small"]

ABSENT = "–"
WORD = 300  # characters of one word that a message shows: enough for any path that a person would type


def quantity(value: float, stderr: float | None, kind: Kind) -> str:
    """``≤ 1.861 ± 0.012``: the sign of its kind, and digits down to half a standard error.

    The last digit has the place of the first digit of SE/2, so that rounding costs less than half a standard error.
    One that is missing, not finite or below zero is none, and is not printed.
    """
    sign = f"{kind.sign} " if kind.sign else ""
    if not math.isfinite(value):
        return sign + str(value)
    if stderr is None or not (math.isfinite(stderr) and stderr >= 0):
        return sign + plain(value)
    if not stderr:
        return f"{sign}{plain(value)} ± 0"
    decimals = max(0, -_exponent(stderr / 2))
    return f"{sign}{_fixed(value, decimals)} ± {_fixed(stderr, decimals)}"


def plain(value: float) -> str:
    """Six significant digits."""
    return f"{value:.6g}"


def small(value: float | None) -> str:
    """Two significant digits, as befits a standard deviation; a dash where there is none."""
    return ABSENT if value is None or math.isnan(value) else f"{value:.2g}"


def printable(text: str) -> str:
    """``text`` on one line, with control and direction characters written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def readable(text: str) -> str:
    """A message as a terminal may show it: on one line, control characters written out, and endless words cut."""
    return re.sub(rf"\S{{{WORD},}}", lambda word: f"{word[0][: WORD // 4]}…", printable(text))


def shortened(text: str, room: int = 40) -> str:
    """``text`` on one line, of ``room`` characters at most."""
    line = printable(text[: room + 1])
    return line if len(text) <= room and len(line) <= room else f"{line[: room - 1]}…"


def _exponent(value: float) -> int:
    return int(f"{value:.15e}".split("e")[1])


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text
