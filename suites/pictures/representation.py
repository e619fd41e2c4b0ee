"""Features: what few labels make of them, how they lie, and which examples they hold to be alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from torchstone.suites.pictures.canvas import BLACK, BLUE, GREY, ORANGE, RED, encoded, figure
from torchstone.suites.pictures.images import as_images, show_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "feature_map", "few_label_curves", "nearest_examples", "view_similarity"]

STYLES = ((BLUE, "o-"), (GREY, "s--"), (ORANGE, "^-."), (BLACK, "v:"), (RED, "d--"))
NAMED = 10  # classes up to which each has a colour of its own


@final
@dataclass(frozen=True, slots=True)
class Curve:
    """Accuracies of one set of features.

    Attributes:
        name: of the features.
        labels: numbers of labels per class.
        accuracies: ``(R, len(labels))``, one draw of the labelled examples in each row.
        all_labels: the accuracy with all labels of the training split.
    """

    name: str
    labels: Sequence[int]
    accuracies: Tensor
    all_labels: float


@encoded
def few_label_curves(curves: Sequence[Curve], chance: float) -> Figure:
    """Accuracy against labels per class: mean over the draws, and a band of one standard deviation of a draw.

    Args:
        curves: the model's first, then its controls.
        chance: one over the number of classes.

    Raises:
        ValueError: there is no curve.
    """
    if not curves or not curves[0].labels:
        raise ValueError("there is no number of labels that every class has")
    drawn = figure(4.2)
    axes = drawn.subplots()
    last = max(max(curve.labels) for curve in curves)
    for curve, (colour, style) in zip(curves, STYLES, strict=False):
        mean, spread = curve.accuracies.mean(0), _spread(curve.accuracies)
        axes.plot(curve.labels, mean, style, color=colour, markersize=5, label=curve.name)
        axes.fill_between(curve.labels, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
        axes.plot([last * 2.2], [curve.all_labels], style[0], color=colour, markersize=6)
    axes.axhline(chance, color=GREY, linewidth=1.0, linestyle=":")
    axes.text(curves[0].labels[0], chance, " chance", va="bottom", fontsize=8.5, color=GREY)
    ticks = list(curves[0].labels)
    axes.set_xscale("log")
    axes.set_xticks([*ticks, last * 2.2], [*map(str, ticks), "all"])
    axes.minorticks_off()
    axes.set(xlabel="labels per class", ylabel="accuracy on the test split", ylim=(0, 1.02))
    axes.set_title(f"mean of {len(curves[0].accuracies)} draws, ± one standard deviation of a draw", fontsize=10)
    axes.legend(loc="lower right")
    return drawn


def _spread(accuracies: Tensor) -> Tensor:
    return accuracies.std(0, correction=1) if len(accuracies) > 1 else torch.zeros_like(accuracies[0])


@encoded
def feature_map(panels: Mapping[str, Tensor], y: Tensor, classes: int) -> Figure:
    """Features of examples in two dimensions, coloured by their label.

    Args:
        panels: ``(N, 2)`` each, by how they were made.
        y: ``(N,)`` labels, which had no part in it.
        classes: how many there are.

    Raises:
        ValueError: there is no panel.
    """
    if not panels:
        raise ValueError("there are no features in two dimensions to draw")
    drawn = figure(3.9)
    grid = drawn.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, places) in zip(grid, panels.items(), strict=True):
        _scatter(axes, places, y, classes)
        axes.set_title(name, fontsize=10)
    if classes <= NAMED:
        handles, names = grid[0].get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside right center", markerscale=1.6, title="label")
    return drawn


def _scatter(axes: Axes, places: Tensor, y: Tensor, classes: int) -> None:
    if classes <= NAMED:
        from matplotlib import colormaps

        colours = colormaps["tab10"].colors  # type: ignore[attr-defined]
        for label in range(classes):
            here = places[y == label]
            axes.scatter(here[:, 0], here[:, 1], s=9, color=colours[label], label=str(label), linewidths=0)
    else:
        axes.scatter(places[:, 0], places[:, 1], s=9, c=y, cmap="nipy_spectral", linewidths=0)
    axes.set_xticks([])
    axes.set_yticks([])


@encoded
def view_similarity(similarity: Tensor) -> Figure:
    """Cosine similarities of two random views of each example of a batch: the second view of an example by its first.

    The diagonal is what a contrastive loss raises, and all else what it lowers.

    Args:
        similarity: ``(N, N)``, first views in rows and second views in columns.

    Raises:
        ValueError: the shape is another.
    """
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1] or len(similarity) < 2:
        raise ValueError(f"similarity has shape {tuple(similarity.shape)}: it is to be (N, N) of two views and more")
    n = len(similarity)
    drawn = figure(5.2)
    axes = drawn.subplots()
    image = axes.imshow(similarity.numpy(), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    own = similarity.diagonal()
    others = similarity[~torch.eye(n, dtype=torch.bool)]
    first = float((similarity.argmax(1) == torch.arange(n)).double().mean())
    axes.set(xlabel="second view of example", ylabel="first view of example")
    axes.set_title(
        f"mean similarity {float(own.mean()):.2f} of one example's views, {float(others.mean()):.2f} of others';\n"
        f"the nearest second view is the right one for {first:.0%}",
        fontsize=10,
    )
    drawn.colorbar(image, ax=axes, label="cosine similarity", shrink=0.8)
    return drawn


@encoded
def nearest_examples(queries: Tensor, found: Tensor, right: Tensor) -> Figure:
    """Test examples, and in the row of each its nearest training examples by cosine similarity of features.

    Args:
        queries: ``(R, *event)``.
        found: ``(R, K, *event)``, the nearest first.
        right: ``(R, K)``, whether each has the label of its query.

    Raises:
        ValueError: there is nothing to draw.
    """
    if queries.ndim < 2 or found.ndim != queries.ndim + 1 or found.numel() == 0:
        raise ValueError(f"queries have shape {tuple(queries.shape)} and what was found {tuple(found.shape)}")
    images = as_images(torch.cat([queries[:, None], found], 1), 2)
    rows, columns, height, width, _ = images.shape
    drawn = figure(min(8.0, max(1.8, 6.4 * rows * height / (columns * width) + 0.7)))
    axes = drawn.subplots()
    words = {row: f"{int(right[row].sum())} of {right.shape[1]}" for row in range(rows)}
    show_grid(axes, images, words)
    axes.axvline(width + max(1, round(0.08 * max(height, width))) / 2 - 0.5, color=RED, linewidth=1.6)
    axes.set_ylabel("neighbours with the label of the example", fontsize=9)
    axes.set_title("test examples, and on the right of each its nearest training examples", fontsize=10)
    return drawn
