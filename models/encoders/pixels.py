"""The data themselves as features: what every encoder has to beat."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from torchstone.models.model import Encoder, Space
from torchstone.models.spaces import narrowed

__all__ = ["Pixels"]


@final
class Pixels(nn.Module, Encoder):
    """The numbers of each example as they are stored, in a row. There is nothing to fit.

    Args:
        space: data of any shape.
    """

    unit: Tensor

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = narrowed(space, space.support, conditional=False)
        self.register_buffer("unit", torch.ones(()), persistent=False)
        self.eval()

    def encode(self, x: Tensor) -> Tensor:
        """The numbers of each example, ``(N, dims)``."""
        return x.flatten(1).to(self.unit)
