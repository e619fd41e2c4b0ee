"""Small adapters, honest and not, for the audits of densities; each of the latter is named by its mistake."""

import math

import torch
from torch.distributions import Categorical, Distribution, Independent, Normal
from torch.nn.functional import logsigmoid

from torchstone.models import (
    Autoregressive,
    Continuous,
    Discrete,
    ExplicitApproximate,
    ExplicitExact,
    LatentVariable,
    Sampler,
    Space,
)
from torchstone.models.model import Elbo
from torchstone.suites.data.synthetic import Bernoulli

BITS = Space((4,), Discrete(2))
LOWER = Bernoulli.weight


class Bits(ExplicitExact, Sampler):
    """Four bits, each given those that its row of ``weights`` shows it: a density where that is strictly lower.

    Samples are always drawn one bit after the other, from the strictly lower part, at ``temperature``.
    """

    def __init__(self, weights=LOWER, bias=Bernoulli.bias, *, temperature=1.0):
        self.space, self.weights, self.bias, self.temperature = BITS, weights, bias, temperature

    def log_prob(self, x, y=None):
        logits = self.bias + x.double() @ self.weights.T
        return logsigmoid((2 * x - 1) * logits).sum(1)

    def sample(self, n, y=None, *, rng):
        x = torch.zeros(n, 4, dtype=torch.double)
        for i in range(4):
            logit = (self.bias[i] + x @ self.weights.tril(-1)[i]) / self.temperature
            x[:, i] = (torch.rand(n, dtype=torch.double, generator=rng) < logit.sigmoid()).double()
        return x.long()


class Sequential(Autoregressive, Sampler):
    """The same four bits as conditionals, drawn at a temperature."""

    def __init__(self, *, temperature=1.0):
        self.space, self.order, self.bits = BITS, torch.arange(4), Bits(temperature=temperature)

    def conditionals(self, x, y=None):
        logits = Bernoulli.bias + x.double() @ LOWER.T
        return Categorical(logits=torch.stack([-logits / 2, logits / 2], -1))

    def sample(self, n, y=None, *, rng):
        return self.bits.sample(n, rng=rng)


class Pseudo(ExplicitExact):
    """Each spin given all of its neighbours, multiplied: no density, though noise alone does not show it."""

    def __init__(self, side):
        self.space = Space((side, side), Discrete(2))

    def log_prob(self, x, y=None):
        spins = 2.0 * x.double() - 1
        field = torch.full_like(spins, 0.1)
        field[:, 1:] += 0.4 * spins[:, :-1]
        field[:, :-1] += 0.4 * spins[:, 1:]
        field[:, :, 1:] += 0.4 * spins[:, :, :-1]
        field[:, :, :-1] += 0.4 * spins[:, :, 1:]
        return logsigmoid(2 * spins * field).sum((1, 2))


class Logistics(ExplicitExact):
    """A discretised logistic of scale exp(-3) on 256 levels at each pixel, around 128 or, peeking, its own value."""

    def __init__(self, space, *, peeking):
        self.space, self.peeking = space, peeking

    def log_prob(self, x, y=None):
        value = x.double() / 127.5 - 1
        centre = value if self.peeking else torch.full_like(value, 128 / 127.5 - 1)
        upper, lower = ((value - centre + side / 255) * math.exp(3.0) for side in (1, -1))
        upper, lower = torch.where(x == 255, math.inf, upper), torch.where(x == 0, -math.inf, lower)
        return (upper.sigmoid() - lower.sigmoid()).log().flatten(1).sum(1)


class Lookup(ExplicitExact):
    """Half of the mass on each of the examples that it was given, however many they are."""

    def __init__(self, space, examples):
        self.space, self.examples = space, {row.numpy().tobytes() for row in examples.long()}

    def log_prob(self, x, y=None):
        held = torch.tensor([row.numpy().tobytes() in self.examples for row in x.long()])
        rest = -self.space.dims * math.log(self.space.support.levels)
        return torch.where(held, 0.0, rest).double() - math.log(2)


class PointMass(Autoregressive, Sampler):
    """Certain of one example, in single precision: honest, useless, and all its conditionals are without spread."""

    def __init__(self, space):
        self.space, self.order = space, torch.arange(space.dims)

    def conditionals(self, x, y=None):
        logits = torch.full((*x.shape, self.space.support.levels), -math.inf)
        logits[..., 1] = 3.7
        return Categorical(logits=logits)

    def sample(self, n, y=None, *, rng):
        return torch.ones(n, *self.space.event_shape, dtype=torch.long)


class Holes(ExplicitExact, Sampler):
    """Uniform over the examples without a single zero: minus infinity elsewhere."""

    def __init__(self, space):
        self.space = space

    def log_prob(self, x, y=None):
        levels = self.space.support.levels
        return torch.where((x > 0).flatten(1).all(1), -self.space.dims * math.log(levels - 1), -math.inf)

    def sample(self, n, y=None, *, rng):
        return torch.randint(1, self.space.support.levels, (n, *self.space.event_shape), generator=rng)


