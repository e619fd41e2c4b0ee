"""Sets of unreasonable examples in the space of the data: integers as stored, of the type of the test split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import pad

from torchstone.models.model import Discrete, Space
from torchstone.models.randomness import generator
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.data.embedded import digits, patches
from torchstone.suites.data.synthetic import Ising
from torchstone.suites.metrics.latents import derangement

__all__ = ["SETS", "OutlierSet", "Unfit", "outlier_set"]

PAIRED = frozenset({"interpolated", "inverted", "rotated", "shifted", "shuffled_pixels"})
LARGEST_ISING = 12  # a side: its transfer matrix has 2^side states
SIDE = 8  # of the embedded images that stand for another dataset


class Unfit(Exception):
    """A set makes no sense for these data. The message says why, as the end of a sentence."""


@final
@dataclass(frozen=True, slots=True)
class OutlierSet:
    """Outliers of one kind, ``x`` of shape ``(M, *event)`` in the type of the data's own examples."""

    name: str
    x: Tensor

    @property
    def paired(self) -> bool:
        """Whether outlier i is made of example i of the split."""
        return self.name in PAIRED

    @property
    def fingerprint(self) -> str:
        """The first twelve digits of the sha256 over shape, type and bytes."""
        sha = hashlib.sha256(f"{tuple(self.x.shape)}/{self.x.dtype}/".encode())
        sha.update(self.x.contiguous().numpy().tobytes())
        return sha.hexdigest()[:12]


@final
@dataclass(frozen=True, slots=True)
class _Inside:
    """What sets are made of: test examples ``x``, and the least and the greatest value that there may be."""

    x: Tensor
    space: Space
    low: float
    high: float
    ising: bool

    @property
    def discrete(self) -> bool:
        return isinstance(self.space.support, Discrete)

    def stored(self, x: Tensor) -> Tensor:
        """``x`` rounded where the data are integers (halves to even), in their type."""
        return (x.round() if self.discrete else x).clamp(self.low, self.high).to(self.x.dtype)


def outlier_set(name: str, data: Dataset, split: str) -> OutlierSet:
    """The set called ``name``, one of `SETS`, for a split of ``data``: as many examples as that has.

    It depends on the data alone, and not on the seed of a run: every model is asked about the same outliers.

    Raises:
        Unfit: it makes no sense for these data.
    """
    support, x = data.space.support, data.split(split).x
    if isinstance(support, Discrete):
        low, high = 0.0, support.levels - 1.0
    else:
        train = data.split("train").x
        low, high = float(train.min()), float(train.max())
    inside = _Inside(x, data.space, low, high, isinstance(data.source, Ising))
    return OutlierSet(name, SETS[name](inside, generator(0, f"outliers/{name}")).to(x.dtype))


def _constant(inside: _Inside, rng: torch.Generator) -> Tensor:
    """One level everywhere; the levels in equal shares, from the least to the greatest."""
    n = len(inside.x)
    levels = torch.linspace(inside.low, inside.high, n, dtype=torch.float64)
    if inside.discrete:
        levels = torch.arange(n) * int(inside.high + 1) // n
    return inside.stored(levels.double().view(n, *[1] * (inside.x.ndim - 1)).expand(inside.x.shape)).clone()


def _noise(inside: _Inside, rng: torch.Generator) -> Tensor:
    """Every level as likely as every other, in every dimension."""
    if inside.discrete:
        return torch.randint(int(inside.high) + 1, inside.x.shape, generator=rng)
    u = torch.rand(inside.x.shape, generator=rng, dtype=torch.float64)
    return inside.stored(inside.low + (inside.high - inside.low) * u)


def _shuffled_pixels(inside: _Inside, rng: torch.Generator) -> Tensor:
    """Each example with its pixels in an order of its own; the channels of a pixel stay together."""
    if inside.space.dims < 2:
        raise Unfit("an example of one value has no order")
    shape = inside.x.shape
    rows = inside.x.reshape(len(inside.x), shape[1] if len(shape) == 4 else 1, -1)
    order = torch.rand(len(rows), rows.shape[2], generator=rng, dtype=torch.float64).argsort(1)
    return rows.gather(2, order[:, None].expand(rows.shape)).reshape(shape)


