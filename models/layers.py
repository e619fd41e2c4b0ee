"""Layers that several reference models share."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchstone.models.spaces import raster

__all__ = ["FeatureDropout", "Lookup", "Positions", "perceptron"]


@final
class Lookup(nn.Embedding):
    """An embedding that begins small, so that training soon outweighs it."""

    def reset_parameters(self) -> None:
        """Draw every feature from N(0, 0.3²)."""
        nn.init.normal_(self.weight, std=0.3)


@final
class Positions(nn.Module):
    """An embedding of each position of an event: the sum of one for its row, one for its column, and so on."""

    order: Tensor

    def __init__(self, event_shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.axes = nn.ModuleList(Lookup(size, width) for size in event_shape)
        self.register_buffer("order", raster(event_shape), persistent=False)

    def forward(self) -> Tensor:
        """The embeddings in raster order, ``(T, width)``."""
        total = torch.zeros(())
        for index, axis in enumerate(self.axes):
            assert isinstance(axis, Lookup)
            shape = [1] * len(self.axes) + [-1]
            shape[index] = axis.num_embeddings
            total = total.to(axis.weight) + axis.weight.view(shape)
        return total.flatten(0, -2)[self.order]


@final
class FeatureDropout(nn.Module):
    """Drops features of a sequence ``(N, T, width)`` in training, each at all positions at once."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, features: Tensor) -> Tensor:
        """The features that are kept, scaled up."""
        dropped = functional.dropout1d(features.transpose(1, 2), self.probability, self.training)
        return dropped.transpose(1, 2)


def perceptron(width: int, outputs: int, dropout: float) -> nn.Sequential:
    """Features ``(..., width)`` to ``(..., outputs)`` by way of one hidden layer, each layer after a nonlinearity."""
    first, second = (nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(width, n)) for n in (width, outputs))
    return nn.Sequential(first, second)
