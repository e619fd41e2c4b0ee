"""Contrastive learning with a queue of negatives from a slowly moving encoder."""

from __future__ import annotations

import copy
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from torchstone.models.encoders.augmentations import view
from torchstone.models.encoders.backbone import Backbone
from torchstone.models.encoders.pretraining import pretrain
from torchstone.models.encoders.teacher import Teacher
from torchstone.models.model import Budget, Encoder, Space, Split, Trainable
from torchstone.models.randomness import seeded
from torchstone.models.spaces import narrowed

__all__ = ["MoCo"]


@final
class MoCo(nn.Module, Encoder, Trainable):
    r"""A view of an example shall be found by its other view, among views of examples that came before.

    The query q is a view as the trained encoder projects it; the key k+ is another view of the same example, and the
    negatives k are the last keys of earlier minibatches, a queue. With all of length one, the loss is

    .. math:: -\log \frac{\exp(q \cdot k_+ / \tau)}{\exp(q \cdot k_+ / \tau) + \sum_k \exp(q \cdot k / \tau)}

    Keys come from a second encoder, through which no gradient flows. Its weights are a moving average of the trained
    ones, of momentum 0.99, so that keys of different ages are still comparable. Queue, second encoder and projection
    are dropped after training.

    References: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", 2019, arXiv:1911.05722;
    Chen et al., "Improved Baselines with Momentum Contrastive Learning", 2020, arXiv:2003.04297, for the projection.

    Args:
        space: data of any shape; discrete ones are read as numbers from -1 to 1. What a view is depends on the shape.
        features: dimensions of the features.
        width: channels of the first stage of the network.
        projection: dimensions in which views are compared.
        queue: how many keys are negatives; they begin as random directions.
        momentum: of the moving average, the share of the old weights.
        temperature: the divisor :math:`\tau` of the similarities.
        strength: how far views are from their example, 0 not at all.
        batch: examples in a minibatch.
        learning_rate: its largest value.
    """

    def __init__(
        self,
        space: Space,
        *,
        features: Annotated[int, Ge(1)] = 64,
        width: Annotated[int, Ge(1)] = 32,
        projection: Annotated[int, Ge(1)] = 64,
        queue: Annotated[int, Ge(1)] = 256,
        momentum: Annotated[float, Interval(ge=0, le=1)] = 0.99,
        temperature: Annotated[float, Gt(0)] = 0.2,
        strength: Annotated[float, Interval(ge=0, le=1)] = 1.0,
        batch: Annotated[int, Ge(1)] = 64,
        learning_rate: Annotated[float, Gt(0)] = 2e-3,
    ) -> None:
        super().__init__()
        self.space = narrowed(space, space.support, conditional=False)
        self.projection, self.queue, self.momentum = projection, queue, momentum
        self.temperature, self.strength, self.batch, self.learning_rate = temperature, strength, batch, learning_rate
        self.backbone = Backbone(self.space, width=width, features=features)
        self.eval()

    def encode(self, x: Tensor) -> Tensor:
        """The features of each example, ``(N, features)``."""
        features: Tensor = self.backbone(x)
        return features

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Minimise the loss of queries against keys. Labels and the validation split are not looked at.

        Raises:
            ModelError: if the loss stops being finite.
        """
        from lightly.loss import NTXentLoss
        from lightly.models.modules import MoCoProjectionHead

        like = next(self.backbone.parameters())
        with seeded(rng):
            head = MoCoProjectionHead(self.backbone.features, 2 * self.backbone.features, self.projection).to(like)
            criterion = NTXentLoss(self.temperature, memory_bank_size=(self.queue, self.projection)).to(like)
        student = nn.Sequential(self.backbone.layers, head)
        teacher = Teacher(copy.deepcopy(student), student, self.momentum)

        def loss(x: Tensor) -> Tensor:
            numbers = self.backbone.numbers(x)
            query, key = (view(numbers, self.space, self.strength, rng) for _ in range(2))
            contrast: Tensor = criterion(student(query), teacher(key))
            return contrast

        pretrain(
            student,
            loss,
            train,
            budget,
            rng=rng,
            batch=self.batch,
            learning_rate=self.learning_rate,
            before=teacher.copy,
            after_step=teacher.follow,
        )
        self.eval()
