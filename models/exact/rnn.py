"""A recurrent network over the positions of an event."""

from __future__ import annotations

from typing import Annotated, final

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn
from torch.distributions import Categorical

from torchstone.models.layers import FeatureDropout, Lookup, Positions
from torchstone.models.model import Autoregressive, Budget, Discrete, Enumerable, Sampler, Space, Split, Trainable
from torchstone.models.randomness import generator, seeded
from torchstone.models.sampling import ancestral
from torchstone.models.spaces import labels, levels_of, narrowed, raster
from torchstone.models.training import minimise

__all__ = ["RNN"]


@final
class RNN(nn.Module, Autoregressive, Sampler, Trainable, Enumerable):
    r"""Gated recurrent units along the raster sequence.

    .. math:: h_i = \mathrm{GRU}(h_{i-1}, [x_{i-1}, i]), \qquad p(x \mid y) = \prod_i p(x_i \mid h_i)

    Colour images are read pixel by pixel, and within a pixel red, green, blue.

    Reference: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
    Translation", 2014.

    Args:
        space: discrete data of any shape.
        width: features of the hidden state.
        depth: layers of recurrent units.
        dropout: probability of dropping a feature in training.
        batch: examples in a minibatch.
        conditional: whether labels are given.
    """

    order: Tensor
    inverse: Tensor

    def __init__(
        self,
        space: Space,
        *,
        width: Annotated[int, Ge(1)] = 128,
        depth: Annotated[int, Ge(1)] = 1,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.35,
        batch: Annotated[int, Ge(1)] = 16,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        levels = levels_of(space, "rnn")
        self.space = narrowed(space, Discrete(levels), conditional)
        self.batch = batch
        self.register_buffer("order", raster(space.event_shape), persistent=False)
        self.register_buffer("inverse", self.order.argsort(), persistent=False)
        self.start = Lookup(self.space.classes or 1, width)
        self.values = Lookup(levels, width)
        self.positions = Positions(space.event_shape, width)
        self.dropout = FeatureDropout(dropout)
        self.recurrence = nn.GRU(width, width, depth, batch_first=True)
        self.head = nn.Linear(width, levels)
        self.eval()

    def conditionals(self, x: Tensor, y: Tensor | None = None) -> Categorical:
        """The conditional of every position, of batch shape ``(N, *event)``."""
        start = self.start(labels(self.space, y, len(x), x.device))
        before = self.values(x.flatten(1)[:, self.order[:-1]])
        inputs = torch.cat([start[:, None], before], 1) + start[:, None] + self.positions()
        hidden, _ = self.recurrence(self.dropout(inputs))
        logits = self.head(self.dropout(hidden))
        return Categorical(logits=logits[:, self.inverse].unflatten(1, self.space.event_shape))

    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator) -> Tensor:
        """``n`` events, int64, ``(n, *event)``."""
        return ancestral(self.conditionals, self.order, self.space.event_shape, n, y, rng=rng)

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Maximise the likelihood by gradient descent."""
        minimise(
            self,
            lambda x, y: -self.log_prob(x, y),
            train,
            validation,
            budget,
            rng=rng,
            batch=self.batch,
            learning_rate=6e-3,
        )

    @classmethod
    def tiny(cls) -> RNN:
        """Two ternary pixels of two channels: 81 states."""
        with seeded(generator(0, "tiny")):
            return cls(Space((2, 1, 2), Discrete(3)), width=8)
