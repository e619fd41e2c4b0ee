"""A classifier of perceptrons, which gives the probability of each label."""

from __future__ import annotations

from typing import Annotated, final

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn
from torch.nn import functional

from torchstone.models.layers import perceptron
from torchstone.models.model import Budget, Discrete, Discriminative, ModelError, Space, Split, Trainable
from torchstone.models.training import minimise

__all__ = ["Classifier"]


@final
class Classifier(nn.Module, Discriminative, Trainable):
    r"""A perceptron with one output for each label, trained with cross-entropy.

    .. math:: p(y \mid x) = \frac{\exp f_y(x)}{\sum_c \exp f_c(x)}

    It can only choose among its labels, and cannot reject: whatever it is shown, noise or an image of something else,
    it spreads a probability of one over them. Which inputs are likely at all it was never asked; that takes a density.

    Reference: Rumelhart, Hinton and Williams, "Learning Representations by Back-Propagating Errors", 1986.

    Args:
        space: labelled data of any shape; discrete ones are read as numbers from -1 to 1.
        width: features of the hidden layers.
        dropout: probability of dropping a feature in training.
        batch: examples in a minibatch.

    Raises:
        ModelError: where the data have no labels.
    """

    def __init__(
        self,
        space: Space,
        *,
        width: Annotated[int, Ge(1)] = 256,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.3,
        batch: Annotated[int, Ge(1)] = 64,
    ) -> None:
        super().__init__()
        if space.classes is None:
            raise ModelError(
                "A classifier chooses among labels, and these data have none: choose data that have, such as "
                "data=digits."
            )
        self.space, self.batch = space, batch
        self.layers = nn.Sequential(nn.Linear(space.dims, width), perceptron(width, space.classes, dropout))
        self.eval()

    def log_prob_label(self, x: Tensor) -> Tensor:
        """``log p(y|x)`` of every label in nats, ``(N, C)``, float64."""
        logits: Tensor = self.layers(self._numbers(x))
        return logits.double().log_softmax(-1)

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Minimise the cross-entropy of the labels."""

        def nats(x: Tensor, y: Tensor | None) -> Tensor:
            if y is None:
                raise ModelError("A classifier is trained on labels: give the training split its y.")
            return functional.nll_loss(self.log_prob_label(x), y, reduction="none")

        minimise(self, nats, train, validation, budget, rng=rng, batch=self.batch, learning_rate=2e-3)

    def _numbers(self, x: Tensor) -> Tensor:
        """Flat examples in the type of the weights: ``(N, dims)``, levels spread from -1 to 1."""
        numbers: Tensor = x.flatten(1).to(next(self.parameters()))
        support = self.space.support
        return numbers * (2 / (support.levels - 1)) - 1 if isinstance(support, Discrete) else numbers
