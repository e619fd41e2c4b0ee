"""Densities that are known, with draws of their own: what no normalised density can beat on average."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.models.model import Continuous, Discrete
from torchstone.models.sampling import choose
from torchstone.suites.audits.subject import Subject

__all__ = ["Reference", "jitter", "references"]

AMPLITUDES = (1, 2, 4, 8, 16)
WIDTHS = (1 / 64, 1 / 8)
BINS = 64
MOST_DIMS = 512  # of a full covariance


@final
@dataclass(frozen=True, slots=True)
class Reference:
    """Independent draws of a density that is known; it may differ from draw to draw.

    Attributes:
        name: in a sentence.
        x: ``(n, *event)``, as the data are stored.
        y: labels, where the model takes them.
        log_r: ``(n,)`` nats, each the log-density of its draw.
        amplitude: of the jitter of discrete data; None for the others.
    """

    name: str
    x: Tensor
    y: Tensor | None
    log_r: Tensor
    amplitude: int | None = None


def references(subject: Subject, n: int) -> Iterator[Reference]:
    """References of ``n`` draws each, all of them new: none has been seen by any fit.

    Discrete data: the uniform law, jitter of test images, the product of the training split's marginals. Continuous
    data: jitter of test points, and the uniform law and the marginals on a bounded support, a Gaussian with the
    training split's moments on an unbounded one. The data's own source, where it is known.
    """
    labels = subject.labels(n, subject.rng("references/labels"))
    support = subject.data.space.support
    made = _discrete(subject, support, n) if isinstance(support, Discrete) else _continuous(subject, support, n)
    for name, x, log_r, amplitude, y in made:
        yield Reference(name, x, labels if y is None else y, log_r, amplitude)
    source = subject.data.source
    if source is not None and not subject.conditional:
        x = source.sample(n, rng=subject.rng("references/source"))
        yield Reference("the data's own source", x, None, source.log_prob(x).double())


_Made = Iterator[tuple[str, Tensor, Tensor, int | None, Tensor | None]]


def _discrete(subject: Subject, support: Discrete, n: int) -> _Made:
    levels, space = support.levels, subject.data.space
    x = torch.randint(levels, (n, *space.event_shape), generator=subject.rng("references/uniform"))
    yield "uniform noise", x, torch.full((n,), -space.dims * math.log(levels)).double(), None, None
    images, y = _cycled(subject, n)
    for amplitude in AMPLITUDES:
        if 2 * amplitude + 1 <= levels:
            x, log_r = jitter(images, amplitude, levels, subject.rng(f"references/jitter/{amplitude}"))
            yield f"test images with each value moved by up to {amplitude}", x, log_r, amplitude, y
    train, _ = subject.train()
    log_marginals = torch.stack([(train == level).sum(0) + 1 / levels for level in range(levels)], -1).double().log()
    log_marginals = log_marginals.log_softmax(-1)
    x = choose(log_marginals.expand(n, *log_marginals.shape), subject.rng("references/marginals"))
    log_r = log_marginals.expand(n, *log_marginals.shape).gather(-1, x[..., None]).flatten(1).sum(1)
    yield "independent draws from the training marginals", x, log_r, None, None


def jitter(images: Tensor, amplitude: int, levels: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images with each value replaced by one of ``2 a + 1`` equally likely ones around it, and the log-density of that.

    At the ends of the range the window is moved inwards, so that it always holds as many values.

    Args:
        images: ``(n, *event)``, integers from 0 to ``levels - 1``.
        amplitude: a, with ``2 a + 1 <= levels``.
        levels: how many values there are.
        rng: on the CPU.

    Returns:
        Images and ``(n,)`` nats, float64: minus the entropy of the jitter, for every draw.
    """
    width = 2 * amplitude + 1
    low = (images - amplitude).clamp(0, levels - width)
    moved = low + torch.randint(width, images.shape, generator=rng)
    return moved, torch.full((len(images),), -images[0].numel() * math.log(width), dtype=torch.float64)


def _continuous(subject: Subject, support: Continuous, n: int) -> _Made:
    train, (points, y) = subject.train()[0].double(), _cycled(subject, n)
    points, shape, dims = points.double(), subject.data.space.event_shape, subject.data.space.dims
    spread = train.std(0, correction=0).clamp_min(1e-6)
    for width in WIDTHS:
        rng = subject.rng(f"references/jitter/{width}")
        side = 2 * width * spread
        if support.bounded:
            side = side.clamp_max(support.high - support.low)
        low = points - side / 2
        if support.bounded:
            low = torch.minimum(low.clamp_min(support.low), support.high - side)
        x = low + side * torch.rand(points.shape, dtype=torch.float64, generator=rng)
        name = f"test points moved by up to {width:g} standard deviations"
        yield name, x, -side.log().sum().expand(n), None, y
    if support.bounded:
        yield from _boxes(subject, support, train, n)
    elif dims <= MOST_DIMS and math.isinf(support.low) and math.isinf(support.high):
        centred = (train - train.mean(0)).flatten(1)
        ridge = torch.diag(1e-6 * spread.flatten() ** 2)
        factor: Tensor = torch.linalg.cholesky(centred.T @ centred / len(train) + ridge)
        white = torch.randn(n, dims, dtype=torch.float64, generator=subject.rng("references/gaussian"))
        log_r = -0.5 * white.square().sum(1) - factor.diagonal().log().sum() - 0.5 * dims * math.log(2 * math.pi)
        x = (train.mean(0).flatten() + white @ factor.T).view(n, *shape)
        yield "a Gaussian with the moments of the training data", x, log_r, None, None


def _boxes(subject: Subject, support: Continuous, train: Tensor, n: int) -> _Made:
    """The uniform law, and the product of the training data's histograms."""
    shape, width = subject.data.space.event_shape, support.high - support.low
    rng = subject.rng("references/boxes")
    inside = torch.rand(n, *shape, dtype=torch.float64, generator=rng)
    log_r = torch.full((n,), -subject.data.space.dims * math.log(width), dtype=torch.float64)
    yield "uniform noise", support.low + width * inside, log_r, None, None
    bins = ((train - support.low) / width * BINS).long().clamp(0, BINS - 1)
    logits = (
        torch.stack([(bins == place).sum(0) + 1 / BINS for place in range(BINS)], -1).double().log().log_softmax(-1)
    )
    logits = logits.expand(n, *logits.shape)
    place = choose(logits, rng)
    x = support.low + width * (place + torch.rand(n, *shape, dtype=torch.float64, generator=rng)) / BINS
    log_r = logits.gather(-1, place[..., None]).flatten(1).sum(1) - subject.data.space.dims * math.log(width / BINS)
    yield "independent draws from the training histograms", x, log_r, None, None


def _cycled(subject: Subject, n: int) -> tuple[Tensor, Tensor | None]:
    """``n`` test examples, from the first again where there are fewer, and their labels."""
    x, y = subject.test(n)
    index = torch.arange(n) % len(x)
    return x[index], None if y is None else y[index]
