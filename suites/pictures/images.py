"""Tensors of events as grids of small images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["as_images", "show_grid"]


def as_images(x: Tensor, leading: int, *, low: float | None = None, high: float | None = None) -> Tensor:
    """Events as grey or coloured images, ``(*batch, H, W, 3)`` in [0, 1], for ``leading`` dimensions of batch.

    An event of shape ``(H, W)`` or ``(1, H, W)`` is grey and one of ``(3, H, W)`` coloured; any other is drawn as one
    row of grey. What is not finite is black.

    Args:
        x: ``(*batch, *event)``.
        leading: how many dimensions the batch has.
        low: the value that is black; the smallest where it is None.
        high: the value that is white; the largest where it is None.
    """
    values = x.detach().cpu().double()
    batch, event = values.shape[:leading], values.shape[leading:]
    match tuple(event):
        case (3, height, width):
            values = values.movedim(leading, -1)
        case (height, width) | (1, height, width):
            values = values.reshape(*batch, height, width, 1).expand(*batch, height, width, 3)
        case _:
            values = values.reshape(*batch, 1, -1, 1).expand(*batch, 1, event.numel(), 3)
    finite = values[values.isfinite()]
    bottom = low if low is not None else float(finite.min()) if len(finite) else 0.0
    top = high if high is not None else float(finite.max()) if len(finite) else 1.0
    return ((values - bottom) / max(top - bottom, 1e-12)).nan_to_num(0.0).clamp(0.0, 1.0)


def show_grid(axes: Axes, images: Tensor, rows: Mapping[int, str], gap: float = 0.08) -> None:
    """Draw ``(R, C, H, W, 3)`` images as a grid with white lines between them, and words beside its rows."""
    down, across, height, width, _ = images.shape
    line = max(1, round(gap * max(height, width)))
    grid = torch.ones(down, height + line, across, width + line, 3, dtype=torch.float64)
    grid[:, :height, :, :width] = images.permute(0, 2, 1, 3, 4)
    sheet = grid.reshape(down * (height + line), across * (width + line), 3)[:-line, :-line]
    axes.imshow(sheet.numpy(), interpolation="nearest", aspect="equal" if height > 1 else "auto")
    axes.set_yticks([row * (height + line) + (height - 1) / 2 for row in rows], list(rows.values()))
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
