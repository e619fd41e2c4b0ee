"""The network of the encoders with a pretext task, as it is before any training."""

from __future__ import annotations

from typing import Annotated, final

import torch
from annotated_types import Ge
from torch import Tensor, nn

from torchstone.models.encoders.backbone import Backbone
from torchstone.models.model import Budget, Encoder, Space, Split, Trainable
from torchstone.models.spaces import narrowed

__all__ = ["RandomNetwork"]


@final
class RandomNetwork(nn.Module, Encoder, Trainable):
    """Features of a network with random weights. What a trained one has learned is what it has beyond these.

    Random convolutions, normalised and rectified, are no poor features: part of what a trained network is praised for
    is its architecture.

    Reference: Saxe et al., "On Random Weights and Unsupervised Feature Learning", 2011.

    Args:
        space: data of any shape; discrete ones are read as numbers from -1 to 1.
        features: dimensions of the features.
        width: channels of the first stage of the network.
    """

    def __init__(
        self, space: Space, *, features: Annotated[int, Ge(1)] = 64, width: Annotated[int, Ge(1)] = 32
    ) -> None:
        super().__init__()
        self.space = narrowed(space, space.support, conditional=False)
        self.backbone = Backbone(self.space, width=width, features=features)
        self.eval()

    def encode(self, x: Tensor) -> Tensor:
        """The features of each example, ``(N, features)``."""
        features: Tensor = self.backbone(x)
        return features

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Nothing: the weights stay as they were drawn."""
