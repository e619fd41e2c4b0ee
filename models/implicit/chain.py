r"""The arithmetic of Gaussian diffusion chains, without a network.

A chain of S steps is given by its signal :math:`\bar\alpha_1 > \dots > \bar\alpha_S`, of shape ``(S,)`` in float64,
least noisy first: :math:`q(x_t \mid x_0) = N(\sqrt{\bar\alpha_t}\, x_0,\ (1 - \bar\alpha_t) I)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

__all__ = [
    "Chain",
    "cosine_signal",
    "ddim_step",
    "discretised_gaussian",
    "linear_signal",
    "prior_rate",
    "respaced",
    "reverse_variance",
    "transition_rate",
]

LARGEST_BETA = 0.999
LEAST_SIGNAL = 2e-4


def linear_signal(timesteps: int) -> Tensor:
    """The signal of noise variances that rise linearly, from 0.0001 to 0.02 at 1000 steps and in proportion at others.

    Source: Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models", 2020, arXiv:2006.11239.
    """
    betas = torch.linspace(1e-4, 0.02, timesteps, dtype=torch.float64) * (1000 / timesteps)
    return (1 - betas.clamp(max=LARGEST_BETA)).cumprod(0)


def cosine_signal(timesteps: int, first_noise: float) -> Tensor:
    """The signal that falls as a squared cosine, of angles evenly spaced up to where 0.0002 of it is left.

    ``first_noise`` is the standard deviation of the noise at the first step, in [0, 1): that of the paper is a little
    less than the distance of two levels.

    Source: Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021, arXiv:2102.09672,
    section 3.2.
    """
    first, last = math.asin(first_noise), math.acos(math.sqrt(LEAST_SIGNAL))
    return torch.linspace(first, last, timesteps, dtype=torch.float64).cos().square()


def respaced(timesteps: int, steps: int) -> Tensor:
    """Which of ``timesteps`` positions a chain of ``steps`` keeps: evenly spaced, both ends among them, increasing.

    >>> respaced(10, 4)
    tensor([0, 3, 6, 9])
    >>> respaced(10, 1)
    tensor([9])
    """
    return torch.linspace(timesteps - 1, 0, steps, dtype=torch.float64).round().long().flip(0)


@final
@dataclass(frozen=True)
class Chain:
    r"""The coefficients of :math:`q(x_{t-1} \mid x_t, x_0) = N(a_t x_0 + b_t x_t,\ \tilde\beta_t I)`, ``(S,)`` each.

    Source: Ho, Jain and Abbeel, 2020, arXiv:2006.11239, eqs. 6 and 7.

    Attributes:
        signal: that of the chain.
    """

    signal: Tensor

    @property
    def before(self) -> Tensor:
        """The signal one step nearer to the data, which is 1 at the first."""
        return torch.cat([torch.ones_like(self.signal[:1]), self.signal[:-1]])

    @property
    def beta(self) -> Tensor:
        """The variance of the noise that each step adds."""
        return 1 - self.signal / self.before

    @property
    def clean_weight(self) -> Tensor:
        """That of the data in the mean, a."""
        return self.before.sqrt() * self.beta / (1 - self.signal)

    @property
    def noisy_weight(self) -> Tensor:
        """That of the noisier example in the mean, b."""
        return (self.signal / self.before).sqrt() * (1 - self.before) / (1 - self.signal)

    @property
    def posterior_variance(self) -> Tensor:
        """The variance of the posterior, zero at the first step."""
        return self.beta * (1 - self.before) / (1 - self.signal)


def reverse_variance(
    chain: Chain, kind: Literal["learned", "beta", "posterior"], step: Tensor, error: Tensor
) -> Tensor:
    r"""The variance of :math:`p(x_{t-1} \mid x_t)`, with the shape ``(N, dims)`` of ``error``.

    A learned variance is :math:`\tilde\beta_t + a_t^2 e`, where e is the squared ``error`` that the denoiser expects of
    itself: with the true one it is the best variance. The others are that of the step's noise, and that of the
    posterior, which is zero at the first step and is taken from the second there. Steps, ``(N,)``, count from 0.

    Source: Bao et al., "Analytic-DPM: an Analytic Estimate of the Optimal Reverse Variance in Diffusion Probabilistic
    Models", 2022, arXiv:2201.06503; the other two are those of Ho, Jain and Abbeel, 2020.
    """
    match kind:
        case "learned":
            return chain.posterior_variance[step][:, None] + chain.clean_weight[step][:, None].square() * error
        case "posterior" if len(chain.signal) > 1:
            return chain.posterior_variance[step.clamp(min=1)][:, None].expand_as(error)
        case _:
            return chain.beta[step][:, None].expand_as(error)


def prior_rate(signal: Tensor, square: Tensor) -> Tensor:
    """``KL(q(x_T | x_0) || N(0, 1))`` of each dimension in nats, from the last signal and the square of ``x_0``."""
    return 0.5 * (signal * square - signal - (1 - signal).log())


def transition_rate(posterior_variance: Tensor, variance: Tensor, square: Tensor) -> Tensor:
    """``KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t))`` of each dimension in nats.

    Args:
        posterior_variance: that of q.
        variance: that of p.
        square: of the difference between the two means.
    """
    ratio = posterior_variance / variance
    return 0.5 * (ratio - 1 - ratio.log() + square / variance)


def ddim_step(x: Tensor, clean: Tensor, now: Tensor, then: Tensor, noise: Tensor, eta: float = 0.0) -> Tensor:
    """From the signal ``now`` to the greater signal ``then``, given what the clean example is held to be.

    With ``eta`` 0 nothing is drawn; with 1 the step is that of the posterior.

    Source: Song, Meng and Ermon, "Denoising Diffusion Implicit Models", 2021, arXiv:2010.02502, eqs. 12 and 16.
    """
    direction = (x - now.sqrt() * clean) / (1 - now).sqrt()
    variance = eta**2 * (1 - then) / (1 - now) * (1 - now / then)
    return then.sqrt() * clean + (1 - then - variance).clamp_min(0).sqrt() * direction + variance.sqrt() * noise


def discretised_gaussian(x: Tensor, mean: Tensor, scale: Tensor, levels: int) -> Tensor:
    r"""Log-probability of each integer ``x`` in nats: what a Gaussian has within half a level of it.

    The levels 0 to ``levels - 1`` lie evenly on [-1, 1], where ``mean`` and ``scale`` are; the outermost ones have the
    tails as well, so that the sum is one. Any distance has its finite logarithm: there is no floor.

    Source: Ho, Jain and Abbeel, 2020, arXiv:2006.11239, eq. 13.
    """
    half = 1 / (levels - 1)
    centre = 2 * half * x.to(mean) - 1
    low = torch.where(x == 0, -torch.inf, (centre - half - mean) / scale)
    high = torch.where(x == levels - 1, torch.inf, (centre + half - mean) / scale)
    low, high = torch.where(low > 0, -high, low), torch.where(low > 0, -low, high)
    upper = torch.special.log_ndtr(high)
    log_p: Tensor = upper + torch.log1p(-(torch.special.log_ndtr(low) - upper).exp())
    return log_p
