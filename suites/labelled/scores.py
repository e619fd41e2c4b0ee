"""From densities and probabilities of labels to scores, each with its kind and its uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.models.model import Discrete, Space
from torchstone.results.record import Flat, Kind, Scalar, Score
from torchstone.suites.labelled.densities import ClassDensities, Given
from torchstone.suites.labelled.posterior import Posterior
from torchstone.suites.metrics.bootstrap import bootstrap_stderr
from torchstone.suites.metrics.bounds import effective_samples
from torchstone.suites.metrics.calibration import brier, calibration_null, expected_calibration_error
from torchstone.suites.metrics.classification import (
    accuracy_at,
    accuracy_coverage,
    area_under,
    credit,
    wilson_error,
)
from torchstone.suites.metrics.uncertainty import Mean, mean, replicate_stderr
from torchstone.suites.metrics.units import bits_per_dim

__all__ = ["COVERAGES", "Sheet", "candidate_scores", "prior_distance"]

COVERAGES = (0.5, 0.8, 0.9)  # at 1 it is the accuracy itself


@final
@dataclass(frozen=True)
class Sheet:
    """The scores of one model about the labels of one split.

    Attributes:
        y: the labels, ``(N,)``.
        posterior: what the model believes of them.
        kind: of what is computed from the posterior: exact, or an estimate where that is made of bounds.
        bins: of the calibration error.
    """

    y: Tensor
    posterior: Posterior
    kind: Kind
    bins: int

    @property
    def credits(self) -> Tensor:
        """``(N,)``, one where the most probable label is right."""
        return credit(self.posterior.log_prob, self.y)

    @property
    def columns(self) -> dict[str, Tensor]:
        """Values per example, ``(N,)`` each, under the names of the metrics that are their means."""
        found = {
            "bayes_accuracy": self.credits,
            "label_nll": self.label_costs,
            "brier": brier(self.posterior.probabilities, self.y),
            "information": self._told,
            "confidence": self.posterior.confidence,
        }
        return found if self.posterior.marginal is None else {**found, "nll": -self.posterior.marginal}

    @property
    def label_costs(self) -> Tensor:
        """``-log p(y|x)`` of the right label, ``(N,)`` nats; infinite where it is impossible."""
        return -self.posterior.log_prob.gather(1, self.y[:, None])[:, 0]

    def accuracy(self, metric: str = "bayes_accuracy") -> Score:
        """The share of right answers, with Wilson's interval."""
        return self._share(metric, float(self.credits.mean()), len(self.y), {})

    def labels(self, rng: torch.Generator) -> list[Score]:
        """How good the probabilities are: their cost, calibration, distance, and what they tell of the labels."""
        costs, told = mean(self.label_costs), mean(-self._told)
        interval = None if told.ci95 is None else (-told.ci95[1], -told.ci95[0])
        distance = mean(brier(self.posterior.probabilities, self.y))
        confidence = self.posterior.confidence
        low, high = calibration_null(confidence, rng, self.bins)
        null: dict[str, Scalar] = {"bins": self.bins, "null_mean": round(low, 4), "null_high": round(high, 4)}
        n, credits, lost = len(self.y), self.credits, {"nonfinite": costs.nonfinite}

        def error(rows: Tensor) -> float:
            return expected_calibration_error(confidence[rows], credits[rows], self.bins)

        spread = bootstrap_stderr(error, n, rng)
        return [
            Score("label_nll", costs.value, "nats/label", self.kind, False, costs.stderr, costs.ci95, n, lost),
            Score("ece", error(torch.arange(n)), "probability", self.kind, False, spread, n=n, parameters=null),
            Score("brier", distance.value, "probability²", self.kind, False, distance.stderr, distance.ci95, n),
            Score("information", -told.value, "nats", Kind.LOWER_BOUND, True, told.stderr, interval, n, lost),
        ]

    def refusals(self, rng: torch.Generator) -> list[Score]:
        """Accuracy where the least certain, and where the least likely examples are refused."""
        found = self._refused("selection", self.posterior.confidence, "max_softmax", rng)
        if self.posterior.marginal is not None:
            found += self._refused("rejection", self.posterior.marginal, "log_marginal", rng)
        return found

    def densities(self, given: Given, how: ClassDensities, space: Space) -> list[Score]:
        """The negative log-densities with the right label and with none, in bits per dimension where there are such."""
        place = self.y[:, None]
        assert self.posterior.marginal is not None
        conditional, marginal = mean(-given.nats.gather(1, place)[:, 0]), mean(-self.posterior.marginal)
        own = replicate_stderr(given.variances.gather(1, place)[:, 0], torch.full((len(self.y),), how.replicates))
        bits = bits_per_dim(1.0, space.dims) if isinstance(space.support, Discrete) else None
        name, unit, factor = ("bits_per_dim", "bits/dim", bits) if bits else ("nll", "nats/example", 1.0)
        error = None if own is None or conditional.nonfinite else own * factor
        return [
            _cost(f"conditional_{name}", unit, conditional.scaled(factor), how.kind, error),
            _cost(name, unit, marginal.scaled(factor), how.marginal_kind, None),
        ]

    @property
    def _told(self) -> Tensor:
        """By how much each label became more probable than it is among all of these, ``(N,)`` nats.

        Its mean is the entropy of the labels less their cost.
        """
        frequency = torch.bincount(self.y).double() / len(self.y)
        return -self.label_costs - frequency.log()[self.y]

    def _refused(self, name: str, scores: Tensor, by: str, rng: torch.Generator) -> list[Score]:
        credits, n = self.credits, len(self.y)
        curve = accuracy_coverage(credits, scores)
        error = bootstrap_stderr(lambda rows: area_under(accuracy_coverage(credits[rows], scores[rows])), n, rng)
        told: Flat = {"refused_by": by}
        return [
            Score(f"{name}_auc", area_under(curve), "accuracy", self.kind, True, error, n=n, parameters=told),
            *(self._share(name, *accuracy_at(curve, each), {**told, "coverage": each}) for each in COVERAGES),
        ]

    def _share(self, metric: str, share: float, n: int, parameters: Flat) -> Score:
        """A share with Wilson's interval, and its half-width in standard normal units: never zero."""
        error, interval = wilson_error(share, n)
        return Score(metric, share, "accuracy", self.kind, True, error, interval, n, parameters)


