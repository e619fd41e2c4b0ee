"""A transformer over the tokens of a quantised autoencoder."""

from __future__ import annotations

import math
from typing import Annotated, final

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn
from torch.distributions import Distribution

from torchstone.models.approximate.heads import CategoricalHead
from torchstone.models.exact.transformer import Transformer
from torchstone.models.layers import Lookup, perceptron
from torchstone.models.model import (
    Budget,
    Discrete,
    Elbo,
    Enumerable,
    ExplicitApproximate,
    Sampler,
    Space,
    Split,
    Trainable,
)
from torchstone.models.randomness import draw, generator, seeded
from torchstone.models.spaces import levels_of, narrowed
from torchstone.models.training import minimise

__all__ = ["QuantisedAutoencoder", "VQTransformer"]

COMMITMENT = 0.25  # the weight of the pull of features towards their codes
FIRST_STAGE = 0.6  # the share of the budget that trains the autoencoder


@final
class VQTransformer(nn.Module, ExplicitApproximate, Sampler, Trainable, Enumerable):
    r"""Data become a few tokens by vector quantisation; a causal transformer models the tokens.

    .. math:: p(x \mid y) = \sum_c p(c \mid y)\ p(x \mid c) \ge p(c(x) \mid y)\ p(x \mid c(x))

    The encoder is deterministic: its posterior has all mass on one ``c(x)``, and no entropy. So the rate is the whole
    code length ``-log p(c(x))``, and the bound drops every other code that could have made x: it holds exactly, without
    any draw, and more draws do not close it.

    The tokens are learned first, then the transformer: the two stages share the budget.

    Reference: van den Oord, Vinyals and Kavukcuoglu, "Neural Discrete Representation Learning", 2017, arXiv:1711.00937.

    Args:
        space: discrete data of any shape.
        tokens: how many tokens stand for one example.
        codes: values that a token can take.
        features: dimensions of a code.
        width: features of the hidden layers of the autoencoder.
        hidden: features of a position of the transformer.
        depth: number of the transformer's blocks.
        heads: attention heads; they divide ``hidden``.
        dropout: probability of dropping a feature in training.
        batch: examples in a minibatch.
        conditional: whether labels are given, to the transformer.
    """

    def __init__(
        self,
        space: Space,
        *,
        tokens: Annotated[int, Ge(1)] = 8,
        codes: Annotated[int, Ge(2)] = 16,
        features: Annotated[int, Ge(1)] = 8,
        width: Annotated[int, Ge(1)] = 256,
        hidden: Annotated[int, Ge(1)] = 64,
        depth: Annotated[int, Ge(1)] = 2,
        heads: Annotated[int, Ge(1)] = 4,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1,
        batch: Annotated[int, Ge(1)] = 64,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        levels = levels_of(space, "vq_transformer")
        self.space = narrowed(space, Discrete(levels), conditional)
        self.batch, self.uniform = batch, tokens * math.log(codes)
        self.autoencoder = QuantisedAutoencoder(space.event_shape, levels, tokens, codes, features, width, dropout)
        self.transformer = Transformer(
            Space((tokens,), Discrete(codes), self.space.classes),
            width=hidden,
            depth=depth,
            heads=heads,
            dropout=dropout,
            batch=batch,
            conditional=conditional,
        )
        self.eval()

    def elbo(self, x: Tensor, y: Tensor | None = None, *, rng: torch.Generator) -> Elbo:
        """``log p(x | c)`` and ``-log p(c | y)`` at ``c = c(x)``, ``(N,)`` nats; nothing is drawn from ``rng``.

        The parts of the rate are ``uniform``, what the tokens cost where all values are equally likely, and
        ``transformer``, what modelling them adds, which is less than zero where it helps.
        """
        tokens = self.autoencoder.tokens(x)
        reconstruction = self.autoencoder.decode(tokens).log_prob(x)
        rate = -self.transformer.log_prob(tokens, y)
        parts = {"uniform": torch.full_like(rate, self.uniform), "transformer": rate - self.uniform}
        return Elbo(reconstruction, rate, parts)

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator) -> Tensor:
        """``n`` events, int64, ``(n, *event)``: tokens one by one, then all dimensions at once."""
        tokens = self.transformer.sample(n, y, rng=rng)
        return draw(self.autoencoder.decode(tokens), rng)

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Learn the tokens, then maximise their likelihood."""
        first = round(FIRST_STAGE * budget.steps)
        stages = (
            Budget(first, lambda done, _: budget.progress(done, budget.steps)),
            Budget(budget.steps - first, lambda done, _: budget.progress(first + done, budget.steps)),
        )
        minimise(
            self.autoencoder,
            lambda x, y: self.autoencoder.loss(x),
            train,
            validation,
            stages[0],
            rng=rng,
            batch=self.batch,
            learning_rate=6e-3,
        )
        minimise(
            self.transformer,
            lambda x, y: -self.transformer.log_prob(self.autoencoder.tokens(x), y),
            train,
            validation,
            stages[1],
            rng=rng,
            batch=self.batch,
            learning_rate=6e-3,
        )

    @classmethod
    def tiny(cls) -> VQTransformer:
        """Three ternary dimensions in two ternary tokens: 27 states and 9 codes, not all the same."""
        with seeded(generator(0, "tiny")):
            model = cls(Space((3,), Discrete(3)), tokens=2, codes=3, features=2, width=8, hidden=8, heads=2)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3)
        return model


@final
class QuantisedAutoencoder(nn.Module):
    """Perceptrons with a codebook between them: every token is the code that is nearest to its features.

    Args:
        event_shape: the shape of one event.
        levels: values of a dimension.
        tokens: T, how many stand for one event.
        codes: K, values of a token; every token has a codebook of its own.
        features: D, dimensions of a code.
        width: features of the hidden layers.
        dropout: probability of dropping a feature in training.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        levels: int,
        tokens: int,
        codes: int,
        features: int,
        width: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.head = CategoricalHead(event_shape, levels)
        self.shape = (tokens, features)
        self.codes = codes
        self.codebook = Lookup(tokens * codes, features)
        self.encoder = nn.Sequential(nn.Linear(self.head.inputs, width), perceptron(width, tokens * features, dropout))
        self.decoder = nn.Sequential(nn.Linear(tokens * features, width), perceptron(width, self.head.outputs, dropout))

    @torch.no_grad()
    def tokens(self, x: Tensor) -> Tensor:
        """The tokens of data, int64, ``(N, T)``."""
        return self._nearest(self._encode(x))

    def decode(self, tokens: Tensor) -> Distribution:
        """p(x | c), batch shape ``(N,)``, event shape that of the data."""
        return self._decode(self._embed(tokens))

    def loss(self, x: Tensor) -> Tensor:
        """``-log p(x | c)``, and the squared distance of features and codes, which moves both, ``(N,)``.

        To the decoder's gradient, quantisation is the identity: it goes straight through to the encoder.
        """
        features = self._encode(x)
        codes = self._embed(self._nearest(features))
        straight = features + (codes - features).detach()
        pull = (codes - features.detach()).square() + COMMITMENT * (codes.detach() - features).square()
        return pull.flatten(1).sum(1) - self._decode(straight).log_prob(x)

    def _encode(self, x: Tensor) -> Tensor:
        features: Tensor = self.encoder(self.head.read(x)).unflatten(1, self.shape)
        return features

    def _decode(self, codes: Tensor) -> Distribution:
        density: Distribution = self.head(self.decoder(codes.flatten(1)))
        return density

    def _embed(self, tokens: Tensor) -> Tensor:
        first = self.codes * torch.arange(self.shape[0], device=tokens.device)
        codes: Tensor = self.codebook(tokens + first)
        return codes

    def _nearest(self, features: Tensor) -> Tensor:
        codebook = self.codebook.weight.view(self.shape[0], self.codes, self.shape[1])
        return (features[:, :, None] - codebook).square().sum(-1).argmin(-1)
