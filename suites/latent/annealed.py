"""Annealed importance sampling on real examples, and from both sides on examples that the model simulated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.models.model import LatentVariable, ModelError
from torchstone.models.randomness import draw
from torchstone.suites.context import Context
from torchstone.suites.latent.examples import Rows
from torchstone.suites.metrics.annealing import Annealed, anneal, anneal_back, chain_variance, lower_bound, sigmoid
from torchstone.suites.metrics.annealing import upper_bound as upper_of
from torchstone.suites.metrics.hmc import HMC, pilot
from torchstone.suites.questions import ask_path
from torchstone.suites.supports import repeats, unvalidated

__all__ = ["Annealing", "Bracket", "annealed", "bracketed", "sandwiched"]

PILOT_CHAINS = 4


@final
@dataclass(frozen=True, slots=True)
class Annealing:
    """How chains are run; see the settings of the elbo suite, and of ``stops`` `pilot`."""

    temperatures: int
    chains: int
    leapfrog: int
    stops: int = 20


@final
@dataclass(frozen=True, slots=True)
class Bracket:
    """Bounds ``(N,)`` on ``log p(x)`` in nats from annealed chains, their variances, and how the chains moved.

    Attributes:
        lower: log-mean-exp over forward chains.
        lower_variance: of each, by the spread of its chains.
        upper: from reverse chains that start at the latents that the examples were made of; None for real examples.
        acceptance: at each temperature, ``(T - 1,)``, over chains and examples; the lower one of the two runs, where
            there are two.
        refusal: a sentence where no proposal was ever accepted.
    """

    lower: Tensor
    lower_variance: Tensor
    upper: Tensor | None
    acceptance: Tensor
    refusal: str | None


def annealed(model: LatentVariable, rows: Rows, how: Annealing, context: Context, purpose: str) -> Bracket:
    """A lower bound for each example of ``rows``, by forward annealing from the model's own prior.

    Source: Annealed Importance Sampling (Neal, 2001); On the Quantitative Analysis of Decoder-Based Generative Models
    (Wu, Burda, Salakhutdinov and Grosse, 2017; arXiv:1611.04273).
    """
    with unvalidated():
        sizes = _pilot(model, rows, how, context, purpose)
        return _bracket(_forward(model, rows, how, sizes, context, purpose), None)


def bracketed(model: LatentVariable, n: int, y: Tensor | None, how: Annealing, context: Context) -> Bracket:
    """Lower and upper bounds for ``n`` examples simulated from the model, whose true latents are known.

    Args:
        model: simulates the examples.
        n: how many.
        y: ``(n,)`` labels, where the model takes them.
        how: the chains.
        context: device, generators, progress.
    """
    with unvalidated(), torch.no_grad():
        prior = model.prior(y)
        latents = draw(prior, context.rng("simulated/latents"), () if prior.batch_shape else (n,))
        rows = Rows(draw(model.likelihood(latents, y), context.rng("simulated/examples")), y)
    return sandwiched(model, rows, latents, how, context, "simulated")


def sandwiched(
    model: LatentVariable, rows: Rows, latents: Tensor, how: Annealing, context: Context, purpose: str
) -> Bracket:
    """Lower and upper bounds for examples that were simulated from the model, each at one of ``latents``.

    Forward and reverse runs share no noise. The reverse chains of one example share its latent.

    Source: Sandwiching the Marginal Likelihood Using Bidirectional Monte Carlo (Grosse, Ghahramani and Adams, 2015;
    arXiv:1511.02543).
    """
    with unvalidated():
        sizes = _pilot(model, rows, how, context, purpose)
        forward = _forward(model, rows, how, sizes, context, purpose)
        temperatures = sigmoid(how.temperatures)
        start = latents.repeat(how.chains, *(1 for _ in latents.shape[1:]))
        reverse = anneal_back(
            ask_path(model, rows.x, rows.y, how.chains),
            start,
            temperatures,
            HMC(temperatures, sizes, how.leapfrog),
            context.rng(f"{purpose}/reverse"),
        )
        return _bracket(forward, reverse)


def _bracket(forward: Annealed, reverse: Annealed | None) -> Bracket:
    acceptance, refusal, upper = forward.acceptance.mean(1), forward.refusal, None
    if reverse is not None:
        acceptance = torch.minimum(acceptance, reverse.acceptance.mean(1))
        refusal, upper = refusal or reverse.refusal, upper_of(reverse)
    return Bracket(lower_bound(forward), chain_variance(forward), upper, acceptance, refusal)


def _forward(
    model: LatentVariable, rows: Rows, how: Annealing, sizes: Tensor, context: Context, purpose: str
) -> Annealed:
    temperatures = sigmoid(how.temperatures)
    return anneal(
        ask_path(model, rows.x, rows.y, how.chains),
        _prior_draws(model, rows, how.chains, context.rng(f"{purpose}/start")),
        temperatures,
        HMC(temperatures, sizes, how.leapfrog),
        context.rng(f"{purpose}/forward"),
    )


def _pilot(model: LatentVariable, rows: Rows, how: Annealing, context: Context, purpose: str) -> Tensor:
    """Step sizes, from chains of their own that are thrown away."""
    return pilot(
        ask_path(model, rows.x, rows.y, PILOT_CHAINS),
        _prior_draws(model, rows, PILOT_CHAINS, context.rng(f"{purpose}/pilot/start")),
        sigmoid(how.temperatures),
        context.rng(f"{purpose}/pilot"),
        leapfrog=how.leapfrog,
        stops=how.stops,
    )


def _prior_draws(model: LatentVariable, rows: Rows, chains: int, rng: torch.Generator) -> Tensor:
    """``(chains * N, *latent)``: chain after chain.

    Raises:
        ModelError: a number repeats in most of them, so that their density is none over real numbers, whatever it says.
    """
    with torch.no_grad():
        prior = model.prior(rows.y)
        drawn = draw(prior, rng, (chains,) if prior.batch_shape else (chains, len(rows))).flatten(0, 1)
    if repeats(drawn):
        raise ModelError(
            f"the prior of {type(model).__name__} draws numbers that repeat: Hamiltonian dynamics needs a density over "
            "real numbers, and these have probabilities."
        )
    return drawn