def candidate_scores(log_weights: Tensor, rng: torch.Generator) -> list[Score]:
    """How many of its candidates a resampler of each class can use, as a share: on average over classes, and the least.

    Args:
        log_weights: ``(C, n)``, of the same candidates for every class.
        rng: on the CPU, for the standard errors.
    """
    n = log_weights.shape[1]

    def share(summary: Callable[[Tensor], Tensor]) -> Callable[[Tensor], float]:
        return lambda rows: float(summary(effective_samples(log_weights[:, rows], dim=1))) / n

    return [
        Score(name, used(torch.arange(n)), "share", Kind.ESTIMATE, True, bootstrap_stderr(used, n, rng), n=n)
        for name, used in (
            ("effective_candidates", share(torch.mean)), ("effective_candidates_least", share(torch.min)),
        )
    ]  # fmt: skip


def prior_distance(log_prior: Tensor, frequencies: Tensor) -> Score:
    """Half the sum of the differences between p(y) of a model and ``frequencies``, both ``(C,)``: from 0 to 1."""
    value = float((log_prior.exp() - frequencies).abs().sum()) / 2
    return Score("prior_distance", value, "probability", Kind.EXACT, False, n=len(frequencies))


def _cost(metric: str, unit: str, cost: Mean, kind: Kind, own: float | None) -> Score:
    parameters = {"nonfinite": cost.nonfinite, **({} if own is None else {"estimator_stderr": own})}
    return Score(metric, cost.value, unit, kind, False, cost.stderr, cost.ci95, cost.n, parameters)
