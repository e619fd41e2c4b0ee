"""Samples, and what they are worth: beside training examples, against their number, against their cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, final

import torch
from torch import Tensor

from torchstone.suites.metrics.frechet import Extrapolation
from torchstone.suites.pictures.canvas import BLACK, BLUE, GREY, ORANGE, RED, encoded, figure
from torchstone.suites.pictures.images import as_images, show_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "extrapolation", "neighbours", "quality"]

_LOOKS = ((BLUE, "o"), (RED, "s"), (ORANGE, "^"), (BLACK, "d"), (GREY, "v"))


@final
class Curve(NamedTuple):
    """A distance, with its error, at several costs: evaluations of the network, and seconds for a sample."""

    evaluations: tuple[float, ...]
    seconds: tuple[float, ...]
    distances: tuple[float, ...]
    errors: tuple[float, ...]


@encoded
def neighbours(
    x: Tensor, train: Tensor, which: Tensor, distances: Tensor, test_distances: Tensor, few: Mapping[str, Tensor]
) -> Figure:
    """Rows of samples, each sample above its nearest training example and a word on how near that is.

    The word is the share of test examples that are nearer to theirs: near 0 % for a copy, and of any size for others.

    Args:
        x: samples ``(N, *event)``.
        train: training examples ``(M, *event)``.
        which: ``(N,)`` the nearest training example of each sample.
        distances: ``(N,)`` to it.
        test_distances: those of test examples.
        few: which samples are shown, by title.
    """
    drawn = figure(0.2 + 1.55 * len(few))
    panels = drawn.subplots(len(few), 1, squeeze=False)[:, 0]
    high = float(max(x.max(), train.max()))
    for axes, (title, index) in zip(panels, few.items(), strict=True):
        both = torch.stack([x[index], train[which[index]]])
        images = as_images(both, 2, low=0.0, high=high)
        show_grid(axes, images, {0: "sample", 1: "nearest\nof training"})
        axes.set_title(f"{title}: share of test examples that are nearer to theirs")
        _words(axes, images, [float((test_distances < distance).double().mean()) for distance in distances[index]])
    return drawn


def _words(axes: Axes, images: Tensor, shares: list[float]) -> None:
    """A word below each column of a grid."""
    _, across, height, width, _ = images.shape
    line = max(1, round(0.08 * max(height, width)))
    places = [column * (width + line) + (width - 1) / 2 for column in range(across)]
    axes.set_xticks(places, [f"{share:.0%}" for share in shares])
    axes.tick_params(length=0)


@encoded
def extrapolation(line: Extrapolation, floor: float | None) -> Figure:
    """Distance against one over the number of samples, the line through it, and where that meets infinitely many."""
    drawn = figure(3.4)
    axes = drawn.subplots()
    x = [1 / size for size in line.sizes]
    axes.plot(x, line.distances, "o", color=BLUE, markersize=5, label="subsets of the samples")
    axes.plot([0, max(x)], [line.value, line.value + line.slope * max(x)], color=BLUE, linewidth=1.2)
    axes.plot(
        [0], [line.value], "D", color=RED, markersize=7, clip_on=False, label=f"at infinitely many: {line.value:.3g}"
    )
    _level(axes, floor)
    axes.set(xlabel="1 / number of samples", ylabel="Fréchet distance to the test split", xlim=(0, None))
    axes.set_ylim(bottom=0)
    marks = [line.sizes[0], line.sizes[len(line.sizes) // 2], line.sizes[-1]]
    axes.set_xticks([0, *(1 / size for size in marks)], ["0", *(f"1/{size}" for size in marks)])
    axes.legend(loc="best")
    return drawn


@encoded
def quality(curves: Mapping[str, Curve], floor: float | None) -> Figure:
    """Distance against evaluations of the network, and against seconds for a sample, all in logarithms.

    Args:
        curves: by name; one of a single cost is drawn as a point, and one whose cost is NaN on the other side only.
            Bars are 95 % intervals.
        floor: what training examples have in place of samples.
    """
    drawn = figure(3.4 + 0.22 * len(curves))
    panels = drawn.subplots(1, 2, sharey=True)
    for axes, what in zip(panels, ("evaluations of the network", "seconds for a sample"), strict=True):
        for number, (name, curve) in enumerate(curves.items()):
            colour, marker = _LOOKS[number % len(_LOOKS)]
            low = [min(1.96 * error, 0.9 * value) for error, value in zip(curve.errors, curve.distances, strict=True)]
            axes.errorbar(
                curve.evaluations if what.startswith("evaluations") else curve.seconds,
                curve.distances,
                yerr=[low, [1.96 * error for error in curve.errors]],
                fmt=f"{marker}-",
                color=colour,
                markerfacecolor=colour if number < len(_LOOKS) else "white",
                markersize=6,
                linewidth=1.2,
                label=name,
            )
        _level(axes, floor)
        axes.set(xscale="log", yscale="log", xlabel=what)
        axes.grid(color="#DDDDDD", linewidth=0.8)
        axes.set_axisbelow(True)
    panels[0].set_ylabel("Fréchet distance")
    drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return drawn


def _level(axes: Axes, floor: float | None) -> None:
    if floor is not None:
        axes.axhline(floor, color=GREY, linestyle="--", linewidth=1.2, label="training examples in place of samples")
