"""Between the support of continuous data and numbers of mean 0 and variance 1."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from torchstone.models.model import Continuous

__all__ = ["Scaling"]


@final
class Scaling(nn.Module):
    """Standardises each dimension of data by the mean and standard deviation of the training examples.

    Args:
        dims: scalars in one example.
        support: that of the data.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, dims: int, support: Continuous) -> None:
        super().__init__()
        self.support = support
        self.register_buffer("shift", torch.full((dims,), (support.low + support.high) / 2 if support.bounded else 0.0))
        self.register_buffer("scale", torch.full((dims,), (support.high - support.low) / 2 if support.bounded else 1.0))

    def fit(self, u: Tensor) -> None:
        """Take mean and standard deviation from examples ``u``, ``(N, *event)``."""
        self.shift.copy_(u.double().flatten(1).mean(0))
        self.scale.copy_(u.double().flatten(1).std(0).clamp_min(1e-6))

    def forward(self, u: Tensor) -> Tensor:
        """Examples ``(N, *event)`` of the support, flat and standardised: ``(N, dims)``."""
        return (u.flatten(1) - self.shift) / self.scale

    def inverse(self, z: Tensor) -> Tensor:
        """Flat examples on the support; what lies outside of it is moved to its ends."""
        return (z * self.scale + self.shift).clamp(self.support.low, self.support.high)
