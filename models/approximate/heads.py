"""How models read data into features, and make features a distribution of data."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal

from torchstone.models.layers import Lookup

__all__ = ["CategoricalHead", "GaussianHead"]


@final
class CategoricalHead(nn.Module):
    """Reads integers through an embedding; makes of features a categorical distribution in each dimension."""

    def __init__(self, event_shape: tuple[int, ...], levels: int, width: int = 16) -> None:
        super().__init__()
        self.event_shape = event_shape
        self.values = Lookup(levels, width)
        self.logits = nn.Linear(width, levels)
        self.inputs = self.outputs = width * torch.Size(event_shape).numel()

    def read(self, x: Tensor) -> Tensor:
        """Features of data, ``(N, inputs)``."""
        features: Tensor = self.values(x).flatten(1)
        return features

    def forward(self, features: Tensor) -> Distribution:
        """The distribution of data, of batch shape ``(N,)``, given features ``(N, outputs)``."""
        logits = self.logits(features.view(len(features), *self.event_shape, -1))
        return Independent(Categorical(logits=logits), len(self.event_shape))


@final
class GaussianHead(nn.Module):
    """Reads numbers as they are; makes of features a Gaussian of fixed scale in each dimension."""

    def __init__(self, event_shape: tuple[int, ...], scale: float) -> None:
        super().__init__()
        self.event_shape, self.scale = event_shape, scale
        self.inputs = self.outputs = torch.Size(event_shape).numel()

    def read(self, x: Tensor) -> Tensor:
        """Features of data, ``(N, inputs)``."""
        return x.flatten(1)

    def forward(self, features: Tensor) -> Distribution:
        """The distribution of data, of batch shape ``(N,)``, given features ``(N, outputs)``."""
        mean = features.view(len(features), *self.event_shape)
        return Independent(Normal(mean, torch.full_like(mean, self.scale)), len(self.event_shape))
