"""How far a bound is from what it bounds, and what a latent-variable model does with its latent variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

import numpy as np
import torch
from torch import Tensor

from torchstone.suites.pictures.canvas import BLACK, BLUE, GREY, ORANGE, RED, encoded, figure
from torchstone.suites.pictures.images import as_images, show_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Point",
    "Rung",
    "bound_ladder",
    "latent_kl",
    "rate_distortion",
    "reconstructions",
    "traversals",
]

DEAD = 0.01  # nats of KL, and share of the prior's variance, up to which a latent dimension is unused
MOST = 16  # rows or columns of a grid of images

# Of a bound: where the truth lies from it, the sign of the truth, and how it is drawn.
_SIDES = {"lower": (1, "≥", "|", BLUE), "upper": (-1, "≤", "|", RED), "exact": (0, "=", "d", BLACK)}


@final
@dataclass(frozen=True, slots=True)
class Rung:
    """One bound on a mean log-likelihood, in nats per example.

    Attributes:
        label: what it is called.
        nats: its value.
        stderr: its standard error, where it has one.
        kind: what it is of the log-likelihood, and whether it was measured on data that the model itself simulated.
    """

    label: str
    nats: float
    stderr: float | None
    kind: Literal["lower", "upper", "exact", "simulated lower", "simulated upper", "simulated exact"]

    @property
    def simulated(self) -> bool:
        """Whether it was measured on simulated data."""
        return self.kind in ("simulated lower", "simulated upper", "simulated exact")


@final
@dataclass(frozen=True, slots=True)
class Point:
    """One model in the rate-distortion plane, in nats per example; the label tells it from the others."""

    label: str
    rate: float
    distortion: float


@encoded
def bound_ladder(rungs: Sequence[Rung]) -> Figure:
    """Bounds on the log-likelihood, an arrow on each pointing to where the truth lies.

    What was measured on data simulated by the model stands on an axis of its own, of the same scale: distances may be
    compared between the two, places may not.

    Raises:
        ValueError: there is no rung.
    """
    parts = {
        "on the test data": [rung for rung in rungs if not rung.simulated],
        "on data simulated by the model": [rung for rung in rungs if rung.simulated],
    }
    shown = {name: part for name, part in parts.items() if part}
    if not shown:
        raise ValueError("there are no rungs to draw")
    spans = {name: _span(part) for name, part in shown.items()}
    reach = 1.9 * max(high - low for low, high in spans.values()) or 1.0
    drawn = figure(0.9 * len(shown) + 0.42 * len(rungs))
    grid = drawn.subplots(len(shown), 1, squeeze=False, height_ratios=[len(part) + 0.6 for part in shown.values()])
    for axes, (name, part) in zip(grid[:, 0], shown.items(), strict=True):
        middle = sum(spans[name]) / 2
        axes.set(xlim=(middle - 0.42 * reach, middle + 0.58 * reach), ylim=(len(part) - 0.4, -0.6))
        axes.set_yticks(range(len(part)), [rung.label for rung in part])
        axes.set_title(name, fontsize=10)
        axes.grid(axis="x", color="#DDDDDD", linewidth=0.8)
        axes.set_axisbelow(True)
        for row, rung in enumerate(part):
            _rung(axes, row, rung)
    axes.set_xlabel("log-likelihood in nats/example\nbars: the estimator's own error; arrows: where the truth lies")
    return drawn


@encoded
def rate_distortion(points: Sequence[Point]) -> Figure:
    """Rate against distortion, with the lines on which their sum, minus the ELBO, is the same.

    Source: Fixing a Broken ELBO (Alemi et al., 2018). https://arxiv.org/abs/1711.00464

    Args:
        points: in the order in which they are joined, such as that of a sweep over beta.

    Raises:
        ValueError: there is no point.
    """
    if not points:
        raise ValueError("there are no points to draw")
    drawn = figure(4.6)
    axes = drawn.subplots()
    rates, distortions = [point.rate for point in points], [point.distortion for point in points]
    (left, right), (bottom, top) = _around(rates), _around(distortions)
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel="rate: nats/example", ylabel="distortion: nats/example")
    for total in _round_numbers(left + bottom, right + top):
        axes.axline((left, total - left), slope=-1, color=GREY, linewidth=0.9, linestyle="--", zorder=1)
        beside = total - right >= bottom
        place = (right, total - right) if beside else (total - bottom, bottom)
        name = axes.annotate(f"{-total:g}", place, (4, 0) if beside else (0, 4), textcoords="offset points")
        name.set(ha="left" if beside else "right", va="center_baseline", fontsize=8, color="#555555")
    axes.plot(rates, distortions, "o-", color=BLUE, markersize=7, zorder=3)
    best = min(points, key=lambda point: point.rate + point.distortion)
    axes.plot(best.rate, best.distortion, "*", color=ORANGE, markersize=18, markeredgecolor=BLACK, zorder=4)
    for point in points:
        label = axes.annotate(point.label, (point.rate, point.distortion), (10, 8), textcoords="offset points")
        label.set(bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.85}, zorder=2)
    axes.set_title(f"dashed: equal ELBO, in nats; star: the largest, {-best.rate - best.distortion:.5g}", fontsize=10)
    return drawn


@encoded
def latent_kl(kl: Tensor, variances: Tensor) -> Figure:
    """What each latent dimension carries, largest first, and how much its posterior mean varies over the data.

    Args:
        kl: ``(L,)`` nats per example of each dimension.
        variances: ``(L,)`` variances of the posterior means, in units of the prior's variance; in any order.

    Raises:
        ValueError: the two are not equally long, or empty.
    """
    if kl.dim() != 1 or len(kl) == 0 or kl.shape != variances.shape:
        raise ValueError(f"kl has shape {tuple(kl.shape)} and variances {tuple(variances.shape)}: both are to be (L,)")
    carried, place = (each.numpy() for each in kl.detach().cpu().double().sort(descending=True))
    varied = variances.detach().cpu().double().clamp(min=1e-8).sort(descending=True).values.numpy()
    drawn = figure(4.8)
    above, below = drawn.subplots(2, 1)
    ranks, dead, active = np.arange(len(kl)), carried <= DEAD, varied > DEAD
    name = f"unused, at most {DEAD} nats: {dead.sum()}"
    above.bar(ranks[~dead], carried[~dead], color=BLUE, label=f"used: {(~dead).sum()}")
    above.plot(ranks[dead], carried[dead], "X", color=GREY, label=name, clip_on=False, zorder=3)
    above.set(
        ylabel="KL to the prior, nats", xlabel="latent dimension, by its index", ylim=(0, 1.3 * (carried[0] or 1))
    )
    above.set_title(f"{carried.sum():.4g} nats/example in all", fontsize=10)
    above.set_xticks(ranks[:: -(-len(kl) // 20)], place[:: -(-len(kl) // 20)])
    below.plot(ranks[active], varied[active], "o", color=BLUE, label=f"active: {active.sum()}")
    below.plot(ranks[~active], varied[~active], "X", color=GREY, label=f"inactive: {(~active).sum()}")
    below.axhline(DEAD, color=BLACK, linestyle="--", linewidth=1.0, label=f"threshold {DEAD}")
    low, high = min(DEAD, varied[-1]), max(1.0, varied[0])
    below.set(yscale="log", xlabel="rank", ylabel="variance of the mean\n(prior: 1)")
    below.set_ylim(low / 2, high * (high / low) ** 0.35)
    for axes in (above, below):
        axes.legend(loc="upper right", ncols=3)
        axes.set_xlim(-0.8, len(kl) - 0.2)
    return drawn


@encoded
def traversals(images: Tensor, kl: Tensor, dimensions: Sequence[int] | None = None) -> Figure:
    """What the decoder makes of each latent dimension alone, the one that carries most above.

    Args:
        images: ``(L, steps, *event)``, each dimension from low to high with the others kept; at most 16 are drawn.
        kl: ``(L,)`` nats per example of each dimension.
        dimensions: the indices of the dimensions, where they are to be named.

    Raises:
        ValueError: there are not as many dimensions in both, or none.
    """
    if images.dim() < 3 or len(images) == 0 or kl.shape != images.shape[:1]:
        raise ValueError(
            f"images has shape {tuple(images.shape)} and kl {tuple(kl.shape)}: (L, steps, *event) and (L,)"
        )
    carried, place = kl.detach().cpu().double().sort(descending=True)
    shown = as_images(images, 2)[place[:MOST]]
    drawn = figure(_height(shown, 6.0) + 0.6)
    axes = drawn.subplots()
    names = ["" if dimensions is None else f"z{dimensions[int(each)]}: " for each in place]
    show_grid(axes, shown, {row: f"{names[row]}{_nats(float(carried[row]))}" for row in range(len(shown))})
    for row, label in enumerate(axes.get_yticklabels()):
        label.set_color(GREY if carried[row] <= DEAD else BLACK)
    rest = f"; the {len(kl) - len(shown)} that carry least are left out" if len(kl) > len(shown) else ""
    axes.set_title(f"KL of each latent dimension; grey: unused{rest}", fontsize=10)
    axes.set_xlabel("one latent dimension from low to high, the others kept")
    return drawn


@encoded
def reconstructions(x: Tensor, reconstructed: Tensor, samples: Tensor) -> Figure:
    """Examples, the decoder's mean at their posterior mean, and draws from decoder and posterior; at most 16 of each.

    Args:
        x: ``(N, *event)`` examples.
        reconstructed: ``(N, *event)``.
        samples: ``(N, *event)``, or ``(S, N, *event)`` for several of each.

    Raises:
        ValueError: the shapes do not agree, or there is no example.
    """
    if samples.dim() == x.dim():
        samples = samples.unsqueeze(0)
    if len(x) == 0 or reconstructed.shape != x.shape or samples.shape[1:] != x.shape:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, reconstructed {tuple(reconstructed.shape)}, samples {tuple(samples.shape)}"
        )
    rows = torch.cat([part.detach().cpu().double() for part in (x[None], reconstructed[None], samples)])[:, :MOST]
    low, high = float(x.min()), float(x.max())
    shown = as_images(rows, 2, low=low, high=high)
    drawn = figure(_height(shown, 5.8) + 0.4)
    axes = drawn.subplots()
    names = ["data", "reconstruction", *(f"sample {number + 1}" for number in range(len(samples)))]
    show_grid(axes, shown, dict(enumerate(names)))
    axes.set_title("examples, the most probable at their code, and draws from posterior and decoder", fontsize=10)
    return drawn


def _span(rungs: Sequence[Rung]) -> tuple[float, float]:
    """The least and the largest place that a rung and its error reach."""
    finite = [rung for rung in rungs if math.isfinite(rung.nats)]
    errors = [rung.stderr if rung.stderr is not None and math.isfinite(rung.stderr) else 0.0 for rung in finite]
    low = [rung.nats - error for rung, error in zip(finite, errors, strict=True)]
    high = [rung.nats + error for rung, error in zip(finite, errors, strict=True)]
    return (min(low), max(high)) if finite else (0.0, 0.0)


def _rung(axes: Axes, row: int, rung: Rung) -> None:
    from matplotlib.transforms import offset_copy

    direction, sign, shape, colour = _SIDES[rung.kind.removeprefix("simulated ")]
    words, error = f"{sign} {rung.nats:.2f}", rung.stderr or 0.0
    if math.isfinite(rung.nats):
        axes.errorbar(rung.nats, row, xerr=error, color=colour, capsize=4, linewidth=1.2)
        filled = "white" if rung.simulated else colour
        axes.plot(rung.nats, row, shape, color=colour, markersize=13, markerfacecolor=filled, markeredgewidth=2)
        words += f" ± {error:.2g}" if error else ""
    if math.isfinite(rung.nats) and direction:
        style = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.4, "mutation_scale": 13, "shrinkA": 0}
        end = offset_copy(axes.transData, axes.get_figure(root=True), 30 * direction, units="points")
        axes.annotate("", (rung.nats, row), (rung.nats, row), xycoords=end, textcoords="data", arrowprops=style)
    axes.text(0.995, row, words, transform=axes.get_yaxis_transform(), ha="right", va="center")


def _round_numbers(low: float, high: float, about: int = 6) -> list[float]:
    """About so many round numbers between ``low`` and ``high``."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * min((1, 2, 5, 10), key=lambda each: abs(each * power - raw))
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _around(values: Sequence[float]) -> tuple[float, float]:
    """Limits with room about ``values``; from zero where that is near."""
    low, high = min(values), max(values)
    room = 0.2 * (high - low) or 0.25 * abs(high) or 1.0
    return 0.0 if 0 <= low < high - low + 2 * room else low - room, high + room


def _height(images: Tensor, width: float) -> float:
    """How high a grid of images is when it is ``width`` inches wide."""
    rows, columns, height, breadth, _ = images.shape
    return min(8.0, max(0.5, width * rows * height / (columns * breadth))) if height > 1 else 0.3 * rows


def _nats(value: float) -> str:
    return f"{value:.2f} nats" if value >= 0.005 else "0 nats"
