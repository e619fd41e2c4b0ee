"""How far the ELBO is from the truth, and whether the posterior's family or its encoder is to blame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.models.model import LatentVariable
from torchstone.suites.context import Context
from torchstone.suites.latent.examples import Rows
from torchstone.suites.supports import log_prob_within, unvalidated
from torchstone.suites.variational_family import family_refusal, log_weights, optimise

__all__ = ["Optimum", "best_posteriors"]

FRESH = 1000  # draws that judge an optimised posterior


@final
@dataclass(frozen=True, slots=True)
class Optimum:
    """The ELBO ``(N,)`` of the best posterior of the family that was found for each example, on fresh draws.

    Attributes:
        elbo: nats.
        variance: of each, the estimator's own.
        converged: the share of examples whose search ended by itself.
    """

    elbo: Tensor
    variance: Tensor
    converged: float


def best_posteriors(model: LatentVariable, rows: Rows, context: Context) -> Optimum | str:
    """Optimise the posterior of each example within its family; a sentence where the family cannot be rebuilt.

    Source: Inference Suboptimality in Variational Autoencoders (Cremer, Li and Duvenaud, 2018; arXiv:1801.03558).
    """
    with torch.no_grad():
        posterior = model.posterior(rows.x, rows.y)
    refusal = family_refusal(posterior)
    if refusal is not None:
        return refusal
    log_joint = _LogJoint(model, rows)
    with unvalidated():
        best = optimise(posterior, log_joint, context.rng("gaps/search"))
        weights = log_weights(best.posterior, log_joint, context.rng("gaps/fresh"), FRESH)
    return Optimum(weights.mean(0), weights.var(0) / FRESH, float(best.converged.double().mean()))


class _LogJoint:
    """``log p(x|z) + log p(z)`` for latents ``(S, N, *latent)``, ``(S, N)`` nats."""

    def __init__(self, model: LatentVariable, rows: Rows) -> None:
        self.model, self.rows = model, rows

    def __call__(self, z: Tensor) -> Tensor:
        draws, n = z.shape[:2]
        y = None if self.rows.y is None else self.rows.y.repeat(draws)
        likelihood = self.model.likelihood(z.flatten(0, 1), y)
        x = self.rows.x.expand(draws, *self.rows.x.shape).flatten(0, 1)
        return likelihood.log_prob(x).view(draws, n) + log_prob_within(self.model.prior(self.rows.y), z)
