"""Contrastive learning with the other examples of the batch as negatives."""

from __future__ import annotations

from typing import Annotated, final

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from torchstone.models.encoders.augmentations import view
from torchstone.models.encoders.backbone import Backbone
from torchstone.models.encoders.pretraining import pretrain
from torchstone.models.model import Budget, Encoder, Space, Split, Trainable
from torchstone.models.randomness import seeded
from torchstone.models.spaces import narrowed

__all__ = ["SimCLR"]


@final
class SimCLR(nn.Module, Encoder, Trainable):
    r"""Two random views of an example shall be found among the views of all examples of the batch.

    The loss NT-Xent is a cross-entropy over the cosine similarities s of the 2N views of N examples. View i shall
    choose its partner j(i), and may choose each view but itself:

    .. math:: \frac{1}{2N} \sum_i -\log \frac{\exp(s_{i j(i)} / \tau)}{\sum_{k \ne i} \exp(s_{ik} / \tau)}

    The similarities are those of a projection of the features, which is dropped after training: what the views agree
    on is thrown away there, and is still in the features.

    Reference: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020,
    arXiv:2002.05709.

    Args:
        space: data of any shape; discrete ones are read as numbers from -1 to 1. What a view is depends on the shape.
        features: dimensions of the features.
        width: channels of the first stage of the network.
        projection: dimensions in which views are compared.
        temperature: the divisor :math:`\tau` of the similarities.
        strength: how far views are from their example, 0 not at all.
        batch: examples in a minibatch, N.
        learning_rate: its largest value.
    """

    def __init__(
        self,
        space: Space,
        *,
        features: Annotated[int, Ge(1)] = 64,
        width: Annotated[int, Ge(1)] = 32,
        projection: Annotated[int, Ge(1)] = 64,
        temperature: Annotated[float, Gt(0)] = 0.2,
        strength: Annotated[float, Interval(ge=0, le=1)] = 1.0,
        batch: Annotated[int, Ge(2)] = 64,
        learning_rate: Annotated[float, Gt(0)] = 2e-3,
    ) -> None:
        super().__init__()
        self.space = narrowed(space, space.support, conditional=False)
        self.projection, self.temperature, self.strength = projection, temperature, strength
        self.batch, self.learning_rate = batch, learning_rate
        self.backbone = Backbone(self.space, width=width, features=features)
        self.eval()

    def encode(self, x: Tensor) -> Tensor:
        """The features of each example, ``(N, features)``."""
        features: Tensor = self.backbone(x)
        return features

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Minimise NT-Xent over pairs of views. Labels and the validation split are not looked at.

        Raises:
            ModelError: if the loss stops being finite.
        """
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        with seeded(rng):
            head = SimCLRProjectionHead(self.backbone.features, 2 * self.backbone.features, self.projection)
            head.to(next(self.backbone.parameters()))
        student = nn.Sequential(self.backbone.layers, head)
        criterion = NTXentLoss(self.temperature)

        def loss(x: Tensor) -> Tensor:
            numbers = self.backbone.numbers(x)
            views = [view(numbers, self.space, self.strength, rng) for _ in range(2)]
            first, second = student(torch.cat(views)).chunk(2)
            contrast: Tensor = criterion(first, second)
            return contrast

        pretrain(student, loss, train, budget, rng=rng, batch=self.batch, learning_rate=self.learning_rate)
        self.eval()