def _inverted(inside: _Inside, rng: torch.Generator) -> Tensor:
    """The least value for the greatest, and so on."""
    return inside.stored(inside.low + inside.high - inside.x.double())


def _rotated(inside: _Inside, rng: torch.Generator) -> Tensor:
    """A quarter turn."""
    height, width = _image(inside.space)
    if height != width:
        raise Unfit(f"a quarter turn needs square images, and these are {height}×{width}")
    return inside.x.rot90(1, (-2, -1))


def _interpolated(inside: _Inside, rng: torch.Generator) -> Tensor:
    """The midpoint of each example and another one."""
    if len(inside.x) < 2:
        raise Unfit("a midpoint needs two examples")
    other = inside.x[derangement(len(inside.x), rng)]
    return inside.stored((inside.x.double() + other.double()) / 2)


def _shifted(inside: _Inside, rng: torch.Generator) -> Tensor:
    """Examples moved by one pixel: the first up, the second down, then left, right and so on; the edge is repeated."""
    _image(inside.space)
    moved = torch.stack([_moved(inside.x, *step) for step in ((1, 0), (-1, 0), (0, 1), (0, -1))])
    index = torch.arange(len(inside.x))
    return moved[index % 4, index]


def _moved(x: Tensor, down: int, right: int) -> Tensor:
    """What lies ``down`` and ``right`` of each pixel, in its place."""
    height, width = x.shape[-2:]
    images = x.reshape(len(x), -1, height, width).double()
    wide = pad(images, (1, 1, 1, 1), mode="replicate")
    return wide[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width].reshape(x.shape).to(x.dtype)


def _photographs(inside: _Inside, rng: torch.Generator) -> Tensor:
    """Patches of two photographs in grey, cut to the same levels; for coloured images handwritten digits."""
    height, width = _image(inside.space)
    if (height, width) != (SIDE, SIDE) or not inside.discrete:
        raise Unfit(f"the images of another dataset that are at hand are discrete, of {SIDE}×{SIDE}")
    channels = inside.x.shape[1] if inside.x.ndim == 4 else 1
    if channels == 3:
        other = digits()
        pool, levels = torch.cat([each.x for each in other.splits.values()]).unsqueeze(1).expand(-1, 3, -1, -1), 17
    else:
        pool, levels = patches().split("test").x.double().mean(1), 256
        pool = pool.unsqueeze(1) if inside.x.ndim == 4 else pool
    chosen = pool[torch.randperm(len(pool), generator=rng)[: len(inside.x)]].double()
    return ((chosen + 0.5) * (inside.high + 1) / levels).floor()


def _spins(inside: _Inside, rng: torch.Generator) -> Tensor:
    """Draws from an Ising model in the darkest and the brightest level, the same in every channel."""
    height, width = _image(inside.space)
    if inside.ising:
        raise Unfit("these data are spins themselves")
    if height != width or height > LARGEST_ISING:
        raise Unfit(f"spins are drawn for square images of at most {LARGEST_ISING} a side")
    spins = Ising(height, 0.4, 0.1).sample(len(inside.x), rng=rng)
    bright = inside.low + (inside.high - inside.low) * spins.double()
    return (bright if inside.x.ndim == 3 else bright.unsqueeze(1).expand(inside.x.shape)).clone()


def _image(space: Space) -> tuple[int, int]:
    if len(space.event_shape) not in (2, 3):
        raise Unfit(f"it needs images, and an example has the shape {space.event_shape}")
    return space.event_shape[-2], space.event_shape[-1]


SETS: Mapping[str, Callable[[_Inside, torch.Generator], Tensor]] = {
    "constant": _constant,
    "noise": _noise,
    "shuffled_pixels": _shuffled_pixels,
    "inverted": _inverted,
    "rotated": _rotated,
    "interpolated": _interpolated,
    "shifted": _shifted,
    "other_images": _photographs,
    "spins": _spins,
}
"""The sets by name, in the order of the table: what makes each of them."""
