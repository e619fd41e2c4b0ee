"""Where the bits of an example are spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from torchstone.suites.pictures.canvas import RED, encoded, figure
from torchstone.suites.pictures.images import as_images, show_grid

if TYPE_CHECKING:
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

__all__ = ["bits_per_position"]

SHOWN = 5  # examples beside the mean


@encoded
def bits_per_position(x: Tensor, bits: Tensor) -> Figure:
    """Bits that each position costs, in the mean over examples, and of a few examples beside their image.

    The channels of a pixel are added.

    Args:
        x: ``(N, *event)`` examples.
        bits: ``(N, *event)``.

    Raises:
        ValueError: the shapes differ, or there is no example.
    """
    if len(x) == 0 or x.shape != bits.shape:
        raise ValueError(
            f"x has shape {tuple(x.shape)} and bits {tuple(bits.shape)}: they are to be equal and not empty"
        )
    spent = bits.detach().cpu().double()
    channels = spent.shape[1] if spent.dim() == 4 else 1
    maps = spent.sum(1) if spent.dim() == 4 else spent if spent.dim() == 3 else spent.flatten(1)[:, None]
    unit = "bits per pixel" + (f" ({channels} channels added)" if channels > 1 else "")
    (mean, mean_scale), (few, few_scale) = _coloured(maps.mean(0)), _coloured(maps[:SHOWN])
    drawn = figure(4.0 if len(mean) > 1 else 2.8)
    left, right = drawn.subplots(1, 2, width_ratios=(1, 1.9))
    left.imshow(mean.numpy(), aspect="equal" if len(mean) > 1 else "auto", interpolation="nearest")
    left.yaxis.set_visible(len(mean) > 1)
    left.set_title(f"{float(spent.mean()):.3f} bits/dim", fontsize=10)
    show_grid(right, torch.stack([as_images(x, 1)[:SHOWN], few]), {0: "data", 1: "bits"})
    lost = int((~spent.isfinite()).sum())
    right.set_title(f"red: not finite, {lost} of {spent.numel()} in all" if lost else "", fontsize=10)
    for axes, scale, what in ((left, mean_scale, f"mean of {len(x)}"), (right, few_scale, "each example")):
        drawn.colorbar(scale, ax=axes, orientation="horizontal", label=f"{unit}\n{what}")
    return drawn


def _coloured(maps: Tensor) -> tuple[Tensor, ScalarMappable]:
    """``(..., H, W)`` bits as colours ``(..., H, W, 3)``, and the scale to read them on; infinite ones are red."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    finite = maps[maps.isfinite()]
    top = max(float(finite.max()), 1e-9) if len(finite) else 1.0
    colours = colormaps["magma"].with_extremes(over=RED, bad=RED)
    shown = np.asarray(colours(maps.nan_to_num(nan=2 * top, posinf=2 * top).numpy() / top))
    return torch.from_numpy(shown[..., :3]), ScalarMappable(Normalize(0, top), colours)
