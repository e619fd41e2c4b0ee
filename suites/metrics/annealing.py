"""Annealed importance sampling: bounds on ``ln p(x)`` from chains that lead from the prior to the posterior, and back.

The path between them is ``f_t(z) = p(z) p(x|z)^t``. All chains of all examples are rows of one batch, chain after
chain: row ``c N + n`` is chain c of example n.

Sources: Annealed Importance Sampling (Neal, 2001; arXiv:physics/9803008); Sandwiching the marginal likelihood using
bidirectional Monte Carlo (Grosse, Ghahramani and Adams, 2015; arXiv:1511.02543); On the Quantitative Analysis of
Decoder-Based Generative Models (Wu, Burda, Salakhutdinov and Grosse, 2017; arXiv:1611.04273).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.models.model import ModelError
from torchstone.suites.metrics.bounds import effective_samples, importance_weighted_bound

__all__ = [
    "Annealed",
    "Path",
    "State",
    "Transition",
    "anneal",
    "anneal_back",
    "chain_variance",
    "linear",
    "lower_bound",
    "sigmoid",
    "upper_bound",
]


def linear(steps: int) -> Tensor:
    """Temperatures ``k / T`` for k from 0 to T, ``(T + 1,)`` float64, where T counts intervals.

    Raises:
        ValueError: where there is no interval.
    """
    if steps < 1:
        raise ValueError(f"A schedule needs at least one interval, got steps={steps}.")
    return torch.arange(steps + 1, dtype=torch.float64) / steps


def sigmoid(steps: int, radius: float = 4.0) -> Tensor:
    r"""Temperatures that are dense at both ends, ``(T + 1,)`` float64.

    .. math:: t_k = \frac{s(r (2k/T - 1)) - s(-r)}{s(r) - s(-r)}, \qquad s(a) = 1 / (1 + e^{-a})

    Raises:
        ValueError: where there is no interval, or the radius is not positive.

    >>> sigmoid(2).tolist()
    [0.0, 0.5, 1.0]
    """
    if radius <= 0:
        raise ValueError(f"The radius of a sigmoid schedule is above zero, got {radius}.")
    raw = torch.sigmoid(radius * (2 * linear(steps) - 1))
    return (raw - raw[0]) / (raw[-1] - raw[0])


@final
@dataclass(frozen=True, slots=True)
class State:
    """Where chains are, and all that was computed there: nothing of it has to be computed again.

    Attributes:
        z: ``(R, *latent)``.
        log_prior: ``(R,)`` float64.
        log_likelihood: ``(R,)`` float64.
        prior_gradient: of ``log_prior`` in ``z``, ``(R, *latent)``.
        likelihood_gradient: of ``log_likelihood`` in ``z``, ``(R, *latent)``.
    """

    z: Tensor
    log_prior: Tensor
    log_likelihood: Tensor
    prior_gradient: Tensor
    likelihood_gradient: Tensor

    def log_density(self, temperature: float) -> Tensor:
        """``ln p(z) + t ln p(x|z)``, ``(R,)``."""
        return self.log_prior + temperature * self.log_likelihood

    def moved(self, there: State, accepted: Tensor) -> State:
        """``there`` in rows that are accepted, this state in the others; nothing of a refused row gets through."""
        rows = accepted.view(-1, *[1] * (self.z.ndim - 1))
        return State(
            torch.where(rows, there.z, self.z),
            torch.where(accepted, there.log_prior, self.log_prior),
            torch.where(accepted, there.log_likelihood, self.log_likelihood),
            torch.where(rows, there.prior_gradient, self.prior_gradient),
            torch.where(rows, there.likelihood_gradient, self.likelihood_gradient),
        )


@final
@dataclass(frozen=True, slots=True)
class Path:
    """The two log-densities that make a path from prior to posterior, for N examples at once.

    Attributes:
        log_prior: ``ln p(z)`` of rows ``(R, *latent)``, ``(R,)``, differentiable in z.
        log_likelihood: ``ln p(x|z)`` of the same rows, where row ``c N + n`` belongs to example n.
        examples: N.
    """

    log_prior: Callable[[Tensor], Tensor]
    log_likelihood: Callable[[Tensor], Tensor]
    examples: int

    def at(self, z: Tensor) -> State:
        """Both log-densities and both gradients at ``z``.

        Raises:
            ModelError: where one of the two has no gradient in z, or not one value per row.
        """
        z, log_prior, log_likelihood = self._densities(z)
        gradients = _gradient("prior", log_prior, z), _gradient("likelihood", log_likelihood, z)
        return State(z.detach(), log_prior.detach().double(), log_likelihood.detach().double(), *gradients)

    def force(self, z: Tensor, temperature: float) -> Tensor:
        """The gradient of ``ln p(z) + t ln p(x|z)``, ``(R, *latent)``, in one backward pass."""
        z, log_prior, log_likelihood = self._densities(z)
        ones = torch.ones_like(log_prior)
        tilt = torch.full_like(log_likelihood, temperature)
        (gradient,) = torch.autograd.grad((log_prior, log_likelihood), z, (ones, tilt))
        return gradient

    def _densities(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            log_prior, log_likelihood = self.log_prior(z), self.log_likelihood(z)
        _check("prior", log_prior, len(z))
        _check("likelihood", log_likelihood, len(z))
        return z, log_prior, log_likelihood


def _check(name: str, answer: Tensor, rows: int) -> None:
    if answer.shape != (rows,):
        raise ModelError(
            f"The {name} gives log-densities of shape {tuple(answer.shape)} for {rows} latents, where ({rows},) is "
            "due: wrap it in torch.distributions.Independent so that it covers its whole event."
        )


def _gradient(name: str, log_density: Tensor, z: Tensor) -> Tensor:
    gradient = None
    if log_density.requires_grad:
        (gradient,) = torch.autograd.grad(log_density, z, torch.ones_like(log_density), allow_unused=True)
    if gradient is None:
        raise ModelError(
            f"The log-density of the {name} has no gradient in the latent, which annealing with Hamiltonian dynamics "
            "follows: compute it by differentiable operations of z, without no_grad or detach, on a continuous latent."
        )
    return gradient


class Transition(ABC):
    """Moves chains so that the density ``f_t`` at one temperature stays as it is."""

    @abstractmethod
    def step(self, path: Path, state: State, k: int, rng: torch.Generator) -> tuple[State, Tensor]:
        """The next state at temperature number ``k`` of the schedule, and which rows moved, bool ``(R,)``."""


@final
@dataclass(frozen=True, slots=True)
class Annealed:
    """What the chains of one run collected.

    Attributes:
        log_weights: ``(C, N)`` float64.
        acceptance: ``(T - 1, N)`` float64, the share of chains whose move was accepted, at t_1 to t_{T-1} whichever way
            the run went.
    """

    log_weights: Tensor
    acceptance: Tensor

    @property
    def refusal(self) -> str | None:
        """A sentence where no move of any chain was ever accepted, so that nothing was annealed; else None."""
        if self.acceptance.numel() == 0 or bool((self.acceptance > 0).any()):
            return None
        return (
            "Hamiltonian dynamics diverged: no move was accepted at any temperature, so that the chains never left "
            "where they began; look for gradients of the likelihood or prior that are not finite or far too steep."
        )


def anneal(path: Path, z: Tensor, temperatures: Tensor, transition: Transition, rng: torch.Generator) -> Annealed:
    """Run chains from the prior towards the posterior; ``E exp(log_weights) = p(x)`` for every chain.

    ``ln w = sum_k (t_k - t_{k-1}) ln p(x|z_{k-1})``: a stochastic lower bound on ``ln p(x)``, see `lower_bound`.

    Args:
        path: the densities, for N examples.
        z: exact draws from the prior, ``(C N, *latent)``, chain after chain.
        temperatures: from 0 to 1, ``(T + 1,)``; see `linear` and `sigmoid`.
        transition: leaves each ``f_t`` as it is, and learns nothing from the run.
        rng: of every draw, on the device of ``z``.
    """
    order = range(1, len(temperatures))
    return _run(path, z, temperatures, transition, rng, order, -1)


def anneal_back(path: Path, z: Tensor, temperatures: Tensor, transition: Transition, rng: torch.Generator) -> Annealed:
    """Run chains from the posterior back to the prior; ``E exp(log_weights) = 1 / p(x)`` for every chain.

    A stochastic upper bound on ``ln p(x)``, see `upper_bound`. ``z`` has to be exact draws from the posterior, and such
    exist only for simulated data: draw z from the prior, then x given z. On any other data the result bounds nothing.
    """
    order = range(len(temperatures) - 2, -1, -1)
    return _run(path, z, temperatures, transition, rng, order, 1)


def _run(
    path: Path, z: Tensor, temperatures: Tensor, transition: Transition, rng: torch.Generator, order: range, back: int
) -> Annealed:
    """Weigh the step from temperature ``k + back`` to ``k``, then move at ``k``; moves at both ends weigh nothing."""
    times = temperatures.tolist()
    state = path.at(z)
    log_weights = torch.zeros_like(state.log_likelihood)
    acceptance = torch.zeros(max(0, len(times) - 2), path.examples, dtype=torch.float64)
    for k in order:
        log_weights = log_weights + (times[k] - times[k + back]) * state.log_likelihood
        if k != order[-1]:
            state, moved = transition.step(path, state, k, rng)
            acceptance[k - 1] = moved.view(-1, path.examples).double().mean(0).cpu()
    return Annealed(log_weights.view(-1, path.examples).cpu(), acceptance)


def lower_bound(annealed: Annealed) -> Tensor:
    """``ln (1/C) sum_c w_c`` within each example, ``(N,)`` nats: at most ``ln p(x)`` in expectation."""
    return importance_weighted_bound(annealed.log_weights)


def upper_bound(annealed: Annealed) -> Tensor:
    """``-ln (1/C) sum_c w_c`` of chains that ran back, ``(N,)`` nats: at least ``ln p(x)`` in expectation."""
    return -importance_weighted_bound(annealed.log_weights)


def chain_variance(annealed: Annealed) -> Tensor:
    """The variance of either bound by the delta method, ``1/ESS - 1/C``, ``(N,)``; NaN for one chain.

    It takes chains as independent: for chains that ran back from one and the same draw it is too small, and the spread
    over examples or repeats has to be used.
    """
    chains = len(annealed.log_weights)
    variance = (1 / effective_samples(annealed.log_weights) - 1 / chains).clamp_min(0)
    return variance if chains > 1 else torch.full_like(variance, torch.nan)
