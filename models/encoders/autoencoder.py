"""A plain autoencoder, which has no density."""

from __future__ import annotations

from typing import Annotated, final

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from torchstone.models.layers import perceptron
from torchstone.models.model import Budget, Discrete, Encoder, Space, Split, Trainable
from torchstone.models.spaces import narrowed
from torchstone.models.training import minimise

__all__ = ["Autoencoder"]


@final
class Autoencoder(nn.Module, Encoder, Trainable):
    r"""Perceptrons that squeeze data through a few features and write them out again, with the least squared error.

    .. math:: \min\ E\,\lVert x - g(f(x)) \rVert^2

    Its reconstruction error is no likelihood, in whatever units it is printed. Read as a Gaussian, the error gives
    ``log p(x | z = f(x))`` for a scale that nobody has chosen; a density of x needs a distribution of z as well, and
    the map f charges nothing for naming one z among all. So the error falls towards zero as features are added, and
    at the identity map it is zero for every x, likely or not. What charges for z is the rate of a variational
    autoencoder, or the code length of a quantised one.

    Reference: Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", 2006.

    Args:
        space: data of any shape; discrete ones are read as numbers from -1 to 1.
        features: dimensions of the code.
        width: features of the hidden layers.
        dropout: probability of dropping a feature in training.
        batch: examples in a minibatch.
    """

    def __init__(
        self,
        space: Space,
        *,
        features: Annotated[int, Ge(1)] = 16,
        width: Annotated[int, Ge(1)] = 256,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1,
        batch: Annotated[int, Ge(1)] = 64,
    ) -> None:
        super().__init__()
        self.space, self.batch = narrowed(space, space.support, conditional=False), batch
        self.encoder = nn.Sequential(nn.Linear(space.dims, width), perceptron(width, features, dropout))
        self.decoder = nn.Sequential(nn.Linear(features, width), perceptron(width, space.dims, dropout))
        self.eval()

    def encode(self, x: Tensor) -> Tensor:
        """The code of each example, ``(N, features)``."""
        code: Tensor = self.encoder(self._numbers(x))
        return code

    def reconstruct(self, x: Tensor) -> Tensor:
        """What the code says of each example, ``(N, *event)``: real numbers on the scale of the data."""
        back: Tensor = self.decoder(self.encode(x)).view(x.shape)
        support = self.space.support
        return (back + 1) * ((support.levels - 1) / 2) if isinstance(support, Discrete) else back

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Minimise the squared error of reconstruction."""

        def squares(x: Tensor, y: Tensor | None) -> Tensor:
            error: Tensor = (self._numbers(x) - self.decoder(self.encode(x))).square().sum(1)
            return error

        minimise(self, squares, train, validation, budget, rng=rng, batch=self.batch, learning_rate=2e-3)

    def _numbers(self, x: Tensor) -> Tensor:
        """Flat examples in the type of the weights: ``(N, dims)``, levels spread from -1 to 1."""
        numbers: Tensor = x.flatten(1).to(next(self.parameters()))
        support = self.space.support
        return numbers * (2 / (support.levels - 1)) - 1 if isinstance(support, Discrete) else numbers
