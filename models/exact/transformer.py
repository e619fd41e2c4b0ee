"""A causal transformer over the positions of an event."""

from __future__ import annotations

from typing import Annotated, final

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn import functional

from torchstone.models.layers import FeatureDropout, Lookup, Positions
from torchstone.models.model import (
    Autoregressive,
    Budget,
    Discrete,
    Enumerable,
    ModelError,
    Sampler,
    Space,
    Split,
    Trainable,
)
from torchstone.models.randomness import generator, seeded
from torchstone.models.sampling import ancestral
from torchstone.models.spaces import labels, levels_of, narrowed, raster
from torchstone.models.training import minimise

__all__ = ["Transformer"]


@final
class Transformer(nn.Module, Autoregressive, Sampler, Trainable, Enumerable):
    r"""Masked self-attention over the raster sequence.

    .. math:: p(x \mid y) = \prod_i p(x_i \mid x_1, \dots, x_{i-1}, y)

    Colour images are read pixel by pixel, and within a pixel red, green, blue. Blocks are pre-norm; a position is
    embedded as the sum of its row, column and channel; the input at a position is the value at the one before it.

    Reference: Vaswani et al., "Attention Is All You Need", 2017.

    Args:
        space: discrete data of any shape.
        width: features of a position.
        depth: number of blocks.
        heads: attention heads; they divide the width.
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
        width: Annotated[int, Ge(1)] = 64,
        depth: Annotated[int, Ge(1)] = 2,
        heads: Annotated[int, Ge(1)] = 4,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.2,
        batch: Annotated[int, Ge(1)] = 16,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ModelError(f"The transformer's heads must divide its width: {heads} does not divide {width}.")
        levels = levels_of(space, "transformer")
        self.space = narrowed(space, Discrete(levels), conditional)
        self.batch = batch
        self.register_buffer("order", raster(space.event_shape), persistent=False)
        self.register_buffer("inverse", self.order.argsort(), persistent=False)
        self.start = Lookup(self.space.classes or 1, width)
        self.values = Lookup(levels, width)
        self.positions = Positions(space.event_shape, width)
        self.dropout = FeatureDropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(depth)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, levels))
        self.eval()

    def conditionals(self, x: Tensor, y: Tensor | None = None) -> Categorical:
        """The conditional of every position, of batch shape ``(N, *event)``."""
        start = self.start(labels(self.space, y, len(x), x.device))
        before = self.values(x.flatten(1)[:, self.order[:-1]])
        hidden = torch.cat([start[:, None], before], 1) + start[:, None] + self.positions()
        logits = self.head(self.blocks(self.dropout(hidden)))
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
    def tiny(cls) -> Transformer:
        """Two ternary pixels of two channels: 81 states."""
        with seeded(generator(0, "tiny")):
            return cls(Space((2, 1, 2), Discrete(3)), width=8, heads=2)


@final
class Block(nn.Module):
    """Causal self-attention, then a perceptron, each added to its input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.projections, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = FeatureDropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """``(N, T, width)`` to the same; position i sees positions 1 to i."""
        query, key, value = self.projections(self.attention_norm(hidden)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        seen = functional.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), is_causal=True
        )
        hidden = hidden + self.dropout(self.mix(seen.transpose(1, 2).flatten(2)))
        update: Tensor = self.dropout(self.perceptron(self.norm(hidden)))
        return hidden + update
