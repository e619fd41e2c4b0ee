"""The matrix product that is timed beside everything else: how fast the machine was just then."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from torchstone.models.randomness import generator

__all__ = ["MatrixProduct"]

SIDE = {"cpu": 512, "cuda": 4096}


@final
class MatrixProduct:
    """One square matrix product on a device, in one floating-point type, without an allocation.

    Its entries are normal: a device may take less power, and so less time, for zeros.

    Attributes:
        side: rows of the matrices.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, side: int | None = None) -> None:
        self.side = side or SIDE.get(device.type, 1024)
        rng, shape = generator(0, "calibration"), (self.side, self.side)
        self._a, self._b = (torch.randn(shape, generator=rng).to(device, dtype) for _ in range(2))
        self._out = torch.empty_like(self._a)

    @property
    def flops(self) -> int:
        """Floating-point operations of one product, an addition and a multiplication for each term."""
        return 2 * self.side**3

    def __call__(self) -> Tensor:
        """Compute it."""
        return torch.mm(self._a, self._b, out=self._out)
