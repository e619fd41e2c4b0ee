"""Real data that need no download: what scikit-learn carries inside its package."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torchstone.models.model import Discrete, Space
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.data.splitting import select, split_by_content

__all__ = ["digits", "patches"]


def digits() -> Dataset:
    """The 1,797 handwritten digits of the UCI test set, 8×8 with 17 levels: 1,300 train, 200 validation, 297 test.

    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, 1998.
    https://archive.ics.uci.edu/dataset/80
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits().images, load_digits().target
    x = torch.from_numpy(images.astype(np.uint8))
    y = torch.from_numpy(labels.astype(np.int64))
    parts = split_by_content(x, {"train": 1300, "validation": 200, "test": len(x) - 1500})
    return Dataset("digits", Space((8, 8), Discrete(17), classes=10), select(x, y, parts), licence="CC-BY-4.0")


_STRIPS = ("train",) * 12 + ("",) + ("validation",) * 2 + ("",) + ("test",) * 3 + ("",)
"""Which split each column of patches belongs to, again and again from left to right; the empty name is a gap."""


def patches() -> Dataset:
    """8×8 RGB patches of two photographs, 256 levels: 5,088 train, 848 validation, 1,272 test.

    The patches are the cells of a grid, without overlap. Splits take vertical strips of both pictures, four times
    each, with a column of unused patches between one strip and the next.
    """
    from sklearn.datasets import load_sample_images

    x = torch.cat([_grid(torch.from_numpy(np.array(image))) for image in load_sample_images().images])
    columns = 640 // 8
    strip = np.resize(np.array(_STRIPS), columns)[np.arange(len(x)) % columns]
    parts = {name: torch.from_numpy(np.flatnonzero(strip == name)) for name in ("train", "validation", "test")}
    licence = "CC-BY-2.0 (china.jpg by danielbuechele, flower.jpg by vultilion)"
    return Dataset("patches", Space((3, 8, 8), Discrete(256)), select(x, None, parts), licence)


def _grid(image: Tensor, size: int = 8) -> Tensor:
    """The non-overlapping patches of an ``(H, W, 3)`` image, row by row, ``(N, 3, size, size)``; rests are left out."""
    rows, columns = image.shape[0] // size, image.shape[1] // size
    cells = image[: rows * size, : columns * size].reshape(rows, size, columns, size, 3)
    return cells.permute(0, 2, 4, 1, 3).reshape(-1, 3, size, size).contiguous()
