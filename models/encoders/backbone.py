"""The small network that the encoders with a pretext task share."""

from __future__ import annotations

import math
from typing import final

from torch import Tensor, nn

from torchstone.models.model import Discrete, Space

__all__ = ["Backbone"]

SMALLEST = 4  # pixels of the shorter side of the last map, where the image has as many
GROUP = 8  # channels that are normalised together


@final
class Backbone(nn.Module):
    """Data as stored to features: a convolutional network for images, a perceptron for events of other shapes.

    An image of shape ``(H, W)`` has one channel, one of ``(C, H, W)`` has C. Each stage halves the sides and doubles
    the channels until the shorter side would fall below four pixels; the features are the means over the last map, so
    that images of any size can be read. Group normalisation (Wu and He, "Group Normalization", 2018, arXiv:1803.08494)
    looks at one example only, in training as in evaluation.

    Args:
        space: data of any shape; discrete ones are read as numbers from -1 to 1, others as they are.
        width: channels of the first stage; features of the hidden layers of a perceptron.
        features: dimensions of what comes out.
    """

    def __init__(self, space: Space, *, width: int, features: int) -> None:
        super().__init__()
        self.space, self.width, self.features = space, width, features
        self.images = len(space.event_shape) in (2, 3)
        self.layers = _convolutions(space, width, features) if self.images else _perceptron(space, width, features)

    def forward(self, x: Tensor) -> Tensor:
        """Features of examples as stored, ``(N, features)``."""
        return self.embed(self.numbers(x))

    def numbers(self, x: Tensor) -> Tensor:
        """Examples in the type of the weights, levels spread from -1 to 1: ``(N, C, H, W)``, or ``(N, dims)``."""
        numbers = x.to(next(self.parameters()))
        if isinstance(self.space.support, Discrete):
            numbers = numbers * (2 / (self.space.support.levels - 1)) - 1
        return numbers.reshape(len(x), -1, *self.space.event_shape[-2:]) if self.images else numbers.flatten(1)

    def embed(self, numbers: Tensor) -> Tensor:
        """Features of what `numbers` gives, or of views of it, ``(N, features)``."""
        embedded: Tensor = self.layers(numbers)
        return embedded


@final
class _Pool(nn.Module):
    """The mean over all positions of a map."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(2)


def _convolutions(space: Space, width: int, features: int) -> nn.Sequential:
    channels = space.event_shape[0] if len(space.event_shape) == 3 else 1
    halvings = max(0, int(math.log2(min(space.event_shape[-2:]) / SMALLEST)))
    layers = [_convolution(channels, width, stride=1)]
    for stage in range(halvings):
        layers.append(_convolution(width << stage, width << (stage + 1), stride=2))
    layers.append(_convolution(width << halvings, features, stride=1))
    return nn.Sequential(*layers, _Pool())


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
    return nn.Sequential(convolution, nn.GroupNorm(outputs // math.gcd(GROUP, outputs), outputs), nn.GELU())


def _perceptron(space: Space, width: int, features: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in ((space.dims, width), (width, width), (width, features)):
        layers += [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.GELU()]
    return nn.Sequential(*layers)
