"""The pretext task of telling by which quarter turn an image was turned."""

from __future__ import annotations

from typing import Annotated, final

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from torchstone.models.encoders.backbone import Backbone
from torchstone.models.encoders.images import square_side
from torchstone.models.encoders.pretraining import pretrain
from torchstone.models.model import Budget, Encoder, Space, Split, Trainable
from torchstone.models.randomness import seeded
from torchstone.models.spaces import narrowed

__all__ = ["Rotation", "quarter_turns"]


@final
class Rotation(nn.Module, Encoder, Trainable):
    r"""A network that tells by 0, 90, 180 or 270 degrees an image was turned; all four of each image are in a batch.

    .. math:: \min\ -\tfrac{1}{4} \sum_{k=0}^{3} E\, \log p(k \mid \mathrm{turn}_k(x))

    To tell, a network has to know which way up things are; of things that have no right way up, or that look alike
    when they are turned, as 6 and 9 do, it learns little.

    Reference: Gidaris, Singh and Komodakis, "Unsupervised Representation Learning by Predicting Image Rotations", 2018,
    arXiv:1803.07728.

    Args:
        space: square images; discrete ones are read as numbers from -1 to 1.
        features: dimensions of the features.
        width: channels of the first stage of the network.
        batch: images in a minibatch, before they are turned.
        learning_rate: its largest value.

    Raises:
        ModelError: where the data are no square images.
    """

    def __init__(
        self,
        space: Space,
        *,
        features: Annotated[int, Ge(1)] = 64,
        width: Annotated[int, Ge(1)] = 32,
        batch: Annotated[int, Ge(1)] = 32,
        learning_rate: Annotated[float, Gt(0)] = 2e-3,
    ) -> None:
        super().__init__()
        square_side(space, "rotation")
        self.space = narrowed(space, space.support, conditional=False)
        self.batch, self.learning_rate = batch, learning_rate
        self.backbone = Backbone(self.space, width=width, features=features)
        self.eval()

    def encode(self, x: Tensor) -> Tensor:
        """The features of each image as it stands, ``(N, features)``."""
        features: Tensor = self.backbone(x)
        return features

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Minimise the cross-entropy of the turns. Labels and the validation split are not looked at.

        Raises:
            ModelError: if the loss stops being finite.
        """
        with seeded(rng):
            head = nn.Sequential(nn.LayerNorm(self.backbone.features), nn.Linear(self.backbone.features, 4))
            head.to(next(self.backbone.parameters()))

        def loss(x: Tensor) -> Tensor:
            turned, turns = quarter_turns(self.backbone.numbers(x))
            return nn.functional.cross_entropy(head(self.backbone.embed(turned)), turns)

        network = nn.ModuleList([self.backbone, head])
        pretrain(network, loss, train, budget, rng=rng, batch=self.batch, learning_rate=self.learning_rate)
        self.eval()


def quarter_turns(images: Tensor) -> tuple[Tensor, Tensor]:
    """Square images ``(N, C, S, S)`` turned by each quarter, ``(4 N, C, S, S)``, and by how many, ``(4 N,)``."""
    turned = torch.cat([images.rot90(turns, (-2, -1)) for turns in range(4)])
    return turned, torch.arange(4, device=images.device).repeat_interleave(len(images))
