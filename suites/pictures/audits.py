"""What audits saw: floors, masses, causality and the agreement of samples with their density."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from torchstone.suites.pictures.canvas import BLACK, BLUE, GREY, RED, encoded, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["causality_matrix", "entropy_floors", "mass_meter", "pit"]

FAR = 4.0  # masses beyond this end in an arrow
ROUNDING = 1e-5  # what a sum in float32 may have above 1


@encoded
def entropy_floors(amplitudes: Sequence[int], bits: Sequence[float], floors: Sequence[float]) -> Figure:
    """Bits per dimension of jittered images against the least that any normalised density can reach on average.

    Args:
        amplitudes: of the jitter, which is uniform on ``2 a + 1`` values of each dimension.
        bits: what the model gives, in bits/dim; infinite where it holds some image for impossible.
        floors: the entropy of the jitter, in bits/dim.

    Raises:
        ValueError: the three are not equally long, or empty.
    """
    if not 0 < len(amplitudes) == len(bits) == len(floors):
        raise ValueError(f"there are {len(amplitudes)} amplitudes, {len(bits)} bits and {len(floors)} floors")
    drawn = figure(3.6)
    axes = drawn.subplots()
    places = range(len(amplitudes))
    reach = [value for value in (0.0, *bits, *floors) if math.isfinite(value)]
    span = max(reach) - min(reach)
    bottom, top = min(reach) - (0.15 * span if min(reach) < 0 else 0.0), max(reach) + 0.45 * span
    _impossible(axes, places, floors, bottom)
    marks = [_mark(value, floor) for value, floor in zip(bits, floors, strict=True)]
    shown = [value if math.isfinite(value) else max(reach) + 0.1 * span for value in bits]
    axes.plot(
        places, [h if math.isfinite(value) else math.nan for h, value in zip(shown, bits, strict=True)], color=BLUE
    )
    for mark in dict.fromkeys(marks):
        marker, colour, name = mark
        chosen = [place for place in places if marks[place] == mark]
        heights = [shown[place] for place in chosen]
        axes.plot(chosen, heights, marker, color=colour, markersize=9, label=name, zorder=4, clip_on=False)
    for place, value in zip(places, bits, strict=True):
        words = f"{value:.2f}" if math.isfinite(value) else "∞" if value > 0 else str(value)
        above = {"textcoords": "offset points", **_boxed("center")}
        axes.annotate(words, (place, shown[place]), (0, 9), **above)
    axes.set_xticks(list(places), [f"±{amplitude}\n{2 * amplitude + 1} values" for amplitude in amplitudes])
    axes.set(
        xlim=(-0.4, len(amplitudes) - 0.6), ylim=(bottom, top), ylabel="bits/dim", xlabel="jitter of each dimension"
    )
    axes.legend(loc="upper left", ncols=2)
    return drawn


@encoded
def mass_meter(masses: Mapping[str, float]) -> Figure:
    """Total probabilities, each a bar that must not pass 1.

    Args:
        masses: of what was summed, by what it was called.

    Raises:
        ValueError: there are none.
    """
    if not masses:
        raise ValueError("there are no masses to draw")
    drawn = figure(1.0 + 0.42 * len(masses))
    axes = drawn.subplots()
    end = min(FAR, max(1.3, *(1.25 * value if math.isfinite(value) else FAR for value in masses.values())))
    axes.axvspan(1.0, end, facecolor="#E4E4E4", edgecolor=GREY, hatch="///", linewidth=0, zorder=0)
    axes.axvline(1.0, color=BLACK, linestyle="--", zorder=3)
    for place, value in enumerate(masses.values()):
        above, length = not value <= 1 + ROUNDING, value if value <= end else end
        axes.barh(place, length, height=0.55, color=RED if above else BLUE, hatch="xx" if above else None, zorder=2)
        words = f" {value:.7g}{' →' if length != value else ''} "
        axes.text(length, place, words, **_boxed("right" if length > 0.3 * end else "left", "center"))
    axes.set_yticks(range(len(masses)), list(masses))
    axes.set(xlim=(0, end), ylim=(len(masses) - 0.5, -0.5), xlabel="total probability; beyond 1 is impossible")
    return drawn


@encoded
def causality_matrix(influence: Tensor, order: Tensor) -> Figure:
    """How strongly each conditional depends on each input: dark above and on the diagonal where a model is causal.

    Args:
        influence: ``(D, D)``, row i the conditional that is generated i-th, column j the input that is generated j-th;
            the largest change that was seen, 0 where none was, NaN where none was tried.
        order: ``(D,)`` flat positions, the first generated first.

    Raises:
        ValueError: the matrix is not square, or not of the order's length.
    """
    size = len(order)
    if size == 0 or influence.shape != (size, size):
        raise ValueError(f"the influence has shape {tuple(influence.shape)} for an order of {size} positions")
    matrix = influence.detach().double().cpu().abs()
    later = torch.ones(size, size, dtype=torch.bool).triu()
    tried, moved = ~matrix.isnan(), matrix > 0
    drawn = figure(5.6)
    axes = drawn.subplots()
    axes.patch.set(facecolor="white", edgecolor=GREY, hatch="////")
    _heat(axes, matrix, moved)
    axes.plot([-0.5, size - 0.5], [-0.5, size - 0.5], color="white", linewidth=1.0, linestyle="--")
    rows, columns = (moved & later).numpy().nonzero()
    extent = max(4.0, min(14.0, 200.0 / size))
    axes.plot(columns, rows, "X", color=RED, markersize=extent, markeredgecolor="white", clip_on=False, zorder=4)
    blind, past = int((tried & ~moved & ~later).sum()), int((tried & ~later).sum())
    axes.set_title(
        f"{len(rows)} leaks from what is not yet generated (crosses; there must be none)\n"
        f"{blind} blind spots in {past} tried pairs of the past (black, below the diagonal)",
        fontsize=10,
    )
    places = range(0, size, -(-size // 16))
    names = [str(int(order[place])) for place in places]
    axes.set_xticks(places, names)
    axes.set_yticks(places, names)
    axes.set(xlabel="input, by its flat position, first generated first", ylabel="conditional, likewise")
    return drawn


@encoded
def pit(values: Tensor) -> Figure:
    """Randomised probability integral transforms against the uniform law that they follow where samples fit a density.

    The band holds the whole curve of an honest model in 999 cases of 1000.

    Source: The Tight Constant in the Dvoretzky-Kiefer-Wolfowitz Inequality (Massart, 1990).

    Args:
        values: ``(N,)`` in [0, 1].

    Raises:
        ValueError: there are none.
    """
    if values.numel() == 0:
        raise ValueError("there are no values to draw")
    found = values.detach().double().cpu().flatten().sort().values.numpy()
    uniform = (np.arange(len(found)) + 0.5) / len(found)
    band = math.sqrt(math.log(2 / 1e-3) / (2 * len(found)))
    drawn = figure(3.5)
    left, right = drawn.subplots(1, 2, width_ratios=(1, 1.25))
    _band(left, band, slope=1.0)
    left.plot(uniform, found, color=BLUE)
    left.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="uniform quantile", ylabel="quantile of the samples")
    _band(right, band, slope=0.0)
    right.plot(uniform, found - uniform, color=BLUE, label=f"{len(found)} values")
    reach = 1.35 * max(band, abs(found - uniform).max())
    right.set(xlim=(0, 1), ylim=(-reach, 1.25 * reach), xlabel="uniform quantile", ylabel="difference from uniform")
    right.legend(loc="upper left", ncols=2)
    return drawn


def _band(axes: Axes, band: float, slope: float) -> None:
    """Where the curve of an honest model stays."""
    ends = [0.0, 1.0]
    low, high = [slope * end - band for end in ends], [slope * end + band for end in ends]
    axes.fill_between(ends, low, high, facecolor="#DDDDDD", edgecolor=GREY, linewidth=0.8, label="99.9 % band")
    axes.plot(ends, [slope * end for end in ends], color=BLACK, linestyle="--", linewidth=1.0)


def _impossible(axes: Axes, places: Sequence[int], floors: Sequence[float], bottom: float) -> None:
    """The floors, and what lies under them."""
    edges, heights = [-0.4, *places, len(places) - 0.6], [floors[0], *floors, floors[-1]]
    under = axes.fill_between(edges, bottom, heights, label="impossible on average")
    under.set(facecolor="#E4E4E4", edgecolor=GREY, hatch="///", linewidth=0)
    axes.plot(edges, heights, color=BLACK, linestyle="--", label="floor: entropy of the jitter")


def _mark(value: float, floor: float) -> tuple[str, str, str]:
    """How a point is drawn, and what that means."""
    if not math.isfinite(value):
        return "^", BLUE, "not finite"
    return ("o", BLUE, "the model") if value >= floor else ("X", RED, "the model, below the floor")


def _heat(axes: Axes, matrix: Tensor, moved: Tensor) -> None:
    """Changes on a logarithmic scale of at most eight decades, black where there was none, nothing where NaN."""
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    seen = matrix[moved & matrix.isfinite()]
    top = float(seen.max()) if len(seen) else 1.0
    least = max(float(seen.min()) if len(seen) else 1.0, 1e-8 * top)
    least = min(least, top / 10)
    scaled = torch.where(moved, matrix.clamp(least, top), matrix + least / 10)
    colours = colormaps["viridis"].with_extremes(under="black", bad=(0, 0, 0, 0))
    shown = axes.imshow(scaled.numpy(), cmap=colours, norm=LogNorm(least, top), interpolation="nearest")
    if len(seen):
        words = "largest change of the conditional (black: none; hatched: not tried)"
        axes.get_figure(root=True).colorbar(shown, ax=axes, label=words, shrink=0.9)  # type: ignore[union-attr]


def _boxed(across: str, up: str = "bottom") -> dict[str, Any]:
    """Text that stays readable on hatching."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85}
    return {"ha": across, "va": up, "fontsize": 9, "bbox": box, "zorder": 5}
