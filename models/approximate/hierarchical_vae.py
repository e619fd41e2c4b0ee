"""A variational autoencoder of two levels of latents."""

from __future__ import annotations

from typing import Annotated, final

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from torchstone.models.approximate.heads import CategoricalHead
from torchstone.models.approximate.two_levels import TwoLevels
from torchstone.models.layers import Lookup, perceptron
from torchstone.models.model import (
    Budget,
    Discrete,
    Enumerable,
    LatentVariable,
    Sampler,
    Space,
    Split,
    Trainable,
)
from torchstone.models.randomness import draw, generator, seeded
from torchstone.models.spaces import labels, levels_of, narrowed
from torchstone.models.training import minimise

__all__ = ["HierarchicalVAE"]

WARM_UP = 0.5  # the share of the budget over which the weight of the rate rises to one


@final
class HierarchicalVAE(nn.Module, LatentVariable, Sampler, Trainable, Enumerable):
    r"""Two levels of Gaussian latents, both drawn from the top down, decoded to independent dimensions.

    .. math::
        p(x, z_1, z_2) &= N(z_1;\ 0, I)\ p(z_2 \mid z_1, y)\ p(x \mid z_2, y) \\
        q(z_1, z_2 \mid x) &= q(z_1 \mid x, y)\ q(z_2 \mid z_1, x, y)

    The latent is one vector, the upper level before the lower. Every conditional is a diagonal Gaussian: ``z_2`` is
    Gaussian given ``z_1``, and a mixture without it. In training the weight of the rate rises from zero to one over
    the first half of the budget: begun at one, the decoder learns to do without latents that say little as yet.

    References: Sønderby et al., "Ladder Variational Autoencoders", 2016, arXiv:1602.02282, for the posterior from the
    top down and the rise; Vahdat and Kautz, "NVAE: A Deep Hierarchical Variational Autoencoder", 2020,
    arXiv:2007.03898.

    Args:
        space: discrete data of any shape.
        upper: dimensions of z_1.
        lower: dimensions of z_2.
        width: features of the hidden layers.
        dropout: probability of dropping a feature in training, in the encoder of z_1 and in the decoder. The networks
            of ``z_2`` given ``z_1`` drop none: they are asked twice, for a draw and for its density.
        batch: examples in a minibatch.
        conditional: whether labels are given, to every conditional but that of ``z_1`` in the prior.
    """

    def __init__(
        self,
        space: Space,
        *,
        upper: Annotated[int, Ge(1)] = 8,
        lower: Annotated[int, Ge(1)] = 16,
        width: Annotated[int, Ge(1)] = 256,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1,
        batch: Annotated[int, Ge(1)] = 64,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        levels = levels_of(space, "hierarchical_vae")
        self.space = narrowed(space, Discrete(levels), conditional)
        self.upper, self.lower, self.batch = upper, lower, batch
        self.head = CategoricalHead(space.event_shape, levels)
        self.labels = Lookup(self.space.classes or 1, width)
        self.read = nn.Linear(self.head.inputs, width)
        self.upper_encoder = perceptron(width, 2 * upper, dropout)
        self.upper_read = nn.Linear(upper, width)
        self.lower_encoder = perceptron(width, 2 * lower, 0.0)
        self.upper_write = nn.Linear(upper, width)
        self.lower_prior = perceptron(width, 2 * lower, 0.0)
        self.lower_write = nn.Linear(lower, width)
        self.decoder = perceptron(width, self.head.outputs, dropout)
        self.eval()

    def prior(self, y: Tensor | None = None) -> Distribution:
        """p(z_1) p(z_2 | z_1): batch shape ``()``, or ``(N,)`` where the model is conditional."""
        weight = self.lower_write.weight
        label = self.labels.weight[0] if self.space.classes is None else self._label(y, 0 if y is None else len(y))
        zero = torch.zeros((*label.shape[:-1], self.upper), dtype=weight.dtype, device=weight.device)

        def lower(upper: Tensor) -> Distribution:
            return _gaussian(self.lower_prior(self.upper_write(upper) + label))

        return TwoLevels(Independent(Normal(zero, zero + 1), 1), lower, self.lower)

    def posterior(self, x: Tensor, y: Tensor | None = None) -> Distribution:
        """q(z_1 | x) q(z_2 | z_1, x), batch shape ``(N,)``."""
        label = self._label(y, len(x))
        seen = self.read(self.head.read(x)) + label

        def lower(upper: Tensor) -> Distribution:
            return _gaussian(self.lower_encoder(seen + self.upper_read(upper)))

        return TwoLevels(_gaussian(self.upper_encoder(seen)), lower, self.lower)

    def likelihood(self, z: Tensor, y: Tensor | None = None) -> Distribution:
        """p(x | z_2), batch shape ``(N,)``, event shape that of the data."""
        features = self.lower_write(z[..., self.upper :]) + self._label(y, len(z))
        density: Distribution = self.head(self.decoder(features))
        return density

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator) -> Tensor:
        """``n`` events, int64, ``(n, *event)``."""
        z = draw(self.prior(y).expand(torch.Size([n])), rng)
        return draw(self.likelihood(z, y), rng)

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Maximise the bound, its latents drawn by reparameterisation; at first the rate weighs less than one."""
        warm = max(1, round(WARM_UP * budget.steps))
        done = 0

        def count(step: int, steps: int) -> None:
            nonlocal done
            done = step
            budget.progress(step, steps)

        def nats(x: Tensor, y: Tensor | None) -> Tensor:
            posterior = self.posterior(x, y)
            z = posterior.rsample()
            rate = posterior.log_prob(z) - self.prior(y).log_prob(z)
            weight = min(1.0, done / warm) if self.training else 1.0
            return weight * rate - self.likelihood(z, y).log_prob(x)

        counted = Budget(budget.steps, count)
        minimise(self, nats, train, validation, counted, rng=rng, batch=self.batch, learning_rate=6e-3)

    def _label(self, y: Tensor | None, n: int) -> Tensor:
        embedded: Tensor = self.labels(labels(self.space, y, n, self.labels.weight.device))
        return embedded

    @classmethod
    def tiny(cls) -> HierarchicalVAE:
        """Three ternary dimensions, and a latent of one dimension in each level."""
        with seeded(generator(0, "tiny")):
            return cls(Space((3,), Discrete(3)), upper=1, lower=1, width=8)


def _gaussian(features: Tensor) -> Distribution:
    """Half of the features are means, half become scales."""
    mean, scale = features.chunk(2, -1)
    return Independent(Normal(mean, nn.functional.softplus(scale) + 1e-4), 1)
