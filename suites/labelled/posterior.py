"""Probabilities of labels, from densities by Bayes' rule or from a classifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

__all__ = ["Posterior", "by_bayes_rule", "given_by"]


@final
@dataclass(frozen=True, slots=True)
class Posterior:
    """What is believed of the labels of every example.

    Attributes:
        log_prob: ``(N, C)`` nats; all minus infinity where no label is possible.
        marginal: ``log p(x)``, ``(N,)`` nats; None where there is no density.
        impossible: ``(N,)``, whether an example is impossible given every label: its labels have no probability.
    """

    log_prob: Tensor
    marginal: Tensor | None
    impossible: Tensor

    @property
    def probabilities(self) -> Tensor:
        """``(N, C)``; zero throughout where no label is possible."""
        return self.log_prob.exp()

    @property
    def confidence(self) -> Tensor:
        """The largest probability of each example, ``(N,)``; zero where no label is possible."""
        return self.probabilities.amax(1).clamp(max=1.0)


def by_bayes_rule(given: Tensor, log_prior: Tensor) -> Posterior:
    """``log p(y|x) = log p(x|y) + log p(y) - log sum_c p(c) p(x|c)``.

    Args:
        given: ``log p(x|y)``, ``(N, C)`` nats, where minus infinity is legitimate and NaN is not.
        log_prior: ``log p(y)``, ``(C,)`` nats.
    """
    joint = given.double() + log_prior.double()
    marginal = joint.logsumexp(1)
    impossible = marginal == -math.inf
    shifted = joint - torch.where(impossible, 0.0, marginal)[:, None]
    return Posterior(shifted, marginal, impossible)


def given_by(log_prob: Tensor) -> Posterior:
    """The probabilities of labels that a classifier gives, ``(N, C)`` nats."""
    return Posterior(log_prob.double(), None, torch.zeros(len(log_prob), dtype=torch.bool))
