"""Labels: how sure, how often right, what refusing gains, and what is drawn for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchstone.suites.metrics.calibration import Reliability
from torchstone.suites.metrics.classification import area_under
from torchstone.suites.pictures.canvas import BLACK, BLUE, GREY, ORANGE, encoded, figure
from torchstone.suites.pictures.images import as_images, show_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["accuracy_against_coverage", "class_samples", "confusion_matrix", "reliability_diagram"]

NUMBERED = 12  # classes up to which a confusion matrix has its counts written in it
STYLES = ((BLUE, "-"), (ORANGE, "--"), (BLACK, ":"))


@encoded
def reliability_diagram(bins: Reliability) -> Figure:
    """Accuracy against confidence in each bin, with the binomial error of the accuracy; below, how many there are.

    Source: Predicting Good Probabilities with Supervised Learning (Niculescu-Mizil and Caruana, 2005).
    """
    drawn = figure(4.8)
    axes = drawn.subplots()
    sure, right, count = (each.double().numpy() for each in (bins.confidence, bins.accuracy, bins.count))
    error = (sure * (1 - sure) / count).clip(0) ** 0.5
    low = max(0.0, min(sure.min(), right.min()) - 0.06)
    axes.plot([low, 1], [low, 1], color=GREY, linewidth=1.0, linestyle="--", label="calibrated")
    axes.errorbar(
        sure, right, yerr=2 * error, fmt="o", color=BLUE, capsize=3, linewidth=1.2, markersize=6, label="bins"
    )
    axes.set(xlim=(low, 1.01), ylim=(low, 1.02), aspect="equal")
    axes.set(xlabel="mean confidence of a bin", ylabel="accuracy of its examples")
    axes.legend(loc="lower right")
    title = f"{len(count)} bins of {count.min():.0f} to {count.max():.0f} examples; error {bins.error:.3f}"
    axes.set_title(f"{title}\nbars: two standard errors of a calibrated bin", fontsize=10)
    return drawn


@encoded
def accuracy_against_coverage(curves: Mapping[str, Tensor]) -> Figure:
    """The accuracy of what is answered, as more is refused.

    Args:
        curves: by what is refused first, each ``(N,)`` as `accuracy_coverage` gives it.

    Raises:
        ValueError: there is no curve.
    """
    if not curves:
        raise ValueError("there are no curves to draw")
    drawn = figure(3.8)
    axes = drawn.subplots()
    for (name, curve), (colour, line) in zip(curves.items(), STYLES, strict=False):
        coverage = torch.arange(1, len(curve) + 1) / len(curve)
        words = f"{name} refused first: mean {area_under(curve):.3f}"
        axes.plot(coverage.numpy(), curve.numpy(), line, color=colour, label=words)
    last = float(next(iter(curves.values()))[-1])
    axes.axhline(last, color=GREY, linewidth=1.0, label=f"nothing refused, or at random: {last:.3f}")
    lowest = min(float(curve[len(curve) // 20 :].min()) for curve in curves.values())
    axes.set(xlim=(0, 1.01), ylim=(max(0.0, lowest - 0.03), 1.005))
    axes.set(xlabel="coverage: share of the examples that are answered", ylabel="accuracy of the answers")
    axes.legend(loc="lower left")
    return drawn


@encoded
def confusion_matrix(counts: Tensor) -> Figure:
    """How many examples of each label were given each label; wrong ones are shaded by their share of the row.

    Args:
        counts: ``(C, C)``, the true label by row.

    Raises:
        ValueError: the matrix is not square.
    """
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"counts has shape {tuple(counts.shape)}: it is to be (C, C)")
    classes = len(counts)
    share = counts.double() / counts.sum(1, keepdim=True).clamp(min=1)
    drawn = figure(5.4)
    axes = drawn.subplots()
    shades = axes.imshow(share.numpy(), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    if classes <= NUMBERED:
        for row in range(classes):
            for column in range(classes):
                if count := int(counts[row, column]):
                    colour = "white" if float(share[row, column]) > 0.5 else BLACK
                    axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks(range(classes))
        axes.set_yticks(range(classes))
    right = int(counts.diagonal().sum())
    axes.set(xlabel="label that was given", ylabel="true label")
    axes.set_title(f"{right} of {int(counts.sum())} on the diagonal", fontsize=10)
    drawn.colorbar(shades, ax=axes, label="share of the true label", shrink=0.8)
    return drawn


@encoded
def class_samples(x: Tensor) -> Figure:
    """Samples of each class in a row of its own.

    Args:
        x: ``(C, columns, *event)``.

    Raises:
        ValueError: there is nothing to draw.
    """
    if x.ndim < 3 or x.numel() == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}: it is to be (C, columns, *event), and not empty")
    images = as_images(x, 2)
    rows, columns, height, width, _ = images.shape
    drawn = figure(min(8.0, max(1.6, 6.2 * rows * height / (columns * width) + 0.6)))
    axes = drawn.subplots()
    show_grid(axes, images, {row: f"class {row}" for row in range(rows)})
    axes.set_title("samples of each class; the labels were asked for", fontsize=10)
    return drawn
