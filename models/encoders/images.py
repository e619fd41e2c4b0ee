"""What the encoders whose pretext task is about images ask of them: squares, and grids of patches."""

from __future__ import annotations

from torch import Tensor

from torchstone.models.model import ModelError, Space

__all__ = ["image_side", "patched", "square_side", "unpatched"]


def square_side(space: Space, name: str) -> int:
    """The side of square images. Raises ModelError where the data are none."""
    side = image_side(space, name)
    if space.event_shape[-2] != space.event_shape[-1]:
        raise ModelError(
            f"{name} takes square images, and these are {space.event_shape[-2]}×{space.event_shape[-1]}: cut or "
            "resize them, or try model=simclr."
        )
    return side


def image_side(space: Space, name: str) -> int:
    """The shorter side of images ``(H, W)`` or ``(C, H, W)``. Raises ModelError where the data are none."""
    if len(space.event_shape) not in (2, 3):
        raise ModelError(
            f"{name} takes images of shape (H, W) or (C, H, W), and an example has shape {space.event_shape}: "
            "try model=autoencoder or model=simclr."
        )
    return min(space.event_shape[-2:])


def patched(images: Tensor, grid: int) -> Tensor:
    """Square images ``(N, C, S, S)`` as ``grid`` by ``grid`` patches in raster order, ``(N, grid², C, s, s)``.

    Where ``grid`` does not divide the side, the last rows and columns are left out.
    """
    side = images.shape[-1] // grid
    kept = images[..., : side * grid, : side * grid]
    cut = kept.reshape(*images.shape[:2], grid, side, grid, side)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def unpatched(patches: Tensor, grid: int) -> Tensor:
    """The images of which `patched` gives ``patches``, ``(N, C, grid s, grid s)``."""
    n, _, channels, side, _ = patches.shape
    cut = patches.reshape(n, grid, grid, channels, side, side).permute(0, 3, 1, 4, 2, 5)
    return cut.reshape(n, channels, grid * side, grid * side)
