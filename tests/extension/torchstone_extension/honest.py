"""Honest models whose numbers are known in closed form."""

import math

import torch
from torch.distributions import Categorical, Independent, MultivariateNormal, Normal

from torchstone.models import (
    Autoregressive,
    Continuous,
    Discrete,
    ExplicitApproximate,
    ExplicitExact,
    LatentVariable,
    ModelError,
    Space,
    Tokenised,
)

LINE, PLANE, SOLID = (Space((dims,), Continuous(-math.inf, math.inf)) for dims in (1, 2, 3))
FIVE_BITS = Space((5,), Discrete(2))


class Uniform(ExplicitExact):
    """Every example of the support is as likely as every other."""

    def __init__(self, space: Space, *, low: float = 0.0, high: float = 1.0, discrete: bool = False):
        self.space = Space(space.event_shape, space.support if discrete else Continuous(low, high))

    def log_prob(self, x, y=None):
        support = self.space.support
        each = math.log(support.levels if isinstance(support, Discrete) else support.high - support.low)
        return torch.full((len(x),), -self.space.dims * each, dtype=torch.float64)


class Normal1D(ExplicitExact):
    """N(2.3, 0.6²) on the line, one dimension, for integers from 0 to 4 in bins of width one."""

    def __init__(self, space: Space, *, mean: float = 2.3, sd: float = 0.6):
        self.space = Space(space.event_shape, Continuous(0.0, 5.0))
        self.density = Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(sd, dtype=torch.float64))

    def log_prob(self, x, y=None):
        return self.density.log_prob(x.double()).flatten(1).sum(1)


class HMM(ExplicitExact):
    """A hidden Markov model of three states and two symbols, by the forward algorithm."""

    def __init__(self, space: Space = FIVE_BITS):
        self.space = space
        self.initial = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
        self.transition = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.25, 0.25, 0.5]], dtype=torch.float64)
        self.emission = torch.tensor([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]], dtype=torch.float64)

    def log_prob(self, x, y=None):
        alpha = self.initial * self.emission[:, x[:, 0]].T
        for t in range(1, x.shape[1]):
            alpha = (alpha @ self.transition) * self.emission[:, x[:, t]].T
        return alpha.sum(1).log()


class DiscretisedLogistics(Autoregressive):
    """A mixture of discretised logistics, each pixel by itself; the edge bins take the tails."""

    def __init__(self, space: Space, *, weights=(0.6, 0.4), means=(0.1, -0.5), log_scales=(-3.0, -2.0)):
        self.space = Space(space.event_shape, Discrete(256))
        self.order = torch.arange(self.space.dims)
        self.weights, self.means, self.log_scales = (
            torch.tensor(v, dtype=torch.float64) for v in (weights, means, log_scales)
        )

    def level_log_probs(self):
        """The log-probability of each of the 256 levels."""
        edges = (torch.arange(1, 256, dtype=torch.float64) - 0.5) / 127.5 - 1
        at = (edges[:, None] - self.means) * torch.exp(-self.log_scales)
        upper, lower = torch.nn.functional.logsigmoid(at), torch.nn.functional.logsigmoid(-at)
        middle = upper[1:] + lower[:-1] + torch.log(-torch.expm1(at[:-1] - at[1:]))  # ln of a difference of sigmoids
        inside = torch.cat([upper[:1], middle, lower[-1:]])
        return (self.weights.log() + inside).logsumexp(1)

    def conditionals(self, x, y=None):
        return Categorical(logits=self.level_log_probs().expand(*x.shape, 256))


class AffineFlow(ExplicitExact):
    """x = A z + b with standard normal z, in two dimensions."""

    def __init__(self, space: Space = PLANE, *, sign: float = 1.0):
        self.space = space
        self.a = torch.tensor([[2.0, 0.5], [-0.3, 0.7]], dtype=torch.float64)
        self.b = torch.tensor([0.1, -0.4], dtype=torch.float64)
        self.sign = sign

    def log_prob(self, x, y=None):
        z = torch.linalg.solve(self.a, (x.double() - self.b).T).T
        log_det = torch.linalg.slogdet(self.a).logabsdet
        return -0.5 * (z**2).sum(1) - math.log(2 * math.pi) - self.sign * log_det


