"""Self-distillation without labels, from a teacher that is a moving average of its student."""

from __future__ import annotations

import warnings
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

__all__ = ["DINO"]


@final
class DINO(nn.Module, Encoder, Trainable):
    r"""A student shall say of one view what its teacher says of the other, in classes that nobody has named.

    Both give logits over ``prototypes`` outputs, g and h. The loss is the cross-entropy of the student's softmax from
    the teacher's, over the two ways of giving two views u and v to teacher and student:

    .. math:: -\tfrac12 \sum_{(u, v)} \sum_k
              \operatorname{softmax}_k\!\big((h(u) - c) / \tau_t\big) \log \operatorname{softmax}_k(g(v) / \tau_s)

    One answer to everything would be a perfect score. Two things prevent it: c, a moving average of the teacher's
    logits, is taken off, so that no output wins everywhere (centring), and the teacher's temperature is the lower one,
    so that its answer is not uniform either (sharpening). The teacher's weights are a moving average of the student's,
    and no gradient flows through it. All but the student's features is dropped after training.

    Reference: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", 2021, arXiv:2104.14294. Its
    smaller local views are left out.

    Args:
        space: data of any shape; discrete ones are read as numbers from -1 to 1. What a view is depends on the shape.
        features: dimensions of the features.
        width: channels of the first stage of the network.
        prototypes: outputs over which the softmax is taken.
        momentum: of the teacher's moving average, the share of the old weights.
        centring: momentum of the centre c.
        sharpness: the teacher's temperature.
        temperature: the student's.
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
        prototypes: Annotated[int, Ge(2)] = 64,
        momentum: Annotated[float, Interval(ge=0, le=1)] = 0.99,
        centring: Annotated[float, Interval(ge=0, le=1)] = 0.9,
        sharpness: Annotated[float, Gt(0)] = 0.04,
        temperature: Annotated[float, Gt(0)] = 0.1,
        strength: Annotated[float, Interval(ge=0, le=1)] = 1.0,
        batch: Annotated[int, Ge(2)] = 64,
        learning_rate: Annotated[float, Gt(0)] = 2e-3,
    ) -> None:
        super().__init__()
        self.space = narrowed(space, space.support, conditional=False)
        self.prototypes, self.momentum, self.centring = prototypes, momentum, centring
        self.sharpness, self.temperature, self.strength = sharpness, temperature, strength
        self.batch, self.learning_rate = batch, learning_rate
        self.backbone = Backbone(self.space, width=width, features=features)
        self.eval()

    def encode(self, x: Tensor) -> Tensor:
        """The features of each example, ``(N, features)``."""
        features: Tensor = self.backbone(x)
        return features

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Minimise the cross-entropy from the teacher. Labels and the validation split are not looked at.

        Raises:
            ModelError: if the loss stops being finite.
        """
        from lightly.loss import DINOLoss

        with seeded(rng):
            student = nn.Sequential(self.backbone.layers, self._head())
            copied = Backbone(self.space, width=self.backbone.width, features=self.backbone.features)
            teacher = Teacher(nn.Sequential(copied.layers, self._head()), student, self.momentum)
        like = next(self.backbone.parameters())
        teacher.network.to(like)
        student.to(like)
        criterion = DINOLoss(
            self.prototypes,
            teacher_temp=self.sharpness,
            student_temp=self.temperature,
            center_momentum=self.centring,
        ).to(like)

        def loss(x: Tensor) -> Tensor:
            numbers = self.backbone.numbers(x)
            views = torch.cat([view(numbers, self.space, self.strength, rng) for _ in range(2)])
            distance: Tensor = criterion(list(teacher(views).chunk(2)), list(student(views).chunk(2)))
            return distance

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

    def _head(self) -> nn.Module:
        """A perceptron with batch normalisation, then the cosine with the direction of each prototype."""
        from lightly.models.modules import DINOProjectionHead

        features = self.backbone.features
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # lightly normalises weights by torch's older function
            head: nn.Module = DINOProjectionHead(features, 2 * features, features, self.prototypes, batch_norm=True)
        return head
