"""Per-example values of the best rows of a block, one histogram above the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

from torchstone.results.leaderboard.axes import BEYOND, Axis, axis
from torchstone.results.leaderboard.examples import Values
from torchstone.results.leaderboard.names import cut, name
from torchstone.results.leaderboard.scatter import FRAME
from torchstone.results.tables.table import Block
from torchstone.results.text.numbers import plain, shortened

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Histogram", "Histograms", "histograms"]

ROWS = 6
_BINS = 48
_LETTERS = 50  # of a name
_GAP = 17.0  # of a row, for its name
_HEIGHT = 48.0  # of a row


@final
@dataclass(frozen=True, slots=True)
class Histogram:
    """One row: its name and the line it stands on, the outline of its bars, and the place of its mean.

    A mean that lies beyond the axis has no place, and is said beside the name.
    """

    name: str
    base: float
    path: str
    mean: float | None
    top: float


@final
@dataclass(frozen=True, slots=True)
class Histograms:
    """A picture, ready to be drawn; ``words`` stand for it as text."""

    x: Axis
    x_label: str
    bottom: float
    rows: tuple[Histogram, ...]
    words: str
    caption: str


def histograms(block: Block, values: Mapping[int, Values]) -> Histograms | str | None:
    """The values of the best rows among those that have any; None where none has.

    In a sentence why they are left out, where no axis holds them.
    """
    import numpy as np

    shown = dict(list(values.items())[:ROWS])
    if not shown:
        return None
    headline, (left, right, top, _) = block.columns[0], FRAME
    every = np.concatenate([own.numbers for own in shown.values()])
    there = every[np.isfinite(every)]
    x = axis(_between(there, 0.002, 0.998), left, right, logarithmic=False) if there.size else None
    if x is None:
        return f"A histogram of {cut(headline.name)} over examples {BEYOND}"
    edges = np.linspace(x.low, x.high, _BINS + 1)
    counts = {place: np.histogram(np.clip(own.numbers, x.low, x.high), edges)[0] for place, own in shown.items()}
    tallest = max(count.max() / count.sum() for count in counts.values())
    rows, words = [], []
    for number, (place, own) in enumerate(shown.items()):
        row, base = block.rows[place], top + (number + 1) * _HEIGHT
        heights = [float(share) for share in counts[place] / counts[place].sum() / tallest * (_HEIGHT - _GAP)]
        mean, whole = _mean(own.numbers), name(row)
        within = x.low <= mean <= x.high
        beside = "" if within else f": mean {plain(mean)}, beyond the axis"
        outline = "".join(
            f"V{base - each:.1f}H{x.at(float(edge)):.1f}" for each, edge in zip(heights, edges[1:], strict=True)
        )
        path = f"M{left} {base:.1f}{outline}V{base:.1f}Z"
        top_of = round(base - _HEIGHT + _GAP, 1)
        short = shortened(whole, _LETTERS - len(beside)) + beside
        rows.append(Histogram(short, round(base, 1), path, x.at(mean) if within else None, top_of))
        lower, upper = map(plain, _between(own.numbers, 0.05, 0.95))
        words.append(f"{whole}: mean {plain(mean)}, nine in ten from {lower} to {upper}")
    return Histograms(
        x,
        f"{headline.kind.sign} {cut(headline.name)} of one example, {cut(headline.unit)}".strip(),
        top + len(shown) * _HEIGHT,
        tuple(rows),
        f"Histograms of {cut(headline.name)} over examples. {'; '.join(words)}.",
        f"Examples: how {cut(headline.name)} is spread over them, for the best rows whose values were read; the line "
        "marks the mean, the outermost bars hold all that lies beyond, and several seeds are averaged.",
    )


def _mean(numbers: np.ndarray[Any, Any]) -> float:
    """The mean; of numbers whose sum is none, by their shares of the largest."""
    largest = float(abs(numbers).max())
    return largest * float((numbers / largest).mean()) if math.isfinite(largest) and largest else float(numbers.mean())


def _between(numbers: np.ndarray[Any, Any], low: float, high: float) -> tuple[float, float]:
    """Two quantiles; of numbers that are not all finite, such as are among them."""
    import numpy as np

    method: Literal["linear", "inverted_cdf"] = "linear" if np.isfinite(numbers).all() else "inverted_cdf"
    with np.errstate(over="ignore", invalid="ignore"):
        first, last = np.quantile(numbers, (low, high), method=method)
    return float(first), float(last)
