"""What a question costs, against the number of examples or the length of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from torchstone.suites.metrics.power_law import PowerLaw
from torchstone.suites.pictures.canvas import BLACK, BLUE, GREY, ORANGE, RED, encoded, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "cost"]

_LOOKS = ((BLUE, "o"), (RED, "s"), (ORANGE, "^"), (BLACK, "d"), (GREY, "v"))


@final
@dataclass(frozen=True, slots=True)
class Curve:
    """One cost at several sizes.

    Attributes:
        label: what it is the cost of.
        sizes: smallest first.
        seconds: at each size.
        spread: smallest and largest seconds that were seen at each size.
        law: fitted to them, and drawn where there is one.
        best: the size that is marked; None for none.
    """

    label: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    spread: tuple[tuple[float, float], ...]
    law: PowerLaw | None = None
    best: int | None = None


@encoded
def cost(curves: Sequence[Curve], size: str, *, shared: bool = False) -> Figure:
    """Seconds against size, both in logarithms, with the fitted laws; beside it seconds for each unit of the size.

    Bars reach from the fastest to the slowest call. What costs the same for each unit is level on the right.

    Args:
        curves: at least one, each with one size at least.
        size: what the sizes count, such as "examples in a call".
        shared: whether only the seconds themselves are drawn, where a cost by unit says nothing.

    Raises:
        ValueError: there is no curve, or one without a size.
    """
    if not curves or not all(curve.sizes for curve in curves):
        raise ValueError("there are no curves to draw, or one has no sizes")
    drawn = figure(3.6 + 0.25 * len(curves))
    panels = [drawn.subplots()] if shared else list(drawn.subplots(1, 2))
    for axes, each in zip(panels, (False, True), strict=False):
        for curve, (colour, marker) in zip(curves, _LOOKS * (1 + len(curves) // len(_LOOKS)), strict=False):
            _curve(axes, curve, colour, marker, each=each)
        axes.set(xscale="log", yscale="log", xlabel=size, ylabel="seconds for each" if each else "seconds")
        axes.grid(color="#DDDDDD", linewidth=0.8)
        axes.set_axisbelow(True)
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper left")
    return drawn


def _curve(axes: Axes, curve: Curve, colour: str, marker: str, *, each: bool) -> None:
    units = curve.sizes if each else (1,) * len(curve.sizes)
    y = [seconds / unit for seconds, unit in zip(curve.seconds, units, strict=True)]
    low, high = ([ends[side] / unit for ends, unit in zip(curve.spread, units, strict=True)] for side in (0, 1))
    bars = [[a - b for a, b in zip(y, low, strict=True)], [b - a for a, b in zip(y, high, strict=True)]]
    label = curve.label if curve.law is None else f"{curve.label}: exponent {_exponent(curve.law)}"
    axes.errorbar(
        curve.sizes, y, yerr=bars, fmt=marker, color=colour, markersize=6, capsize=2, linewidth=1.2, label=label
    )
    if curve.law is not None:
        at = [seconds / unit for seconds, unit in zip(map(curve.law.at, curve.sizes), units, strict=True)]
        axes.plot(curve.sizes, at, color=colour, linewidth=1.2, linestyle="--")
    if curve.best in curve.sizes:
        place = curve.sizes.index(curve.best)
        axes.plot(curve.sizes[place], y[place], marker="o", markersize=13, markerfacecolor="none", color=colour)


def _exponent(law: PowerLaw) -> str:
    if law.ci95 is None:
        return f"{law.exponent:.2f}"
    return f"{law.exponent:.2f} ({law.ci95[0]:.2f} to {law.ci95[1]:.2f})"
