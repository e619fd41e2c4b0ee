"""A variational autoencoder of perceptrons."""

from __future__ import annotations

from typing import Annotated, Literal, final

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal

from torchstone.models.layers import Lookup
from torchstone.models.model import (
    Budget,
    Continuous,
    Discrete,
    Enumerable,
    LatentVariable,
    Sampler,
    Space,
    Split,
    Trainable,
)
from torchstone.models.randomness import draw, generator, seeded
from torchstone.models.spaces import continuous_support, labels, levels_of, narrowed, relax
from torchstone.models.training import minimise

__all__ = ["VAE", "vae"]


def vae(
    space: Space,
    *,
    decoder: Literal["categorical", "gaussian"] = "categorical",
    latents: Annotated[int, Ge(1)] = 16,
    width: Annotated[int, Ge(1)] = 256,
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1,
    decoder_scale: Annotated[float, Gt(0)] = 0.1,
    batch: Annotated[int, Ge(1)] = 64,
    conditional: bool = False,
) -> VAE:
    """A variational autoencoder of perceptrons.

    Args:
        space: data of any shape; a categorical decoder takes discrete ones, a Gaussian decoder models those on
            ``Continuous(0, 1)``.
        decoder: the family of p(x | z).
        latents: dimensions of z.
        width: features of the hidden layers.
        dropout: probability of dropping a feature in training.
        decoder_scale: the standard deviation of a Gaussian decoder.
        batch: examples in a minibatch.
        conditional: whether labels are given, to encoder and decoder.
    """
    head: CategoricalHead | GaussianHead
    support: Discrete | Continuous
    if decoder == "categorical":
        levels = levels_of(space, "vae with decoder=categorical")
        support, dequantised, head = Discrete(levels), None, CategoricalHead(space.event_shape, levels)
    else:
        support, dequantised = continuous_support(space)
        head = GaussianHead(space.event_shape, decoder_scale)
    return VAE(narrowed(space, support, conditional), head, dequantised, latents, width, dropout, batch)


@final
class VAE(nn.Module, LatentVariable, Sampler, Trainable, Enumerable):
    r"""A Gaussian latent, decoded to independent dimensions; the encoder gives a diagonal Gaussian.

    .. math:: p(x) = \int N(z;\ 0, I)\ p(x \mid z)\ dz, \qquad q(z \mid x) = N(z;\ \mu(x), \mathrm{diag}\ \sigma^2(x))

    Reference: Kingma and Welling, "Auto-Encoding Variational Bayes", 2013, arXiv:1312.6114.

    Args:
        space: that of the model, with classes only where it is conditional.
        head: reads data into features, and makes features a distribution of data.
        levels: those of discrete data that are dequantised for training, or None.
        latents: dimensions of z.
        width: features of the hidden layers.
        dropout: probability of dropping a feature in training.
        batch: examples in a minibatch.
    """

    def __init__(
        self,
        space: Space,
        head: CategoricalHead | GaussianHead,
        levels: int | None,
        latents: int,
        width: int,
        dropout: float,
        batch: int,
    ) -> None:
        super().__init__()
        self.space, self.levels, self.latents, self.batch = space, levels, latents, batch
        self.head = head
        self.labels = Lookup(space.classes or 1, width)
        self.read, self.write = nn.Linear(head.inputs, width), nn.Linear(latents, width)
        self.encoder = _perceptron(width, 2 * latents, dropout)
        self.decoder = _perceptron(width, head.outputs, dropout)
        self.eval()

    def prior(self, y: Tensor | None = None) -> Distribution:
        """A standard Gaussian, whatever the label: batch shape ``()``."""
        zero = torch.zeros(self.latents, dtype=self.write.weight.dtype, device=self.write.weight.device)
        return Independent(Normal(zero, zero + 1), 1)

    def posterior(self, x: Tensor, y: Tensor | None = None) -> Distribution:
        """q(z | x), batch shape ``(N,)``."""
        label = self.labels(labels(self.space, y, len(x), x.device))
        mean, scale = self.encoder(self.read(self.head.read(x)) + label).chunk(2, -1)
        return Independent(Normal(mean, nn.functional.softplus(scale) + 1e-4), 1)

    def likelihood(self, z: Tensor, y: Tensor | None = None) -> Distribution:
        """p(x | z), batch shape ``(N,)``, event shape that of the data."""
        label = self.labels(labels(self.space, y, len(z), z.device))
        density: Distribution = self.head(self.decoder(self.write(z) + label))
        return density

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator) -> Tensor:
        """``n`` events, ``(n, *event)``; a Gaussian's tails outside of a bounded support are moved to its ends."""
        z = draw(self.prior(), rng, (n,))
        x = draw(self.likelihood(z, y), rng)
        support = self.space.support
        return x.clamp(support.low, support.high) if isinstance(support, Continuous) else x

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Maximise the evidence lower bound, its latents drawn by reparameterisation."""

        def nats(x: Tensor, y: Tensor | None) -> Tensor:
            support = self.space.support
            if isinstance(support, Continuous):
                x = relax(x, support, self.levels, self.write.weight.dtype)
            posterior, prior = self.posterior(x, y), self.prior()
            z = posterior.rsample()
            return posterior.log_prob(z) - prior.log_prob(z) - self.likelihood(z, y).log_prob(x)

        minimise(self, nats, train, validation, budget, rng=rng, batch=self.batch, learning_rate=6e-3)

    @classmethod
    def tiny(cls) -> VAE:
        """Three ternary dimensions and two latents."""
        with seeded(generator(0, "tiny")):
            return vae(Space((3,), Discrete(3)), latents=2, width=8)


def _perceptron(width: int, outputs: int, dropout: float) -> nn.Sequential:
    first, second = (nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(width, n)) for n in (width, outputs))
    return nn.Sequential(first, second)


@final
class CategoricalHead(nn.Module):
    """Reads integers through an embedding; makes of features a categorical distribution in each dimension."""

    def __init__(self, event_shape: tuple[int, ...], levels: int, width: int = 16) -> None:
        super().__init__()
        self.event_shape = event_shape
        self.values = Lookup(levels, width)
        self.logits = nn.Linear(width, levels)
        self.inputs = self.outputs = width * torch.Size(event_shape).numel()

    def read(self, x: Tensor) -> Tensor:
        """Features of data, ``(N, inputs)``."""
        features: Tensor = self.values(x).flatten(1)
        return features

    def forward(self, features: Tensor) -> Distribution:
        """The distribution of data, of batch shape ``(N,)``, given features ``(N, outputs)``."""
        logits = self.logits(features.view(len(features), *self.event_shape, -1))
        return Independent(Categorical(logits=logits), len(self.event_shape))


@final
class GaussianHead(nn.Module):
    """Reads numbers as they are; makes of features a Gaussian of fixed scale in each dimension."""

    def __init__(self, event_shape: tuple[int, ...], scale: float) -> None:
        super().__init__()
        self.event_shape, self.scale = event_shape, scale
        self.inputs = self.outputs = torch.Size(event_shape).numel()

    def read(self, x: Tensor) -> Tensor:
        """Features of data, ``(N, inputs)``."""
        return x.flatten(1)

    def forward(self, features: Tensor) -> Distribution:
        """The distribution of data, of batch shape ``(N,)``, given features ``(N, outputs)``."""
        mean = features.view(len(features), *self.event_shape)
        return Independent(Normal(mean, torch.full_like(mean, self.scale)), len(self.event_shape))
