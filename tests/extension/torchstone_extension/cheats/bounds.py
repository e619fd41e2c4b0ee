"""Bounds that are none."""

import math

import torch
from torch.distributions import Independent, Normal

from torchstone.models import Elbo, ExplicitApproximate, Sampler
from torchstone.models.randomness import draw
from torchstone_extension.fixtures.latent import (
    Amortised,
    Codes,
    Diffusion,
    FactorWithDensity,
    NoisyFactor,
    OwnWeights,
    Pixels,
)


class NoLogK(OwnWeights):
    """Adds up importance weights of its own and does not divide by their number."""

    def elbo(self, x, y=None, *, rng):
        bound = self.weights(x, rng).logsumexp(1)
        return Elbo(bound, torch.zeros_like(bound))


class NoLogKAlone(ExplicitApproximate, Sampler):
    """The same, without an exact density beside it."""

    def __init__(self):
        self.inner = NoLogK()
        self.space = self.inner.space

    def elbo(self, x, y=None, *, rng):
        return self.inner.elbo(x, rng=rng)

    def sample(self, n, y=None, *, rng):
        return self.inner.sample(n, rng=rng)


class HalfTheRate(Codes):
    """Weighs the rate by one half at evaluation: a beta that should have stayed in training."""

    def rate(self, log_q):
        return 0.5 * super().rate(log_q)


class NoRate(Codes):
    """Reports reconstruction alone."""

    def rate(self, log_q):
        return torch.zeros(len(log_q), dtype=torch.float64)


class FreeBits(Codes):
    """Takes a nat off the rate, as free bits do in training."""

    def rate(self, log_q):
        return (super().rate(log_q) - 1.0).clamp_min(0.0)


class MeanRate(Codes):
    """Averages the rate over the codes and adds reconstruction up over the pixels."""

    def rate(self, log_q):
        return super().rate(log_q) / 4


class LogK(Codes):
    """Adds ln 5000 to its bound: a sum over importance samples without the division."""

    def rate(self, log_q):
        return super().rate(log_q) - math.log(5000)


class _Misstated(Normal):
    """Draws by its scale, and states the density of another one."""

    def log_prob(self, value):
        return Normal(self.loc, self.stated()).log_prob(value)


class _Variance(_Misstated):
    def stated(self):
        return self.scale.square()


class _Wider(_Misstated):
    def stated(self):
        return 1.5 * self.scale


class VarianceForDeviation(Amortised):
    """States the density of a posterior whose scale is the square of the one it draws with."""

    kind = _Variance

    def posterior(self, x, y=None):
        base = super().posterior(x, y).base_dist
        return Independent(self.kind(base.loc, base.scale), 1)


class NarrowDraws(VarianceForDeviation):
    """Draws from its posterior with two thirds of the scale that it states."""

    kind = _Wider


class _Stretched(Normal):
    """Is mapped by z -> 2 z, and states the density without the determinant of that."""

    def sample(self, sample_shape=()):
        return 2 * super().sample(sample_shape)

    def rsample(self, sample_shape=()):
        return 2 * super().rsample(sample_shape)

    def log_prob(self, value):
        return super().log_prob(value / 2)


class NoDeterminantInThePosterior(VarianceForDeviation):
    """Maps the latents of its posterior, and forgets the determinant."""

    kind = _Stretched


class PriorOfItsOwn(Pixels):
    """Samples with a learned prior, and bounds with the standard one."""

    def sample(self, n, y=None, *, rng):
        z = Normal(torch.full((2,), 1.2, dtype=self.dtype), 0.5)
        return draw(self.likelihood(draw(z, rng, (n,))), rng)


class DecoderMean(NoisyFactor):
    """Samples the mean of its decoder, without the noise that its likelihood has."""

    def sample(self, n, y=None, *, rng):
        return self.likelihood(draw(self.prior(), rng, (n,))).mean


class HalfTheSteps(Diffusion):
    """Adds up every second step, without weighing them by two."""

    def between(self, x):
        return super().between(x)[:, ::2]


class WithoutPrior(Diffusion):
    """Drops L_T, what the last step costs; its chain is so short that much of the data is left there."""

    def __init__(self):
        super().__init__()
        short = self.kept > 0.5
        for name in ("kept", "guess", "narrow", "wide", "from_start", "from_here"):
            setattr(self, name, getattr(self, name)[short])
        self.steps = int(short.sum())

    def last(self, x):
        return torch.zeros(len(x), dtype=torch.float64)


class BoundAboveItsDensity(FactorWithDensity):
    """Draws from its posterior more narrowly than it states, which lifts its bound above its own density."""

    def posterior(self, x, y=None):
        base = super().posterior(x, y).base_dist
        return Independent(_Variance(base.loc, base.scale), 1)