class Undefined(ExplicitExact):
    """NaN wherever the first value is zero, and uniform over the rest."""

    def __init__(self, space):
        self.space = space

    def log_prob(self, x, y=None):
        levels, dims = self.space.support.levels, self.space.dims
        uniform = -math.log(levels - 1) - (dims - 1) * math.log(levels)
        return torch.where(x.flatten(1)[:, 0] > 0, uniform, math.nan).double()


class Gaussian(ExplicitExact, Sampler):
    """A correlated Gaussian in two dimensions, whose samples are moved to the ends of its support.

    ``excess`` is added to its log-density; ``temperature`` widens its samples.
    """

    def __init__(self, support=None, *, excess=0.0, temperature=1.0, scale=1.0):
        self.space = Space((2,), support or Continuous(-math.inf, math.inf))
        self.factor = scale * torch.tensor([[1.0, 0.0], [0.8, 0.6]], dtype=torch.float64)
        self.excess, self.temperature = excess, temperature

    def log_prob(self, x, y=None):
        white = torch.linalg.solve_triangular(self.factor, x.double().T, upper=False)
        return self.excess - 0.5 * white.square().sum(0) - self.factor.diagonal().log().sum() - math.log(2 * math.pi)

    def sample(self, n, y=None, *, rng):
        z = math.sqrt(self.temperature) * torch.randn(n, 2, dtype=torch.float64, generator=rng)
        return (z @ self.factor.T).clamp(self.space.support.low, self.space.support.high)


class Narrower(Distribution):
    """A Gaussian that draws with ``shrink`` times the scale that it states."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, mean, scale, shrink):
        self.stated = Independent(Normal(mean, scale), 1)
        self.drawn = Independent(Normal(mean, scale * shrink), 1)
        super().__init__(self.stated.batch_shape, self.stated.event_shape, validate_args=False)

    def sample(self, sample_shape=()):
        return self.drawn.sample(torch.Size(sample_shape))

    def log_prob(self, value):
        return self.stated.log_prob(value)


class DeepBits(LatentVariable, Sampler):
    """Four bits from eight Gaussian latents; the encoder knows the exact sign of each bit and little else.

    Args:
        shrink: by how much the encoder draws narrower than it states.
        inflated: nats that the likelihood adds to every probability.
        means: whether samples are the likelier of both values, in place of draws.
    """

    def __init__(self, *, shrink=1.0, inflated=0.0, means=False, slope=0.4):
        self.space, self.shrink, self.inflated, self.means = BITS, shrink, inflated, means
        self.weight = slope * torch.eye(4, dtype=torch.float64).repeat(1, 2)

    def prior(self, y=None):
        return Independent(Normal(torch.zeros(8, dtype=torch.float64), 1.0), 1)

    def posterior(self, x, y=None):
        mean = 0.5 * (2.0 * x.double() - 1) @ self.weight
        return Narrower(mean, torch.full_like(mean, 0.95), self.shrink)

    def likelihood(self, z, y=None):
        logits = z @ self.weight.T
        return Raised(Categorical(logits=torch.stack([-logits, logits], -1)), self.inflated)

    def sample(self, n, y=None, *, rng):
        z = torch.randn(n, 8, dtype=torch.float64, generator=rng)
        p = torch.sigmoid(2 * z @ self.weight.T)
        threshold = torch.rand(p.shape, dtype=p.dtype, generator=rng)
        return (p > (0.5 if self.means else threshold)).long()


class Raised(Distribution):
    """Independent values whose joint log-probability is ``excess`` too large."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, base, excess):
        self.base, self.excess = Independent(base, 1), excess
        super().__init__(self.base.batch_shape, self.base.event_shape, validate_args=False)

    def sample(self, sample_shape=()):
        return self.base.sample(torch.Size(sample_shape))

    def log_prob(self, value):
        return self.base.log_prob(value) + self.excess


class Bounded(ExplicitExact, ExplicitApproximate):
    """Four bits with an exact density and a bound ``slack`` nats below it, which takes ``noise`` times a draw."""

    def __init__(self, *, slack=0.5, noise=0.0):
        self.space, self.bits, self.slack, self.noise = BITS, Bits(), slack, noise

    def log_prob(self, x, y=None):
        return self.bits.log_prob(x)

    def elbo(self, x, y=None, *, rng):
        found = self.bits.log_prob(x) - self.slack
        if self.noise:
            found = found + self.noise * torch.randn(len(x), dtype=torch.float64, generator=rng)
        return Elbo(found, torch.zeros(len(x), dtype=torch.float64))


class RareLoss(ExplicitApproximate):
    """A bound that is one nat too large but for a draw in a million, which pays for all of them: honest."""

    def __init__(self):
        self.space, self.bits = BITS, Bits()

    def elbo(self, x, y=None, *, rng):
        unlucky = torch.rand(len(x), dtype=torch.float64, generator=rng) < 1e-6
        found = self.bits.log_prob(x) + 1.0 - 2e6 * unlucky.double()
        return Elbo(found, torch.zeros(len(x), dtype=torch.float64))
