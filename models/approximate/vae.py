"""A variational autoencoder of perceptrons."""

from __future__ import annotations

from typing import Annotated, Literal, final

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from torchstone.models.approximate.heads import CategoricalHead, GaussianHead
from torchstone.models.approximate.priors import FlowPrior
from torchstone.models.layers import Lookup, perceptron
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
    beta: Annotated[float, Ge(0)] = 1.0,
    prior: Literal["gaussian", "flow"] = "gaussian",
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
        beta: the weight of the rate in training; the bound that is measured never has one.
        prior: the family of p(z): a standard Gaussian, or a flow learned with the rest.
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
    flow = FlowPrior(latents) if prior == "flow" else None
    return VAE(narrowed(space, support, conditional), head, flow, dequantised, latents, width, dropout, batch, beta)


@final
class VAE(nn.Module, LatentVariable, Sampler, Trainable, Enumerable):
    r"""A latent, decoded to independent dimensions; the encoder gives a diagonal Gaussian.

    .. math:: p(x) = \int p(z)\ p(x \mid z)\ dz, \qquad q(z \mid x) = N(z;\ \mu(x), \mathrm{diag}\ \sigma^2(x))

    The prior is N(0, I) or a flow. Training may weigh the rate by ``beta``, which trades it for reconstruction; what is
    measured is the bound, in which it weighs one.

    References: Kingma and Welling, "Auto-Encoding Variational Bayes", 2013, arXiv:1312.6114; Higgins et al.,
    "beta-VAE", 2017, for the weight; Alemi et al., "Fixing a Broken ELBO", 2018, arXiv:1711.00464, for what it buys.

    Args:
        space: that of the model, with classes only where it is conditional.
        head: reads data into features, and makes features a distribution of data.
        flow: the prior, or None for a standard Gaussian.
        levels: those of discrete data that are dequantised for training, or None.
        latents: dimensions of z.
        width: features of the hidden layers.
        dropout: probability of dropping a feature in training.
        batch: examples in a minibatch.
        beta: the weight of the rate in training.
    """

    def __init__(
        self,
        space: Space,
        head: CategoricalHead | GaussianHead,
        flow: FlowPrior | None,
        levels: int | None,
        latents: int,
        width: int,
        dropout: float,
        batch: int,
        beta: float,
    ) -> None:
        super().__init__()
        self.space, self.levels, self.latents, self.batch, self.beta = space, levels, latents, batch, beta
        self.head, self.flow = head, flow
        self.labels = Lookup(space.classes or 1, width)
        self.read, self.write = nn.Linear(head.inputs, width), nn.Linear(latents, width)
        self.encoder = perceptron(width, 2 * latents, dropout)
        self.decoder = perceptron(width, head.outputs, dropout)
        self.eval()

    def prior(self, y: Tensor | None = None) -> Distribution:
        """p(z), whatever the label: batch shape ``()``."""
        if self.flow is not None:
            given: Distribution = self.flow()
            return given
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
        """Maximise the bound, its rate weighted by beta and its latents drawn by reparameterisation."""

        def nats(x: Tensor, y: Tensor | None) -> Tensor:
            support = self.space.support
            if isinstance(support, Continuous):
                x = relax(x, support, self.levels, self.write.weight.dtype)
            posterior, prior = self.posterior(x, y), self.prior()
            z = posterior.rsample()
            rate = posterior.log_prob(z) - prior.log_prob(z)
            return self.beta * rate - self.likelihood(z, y).log_prob(x)

        minimise(self, nats, train, validation, budget, rng=rng, batch=self.batch, learning_rate=6e-3)

    @classmethod
    def tiny(cls) -> VAE:
        """Three ternary dimensions and two latents."""
        with seeded(generator(0, "tiny")):
            return vae(Space((3,), Discrete(3)), latents=2, width=8)
