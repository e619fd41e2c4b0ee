"""What the reference models ask of a space and of labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchstone.models.model import Continuous, Discrete, ModelError, Space

__all__ = ["continuous_support", "labels", "levels_of", "narrowed", "raster", "relax"]


def levels_of(space: Space, name: str) -> int:
    """The number of levels of discrete data; others raise `ModelError`."""
    if not isinstance(space.support, Discrete):
        raise ModelError(
            f"{name} applies to discrete data; these lie in the continuous {space.support}: "
            "try model=flow, model=mixture or model=linear_gaussian."
        )
    return space.support.levels


def continuous_support(space: Space) -> tuple[Continuous, int | None]:
    """The support of a continuous model of the data, and the data's levels (None: they are continuous already)."""
    if isinstance(space.support, Discrete):
        return Continuous(0.0, 1.0), space.support.levels
    return space.support, None


def narrowed(space: Space, support: Discrete | Continuous, conditional: bool) -> Space:
    """The space of a model on ``support``, which keeps the classes only where it is conditional."""
    if conditional and space.classes is None:
        raise ModelError("conditional=true needs labelled data, and these have no classes: set conditional=false.")
    return Space(space.event_shape, support, space.classes if conditional else None)


def labels(space: Space, y: Tensor | None, n: int, device: torch.device) -> Tensor:
    """The ``(n,)`` classes that a model indexes its parameters with: ``y``, or zeros where it is unconditional.

    Raises:
        ModelError: if the model is conditional and ``y`` is missing or of another length.
    """
    if space.classes is None:
        return torch.zeros(n, dtype=torch.long, device=device)
    if y is None:
        raise ModelError("This model is conditional: give it the label of every example as y.")
    if y.shape != (n,):
        raise ModelError(f"This model is conditional and needs labels y of shape ({n},), not {tuple(y.shape)}.")
    return y.to(device)


def raster(event_shape: tuple[int, ...]) -> Tensor:
    """Flat positions in raster order; of ``(C, H, W)`` pixel by pixel, and within a pixel channel by channel.

    >>> raster((3, 1, 2))
    tensor([0, 2, 4, 1, 3, 5])
    """
    order = torch.arange(math.prod(event_shape)).reshape(event_shape)
    return order.permute(1, 2, 0).flatten() if len(event_shape) == 3 else order.flatten()


def relax(x: Tensor, support: Continuous, levels: int | None, dtype: torch.dtype) -> Tensor:
    """What a continuous model trains on: integers with fresh noise of the global generator, other data unchanged."""
    if levels is None:
        return x.to(dtype)
    return support.dequantise(x, torch.rand(x.shape, device=x.device), levels).to(dtype)
