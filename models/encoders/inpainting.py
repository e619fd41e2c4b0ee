"""The pretext task of filling a region that was removed from an image."""

from __future__ import annotations

from typing import Annotated, final

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from torchstone.models.encoders.backbone import Backbone
from torchstone.models.encoders.images import image_side
from torchstone.models.encoders.pretraining import pretrain
from torchstone.models.model import Budget, Encoder, Space, Split, Trainable
from torchstone.models.randomness import seeded
from torchstone.models.spaces import narrowed

__all__ = ["Inpainting", "holes"]


@final
class Inpainting(nn.Module, Encoder, Trainable):
    r"""A network that says from the rest of an image what was in a region that is taken out of it.

    .. math:: \min\ E\, \frac{1}{|M|} \sum_{i \in M} (x_i - g(f(x_{\setminus M}))_i)^2

    The region M is a rectangle with the given share of either side, drawn afresh for every image at every step, and
    zero stands in its place; the error is counted within it alone. The decoder g, two layers on the features, is
    dropped after training. The features of an image are those of the whole image.

    References: Pathak et al., "Context Encoders: Feature Learning by Inpainting", 2016, arXiv:1604.07379, here without
    its adversary; for the same task with scattered patches, He et al., "Masked Autoencoders Are Scalable Vision
    Learners", 2021, arXiv:2111.06377.

    Args:
        space: images; discrete ones are read as numbers from -1 to 1.
        features: dimensions of the features.
        width: channels of the first stage of the network.
        region: the share of height and width that is removed.
        hidden: features of the hidden layer of the decoder.
        batch: images in a minibatch.
        learning_rate: its largest value.

    Raises:
        ModelError: where the data are no images.
    """

    def __init__(
        self,
        space: Space,
        *,
        features: Annotated[int, Ge(1)] = 64,
        width: Annotated[int, Ge(1)] = 32,
        region: Annotated[float, Interval(gt=0, lt=1)] = 0.5,
        hidden: Annotated[int, Ge(1)] = 256,
        batch: Annotated[int, Ge(1)] = 128,
        learning_rate: Annotated[float, Gt(0)] = 2e-3,
    ) -> None:
        super().__init__()
        image_side(space, "inpainting")
        self.space = narrowed(space, space.support, conditional=False)
        self.region, self.hidden, self.batch, self.learning_rate = region, hidden, batch, learning_rate
        self.backbone = Backbone(self.space, width=width, features=features)
        self.eval()

    def encode(self, x: Tensor) -> Tensor:
        """The features of each whole image, ``(N, features)``."""
        features: Tensor = self.backbone(x)
        return features

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Minimise the squared error in the holes. Labels and the validation split are not looked at.

        Raises:
            ModelError: if the loss stops being finite.
        """
        with seeded(rng):
            decoder = self._decoder().to(next(self.backbone.parameters()))
        height, width = self.space.event_shape[-2:]

        def loss(x: Tensor) -> Tensor:
            images = self.backbone.numbers(x)
            hole = holes(len(x), height, width, self.region, rng).to(images.device).expand_as(images)
            filled = decoder(self.backbone.embed(images.masked_fill(hole, 0.0))).view_as(images)
            error: Tensor = (filled - images)[hole].square().mean()
            return error

        network = nn.ModuleList([self.backbone, decoder])
        pretrain(network, loss, train, budget, rng=rng, batch=self.batch, learning_rate=self.learning_rate)
        self.eval()

    def _decoder(self) -> nn.Sequential:
        features = self.backbone.features
        layers = (nn.Linear(features, self.hidden), nn.GELU(), nn.Linear(self.hidden, self.space.dims))
        return nn.Sequential(nn.LayerNorm(features), *layers)


def holes(n: int, height: int, width: int, share: float, rng: torch.Generator) -> Tensor:
    """For each of ``n`` images one rectangle, anywhere with equal probability: True within it, ``(n, 1, H, W)``.

    It has ``share`` of either side, rounded, and at least one pixel.
    """
    rows, columns = (_interval(n, side, share, rng) for side in (height, width))
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _interval(n: int, side: int, share: float, rng: torch.Generator) -> Tensor:
    """For each of ``n``, which of ``side`` places lie in an interval drawn by ``rng``, ``(n, side)``."""
    length = max(1, round(share * side))
    start = torch.randint(side - length + 1, (n, 1), generator=rng)
    place = torch.arange(side)
    return (place >= start) & (place < start + length)