class GaussianVAE(LatentVariable):
    """One latent, p(z) = N(0, 1), p(x|z) = N(z, 0.5), and a posterior that is the same for every x: N(0.8, 0.7²)."""

    def __init__(self, space: Space = LINE):
        self.space = space

    def prior(self, y=None):
        return Independent(Normal(torch.zeros(1, dtype=torch.float64), 1.0), 1)

    def posterior(self, x, y=None):
        return Independent(Normal(torch.full((len(x), 1), 0.8, dtype=torch.float64), 0.7), 1)

    def likelihood(self, z, y=None):
        return Independent(Normal(z, math.sqrt(0.5)), 1)


class FreeBound(ExplicitApproximate):
    """The same model, which only says its ELBO, one draw at a time."""

    def __init__(self, space: Space = LINE):
        self.space = space
        self.inner = GaussianVAE(space)

    def elbo(self, x, y=None, *, rng):
        return self.inner.elbo(x, y, rng=rng)


class LinearGaussianVAE(LatentVariable):
    """x = W z + b + noise with two latents in three dimensions, whose posterior is exact."""

    def __init__(self, space: Space = SOLID):
        self.space = space
        self.w = torch.tensor([[1.0, 0.5], [-0.3, 0.8], [0.2, -1.1]], dtype=torch.float64)
        self.b = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
        self.variance = 0.25
        self.covariance = torch.linalg.inv(torch.eye(2, dtype=torch.float64) + self.w.T @ self.w / self.variance)

    def prior(self, y=None):
        return Independent(Normal(torch.zeros(2, dtype=torch.float64), 1.0), 1)

    def posterior(self, x, y=None):
        return MultivariateNormal((x.double() - self.b) @ self.w @ self.covariance / self.variance, self.covariance)

    def likelihood(self, z, y=None):
        return Independent(Normal(z @ self.w.T + self.b, math.sqrt(self.variance)), 1)


class Labelled(ExplicitExact):
    """A conditional model: every pixel equals the label with probability 1/2, and is uniform otherwise."""

    def __init__(self, space: Space):
        if space.classes is None:
            raise ModelError("Labelled takes labels and these data have none; choose data with classes.")
        self.space = space

    def log_prob(self, x, y=None):
        if y is None:
            raise ModelError("Labelled is conditional: pass the labels y.")
        levels = self.space.support.levels
        hit = x.flatten(1) == y[:, None]
        return torch.log(0.5 / levels + 0.5 * hit.double()).sum(1)


class Pairs(Autoregressive, Tokenised):
    """Text in 512 tokens of equal probability: a byte, or two equal bytes at once; 512 ends the text."""

    def __init__(self, space: Space, *, length: int = 100):
        self.space = Space((length,), Discrete(513))
        self.order = torch.arange(length)

    def conditionals(self, x, y=None):
        return Categorical(logits=torch.zeros(*x.shape, 513, dtype=torch.float64))

    def tokenise(self, data):
        tokens, at = [], 0
        while at < len(data):
            twice = data[at : at + 1] == data[at + 1 : at + 2]
            tokens.append(data[at] + 256 * twice)
            at += 1 + twice
        return torch.tensor([*tokens, 512])

    def detokenise(self, tokens):
        return b"".join(bytes([t % 256]) * (1 + t // 256) for t in tokens.tolist()[:-1])


class LabelledNormal(LatentVariable):
    """p(z|y) = N(y, 1) and p(x|z) = N(z, 1): p(x|y) is N(y, 2), and the posterior given here is the exact one."""

    def __init__(self, space: Space):
        self.space = space

    def prior(self, y=None):
        return Independent(Normal(y[:, None].double(), 1.0), 1)

    def posterior(self, x, y=None):
        return Independent(Normal((x.double() + y[:, None]) / 2, math.sqrt(0.5)), 1)

    def likelihood(self, z, y=None):
        return Independent(Normal(z, 1.0), 1)


class LabelledUniform(ExplicitExact):
    """On [0, 1]: worth exactly as many nats as the label says, on discrete data that are dequantised."""

    def __init__(self, space: Space):
        self.space = Space(space.event_shape, Continuous(), space.classes)

    def log_prob(self, x, y=None):
        return -y.double()
