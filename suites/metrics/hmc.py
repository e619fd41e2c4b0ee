"""Hamiltonian Monte Carlo along an annealing path, with step sizes from a pilot run that are then frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.suites.metrics.annealing import Path, State, Transition

__all__ = ["HMC", "pilot"]

SMALLEST, LARGEST = 1e-4, 0.5


@final
@dataclass(frozen=True, slots=True)
class HMC(Transition):
    """One Hamiltonian trajectory per transition: fresh momentum, leapfrog steps, Metropolis-Hastings.

    A transition costs ``leapfrog`` evaluations of gradients and nothing else: log-densities and gradients where a chain
    stands are part of its state. A proposal that is not finite is refused.

    Source: MCMC using Hamiltonian dynamics (Neal, 2011; arXiv:1206.1901).

    Attributes:
        temperatures: of the schedule, ``(T + 1,)``.
        step_sizes: ``(T + 1, N)``, of every example at every temperature; see `pilot`.
        leapfrog: steps of a trajectory.
    """

    temperatures: Tensor
    step_sizes: Tensor
    leapfrog: int = 10

    def step(self, path: Path, state: State, k: int, rng: torch.Generator) -> tuple[State, Tensor]:
        """The next state at temperature number ``k``, and which rows moved."""
        temperature = float(self.temperatures[k])
        proposal, log_ratio = _trajectory(path, state, temperature, self.step_sizes[k], self.leapfrog, rng)
        uniform = torch.rand(len(log_ratio), generator=rng, dtype=torch.float64, device=rng.device)
        accepted = uniform.log() < log_ratio
        return state.moved(proposal, accepted), accepted


def _trajectory(
    path: Path, state: State, temperature: float, step_sizes: Tensor, leapfrog: int, rng: torch.Generator
) -> tuple[State, Tensor]:
    """Where fresh momentum takes every chain, and the log of the Metropolis-Hastings ratio: ``-inf`` if not finite."""
    z = state.z
    chains = len(z) // path.examples
    step = step_sizes.to(z).repeat(chains).view(-1, *[1] * (z.ndim - 1))
    start = torch.randn(z.shape, generator=rng, dtype=z.dtype, device=z.device)
    force = state.prior_gradient + temperature * state.likelihood_gradient
    momentum = start + step / 2 * force
    for _ in range(leapfrog - 1):
        z = _finite(torch.addcmul(z, step, momentum))
        momentum = torch.addcmul(momentum, step, path.force(z, temperature))
    there = path.at(_finite(torch.addcmul(z, step, momentum)))
    momentum = momentum + step / 2 * (there.prior_gradient + temperature * there.likelihood_gradient)
    arrived = there.log_density(temperature) - _kinetic(momentum)
    log_ratio = arrived - (state.log_density(temperature) - _kinetic(start))
    return there, torch.where(arrived.isfinite() & ~log_ratio.isnan(), log_ratio, -torch.inf)


def _finite(z: Tensor) -> Tensor:
    """``z`` with zeros for what is not finite, whose momentum is not finite either: it will be refused."""
    return z.nan_to_num_(0.0, 0.0, 0.0)


def _kinetic(momentum: Tensor) -> Tensor:
    return momentum.double().flatten(1).square().sum(1) / 2


def pilot(
    path: Path,
    z: Tensor,
    temperatures: Tensor,
    rng: torch.Generator,
    *,
    leapfrog: int = 10,
    stops: int = 20,
    rounds: int = 6,
    target: float = 0.65,
) -> Tensor:
    """Step sizes at which a share ``target`` of proposals is accepted, ``(T + 1, N)``, for each example by itself.

    Chains of the pilot's own pass ``stops`` of the temperatures. At each the step of an example grows where its
    proposals are accepted more often than the target, and shrinks where less (Robbins and Monro, 1951); the steps of
    the second half are averaged, and temperatures in between take a geometric mean of their neighbours. Steps stay
    between 1e-4 and 0.5. The estimate is then to be run with chains and a generator that the pilot has not seen: steps
    that follow the history of their own chain leave no density as it is.

    Args:
        path: the densities; as many examples as the estimate has, chains as many as ``z`` has.
        z: draws from the prior, ``(C N, *latent)``; four chains are enough.
        temperatures: those of the estimate, ``(T + 1,)``.
        rng: of every draw, on the device of ``z``.
        leapfrog: steps of a trajectory, as in the estimate.
        stops: how many temperatures are visited.
        rounds: trajectories at each.
        target: the share of proposals that is to be accepted.
    """
    visited = torch.linspace(0, len(temperatures) - 1, stops).round().long().tolist()
    state, found = path.at(z), []
    log_step = torch.full((path.examples,), 0.1, dtype=torch.float64).log()
    low, high = torch.tensor([SMALLEST, LARGEST], dtype=torch.float64).log().tolist()
    for stop in visited:
        late = []
        for turn in range(rounds):
            temperature = float(temperatures[stop])
            proposal, log_ratio = _trajectory(path, state, temperature, log_step.exp(), leapfrog, rng)
            uniform = torch.rand(len(log_ratio), generator=rng, dtype=torch.float64, device=rng.device)
            state = state.moved(proposal, uniform.log() < log_ratio)
            chance = log_ratio.clamp_max(0).exp().view(-1, path.examples).mean(0).cpu()
            log_step = (log_step + (chance - target) * 2 / (turn + 2)).clamp(low, high)
            late += [log_step] if turn >= rounds // 2 else []
        found.append(torch.stack(late).mean(0))
    between = torch.nn.functional.interpolate(
        torch.stack(found, 1)[None], size=len(temperatures), mode="linear", align_corners=True
    )
    return between[0].T.exp()
