"""The network of the models that sample in many steps: it reads noisy data, a time and a label."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from torchstone.models.layers import Lookup, perceptron

__all__ = ["Denoiser"]

FREQUENCIES = 32
FASTEST = 64.0  # turns within the unit of time


@final
class Denoiser(nn.Module):
    """Residual perceptrons, each shifted and scaled by an embedding of time and label.

    The last layer begins at zero, and so does what each block adds.

    Args:
        dims: scalars in one example.
        outputs: numbers that are predicted of one example.
        classes: how many labels there are; 1 where there are none.
        width: features of the hidden layers.
        blocks: how many residual perceptrons.
        dropout: probability of dropping a feature in training.
    """

    frequencies: Tensor

    def __init__(self, dims: int, outputs: int, classes: int, *, width: int, blocks: int, dropout: float) -> None:
        super().__init__()
        turns = torch.logspace(0, math.log2(FASTEST), FREQUENCIES, base=2.0)
        self.register_buffer("frequencies", math.pi * turns, persistent=False)
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.GELU(), nn.Linear(width, width))
        self.label = Lookup(classes, width)
        self.read = nn.Linear(dims, width)
        self.blocks = nn.ModuleList(_Block(width, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.write = _Zero(width, outputs)

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        """What is predicted of each example, ``(N, outputs)``, at its time in [0, 1] and with its label."""
        angle = time[:, None].to(x) * self.frequencies
        condition = nn.functional.gelu(self.time(torch.cat([angle.sin(), angle.cos()], 1)) + self.label(label))
        features = self.read(x)
        for block in self.blocks:
            features = block(features, condition)
        written: Tensor = self.write(nn.functional.gelu(self.norm(features)))
        return written


@final
class _Block(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = _Zero(width, 2 * width)
        self.branch = perceptron(width, width, dropout)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        shift, scale = self.modulate(condition).chunk(2, -1)
        added: Tensor = self.branch(self.norm(features) * (1 + scale) + shift)
        return features + added


@final
class _Zero(nn.Linear):
    """A linear map that begins at zero."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)
