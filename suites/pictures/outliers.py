"""Densities of the data and of outliers, beside each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from torch import Tensor

from torchstone.suites.pictures.canvas import BLACK, BLUE, GREY, ORANGE, RED, encoded, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Histogram", "auroc_grid", "complexity_scatter", "log_prob_histograms"]

ACROSS = 3
BINS = 40
MOST = 600  # dots of one set


@final
@dataclass(frozen=True, slots=True)
class Histogram:
    """A set of outliers: its name, ``(M,)`` log-densities in nats per dimension, and the AUROC of minus these."""

    name: str
    log_prob: Tensor
    auroc: float


@encoded
def log_prob_histograms(inside: Tensor, sets: Sequence[Histogram], band: tuple[float, float] | None) -> Figure:
    """Log-densities of the data, and of each set of outliers in a panel of its own.

    Args:
        inside: ``(N,)`` of the data, in nats per dimension.
        sets: of outliers.
        band: middle and half-width of the typicality band, in nats per dimension; None where there is none.

    Raises:
        ValueError: there is no set.
    """
    drawn, panels = _panels([each.name for each in sets], 1.75)
    for axes, each in zip(panels, sets, strict=True):
        _histogram(axes, inside, each, band)
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper left", ncols=3)
    drawn.supxlabel("log-density, nats per dimension", fontsize=10)
    drawn.supylabel("share of the examples", fontsize=10)
    return drawn


def _histogram(axes: Axes, inside: Tensor, each: Histogram, band: tuple[float, float] | None) -> None:
    """Both on common bins; what is not finite is said in the title."""
    kept = [values[values.isfinite()].numpy() for values in (inside, each.log_prob)]
    both = np.concatenate(kept)
    if band is not None:
        middle, half = band
        axes.axvspan(
            middle - half, middle + half, color=ORANGE, alpha=0.35, linewidth=0, label="typical: 95 % of validation"
        )
    if len(both):
        low, high = float(both.min()), float(both.max())
        edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
        shares = [
            np.histogram(values, edges)[0] / of
            for values, of in zip(kept, (len(inside), len(each.log_prob)), strict=True)
        ]
        axes.stairs(shares[0], edges, fill=True, color=GREY, alpha=0.8, label="data")
        axes.stairs(shares[1], edges, color=BLUE, linewidth=1.6, label="outliers")
    lost = len(each.log_prob) - len(kept[1])
    axes.set_title(f"{each.name}\nAUROC {each.auroc:.3f}" + (f", {lost} not finite" if lost else ""), fontsize=9)
    axes.locator_params(nbins=4)


@encoded
def complexity_scatter(inside: tuple[Tensor, Tensor], sets: Mapping[str, tuple[Tensor, Tensor]]) -> Figure:
    """Log-density against code length, of the data and of each set of outliers in a panel of its own.

    On the dashed line the model takes as many bits as the code.

    Args:
        inside: code lengths in bits per dimension, and log-densities in nats per dimension, ``(N,)`` each.
        sets: the same of each set of outliers.

    Raises:
        ValueError: there is no set.
    """
    drawn, panels = _panels(list(sets), 1.75)
    x, y = (values[:MOST] for values in inside)
    for axes, (name, (bits, log_prob)) in zip(panels, sets.items(), strict=True):
        axes.plot(x, y, ".", color=GREY, markersize=3, label="data")
        axes.plot(bits[:MOST], log_prob[:MOST], "x", color=BLUE, markersize=3.5, markeredgewidth=0.8, label="outliers")
        ends = torch.stack([x.min(), x.max(), bits.min(), bits.max()])
        ends = torch.stack([ends.min(), ends.max()])
        axes.plot(ends, -ends * math.log(2), "--", color=RED, linewidth=1.2, label="as many bits as the code")
        axes.set_title(name, fontsize=9)
        axes.locator_params(nbins=4)
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper left", ncols=3)
    drawn.supxlabel("code length, bits per dimension", fontsize=10)
    drawn.supylabel("log-density, nats per dimension", fontsize=10)
    return drawn


@encoded
def auroc_grid(areas: Tensor, sets: Sequence[str], scores: Sequence[str]) -> Figure:
    """Every AUROC, a row for each set of outliers and a column for each score; what is below chance is blue.

    Args:
        areas: ``(sets, scores)``.
        sets: names of the rows.
        scores: names of the columns.

    Raises:
        ValueError: the shape is another.
    """
    if areas.shape != (len(sets), len(scores)) or areas.numel() == 0:
        raise ValueError(f"areas has shape {tuple(areas.shape)} for {len(sets)} sets and {len(scores)} scores")
    drawn = figure(1.5 + 0.33 * len(sets))
    axes = drawn.subplots()
    image = axes.imshow(areas.numpy(), cmap="RdBu_r", vmin=0.0, vmax=1.0, aspect="auto")
    for row, values in enumerate(areas.tolist()):
        for column, value in enumerate(values):
            white = abs(value - 0.5) > 0.35
            axes.text(
                column, row, f"{value:.3f}", ha="center", va="center", color="white" if white else BLACK, fontsize=9
            )
    axes.set_xticks(range(len(scores)), [name.replace("_", "\n") for name in scores], fontsize=8.5)
    axes.set_yticks(range(len(sets)), list(sets))
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    drawn.colorbar(image, ax=axes, label="AUROC; 0.5 is chance", ticks=[0, 0.25, 0.5, 0.75, 1])
    return drawn


def _panels(names: Sequence[str], height: float) -> tuple[Figure, list[Axes]]:
    """A panel for each name, three in a row."""
    if not names:
        raise ValueError("there is no set of outliers to draw")
    rows = -(-len(names) // ACROSS)
    drawn = figure(0.8 + height * rows)
    grid = drawn.subplots(rows, ACROSS, squeeze=False).flatten().tolist()
    for empty in grid[len(names) :]:
        empty.set_visible(False)
    return drawn, grid[: len(names)]
