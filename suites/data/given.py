"""Samples that were drawn elsewhere: a folder of images or an archive, scored without their model."""

from __future__ import annotations

from pathlib import Path
from typing import final

import torch
from torch import Tensor

from torchstone.models.model import Discrete, Implicit, ModelError, Space
from torchstone.suites.data.dataset import DataError
from torchstone.suites.data.local import archive, images

__all__ = ["GivenSamples", "read_examples", "samples"]


@final
class GivenSamples(Implicit):
    """A set of samples in place of a sampler: each can be had once, and nothing can be audited.

    Attributes:
        x: all of them, ``(N, *event)``, as data are stored.
    """

    def __init__(self, space: Space, x: Tensor, name: str) -> None:
        self.space, self.x, self.name = Space(space.event_shape, space.support), x, name

    def refusal(self, n: int) -> str | None:
        """Why ``n`` samples cannot be had, as a sentence; None where they can."""
        if n <= len(self.x):
            return None
        return (
            f"{self.name} holds {len(self.x)} samples and {n} are asked for; give more, or set "
            f"suite.samples={len(self.x)}."
        )

    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator) -> Tensor:
        """``n`` of them without repetition, in an order drawn by ``rng``.

        Raises:
            ModelError: where there are not so many.
        """
        if (refused := self.refusal(n)) is not None:
            raise ModelError(refused)
        x = self.x[torch.randperm(len(self.x), generator=rng, device=rng.device).cpu()[:n]]
        return x if x.is_floating_point() else x.long()


def samples(path: Path, space: Space) -> GivenSamples:
    """Samples of a folder of images, or of the array ``x`` of an ``.npz`` archive; its labels, if any, are left alone.

    Images have the size of the data's. Bytes stand for the data's levels: as they are where there are 256, and spread
    evenly over 0 to 255 where there are fewer.

    Args:
        path: the folder or archive.
        space: that of the data that they are to be like.
    """
    try:
        return GivenSamples(space, read_examples(path, space), path.name)
    except DataError as error:
        raise ModelError(str(error)) from error


def read_examples(path: Path, space: Space) -> Tensor:
    """Examples of ``space``, ``(N, *event)`` as stored, from a folder of images or from ``x`` of an archive.

    Raises:
        DataError: where they cannot be read, or are of another shape or other values.
    """
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder; give a folder of images, or an .npz with x.")
    x = _bytes_as_levels(images(path), space, path) if path.is_dir() else archive(path)
    if x.shape[1:] != space.event_shape and x[0].numel() == space.dims and 1 in space.event_shape[:1]:
        x = x.reshape(len(x), *space.event_shape)  # one channel, written out or not
    if tuple(x.shape[1:]) != space.event_shape:
        raise DataError(
            f"{path} holds examples of shape {tuple(x.shape[1:])}, and those of the data have {space.event_shape}; "
            "bring them to that size by the very resize that the data went through."
        )
    if x.is_floating_point() == isinstance(space.support, Discrete):
        raise DataError(f"{path} holds {x.dtype} and the data are {space.support}; give values of that kind.")
    high = space.support.levels - 1 if isinstance(space.support, Discrete) else space.support.high
    low = 0 if isinstance(space.support, Discrete) else space.support.low
    if not bool(((x >= low) & (x <= high)).all()):
        raise DataError(f"{path} holds values outside of {space.support}, or that are no numbers; mend the file.")
    return x


def _bytes_as_levels(x: Tensor, space: Space, path: Path) -> Tensor:
    if not isinstance(space.support, Discrete):
        raise DataError(f"{path}: images hold integers and the data are {space.support}; give an .npz with x.")
    most = space.support.levels - 1
    if most > 255:
        raise DataError(f"{path}: images hold 256 levels and the data have {most + 1}; give an .npz with x.")
    if most < 255 and 0 < int(x.max()) <= most:
        raise DataError(
            f"{path}: no image has a byte above {int(x.max())}, as if bytes were levels; spread the data's {most + 1} "
            "levels evenly over 0 to 255, or give an .npz with x."
        )
    return x if most == 255 else (x.double() * (most / 255)).round().to(torch.uint8)
