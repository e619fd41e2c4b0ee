"""The conditional suite: densities given a label, labels that follow from them by Bayes' rule, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, final

import torch
from annotated_types import Ge
from torch import Tensor

from torchstone.models.checks import space_of
from torchstone.models.model import (
    Discrete,
    Discriminative,
    ExplicitApproximate,
    ExplicitExact,
    ImportanceResampler,
    Joint,
    Model,
    Tokenised,
    family,
)
from torchstone.results.record import Flat, Kind, Score
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.labelled.densities import ClassDensities, ask_labels, own_prior
from torchstone.suites.labelled.portraits import portraits
from torchstone.suites.labelled.posterior import by_bayes_rule, given_by
from torchstone.suites.labelled.scores import Sheet, candidate_scores, prior_distance
from torchstone.suites.labelled.words import about_densities, cannot_reject, impossible, inconsistency
from torchstone.suites.metrics.units import bits_per_dim
from torchstone.suites.questions import refusal, validated
from torchstone.suites.samplers import ask_candidate_weights
from torchstone.suites.suite import Evaluation, Suite

__all__ = ["Conditional"]


@final
@dataclass(frozen=True)
class Conditional(Suite):
    """Class-conditional densities, and the classifier that each of them is by Bayes' rule.

    ``log p(y|x) = log p(x|y) + log p(y) - log sum_c p(c) p(x|c)``, for every example and label. Models that only bound
    their density are asked with the same noise for every label. A classifier is measured beside them: it has no
    density, and so no bits, and no input that it can call unlikely.

    Attributes:
        split: which split is measured.
        prior: the p(y) that is given to a model that states none: the frequencies of the training split, or uniform.
        importance_samples: draws K of the bound of a latent-variable model, for every example and label.
        replicates: how often another model is asked where its answer is stochastic.
        bins: of the calibration error, of equal mass.
        candidates: draws from which the effective share of an importance resampler is estimated.
        block: examples per stochastic question; part of what defines the random numbers.
    """

    name: ClassVar[str] = "conditional"
    version: ClassVar[int] = 1
    default_models: ClassVar[tuple[str, ...]] = (
        "independent", "mixture", "transformer", "vae", "bayes", "classifier",
    )  # fmt: skip
    model_settings: ClassVar[Mapping[str, object]] = {"conditional": True}
    about_labels: ClassVar[bool] = True
    metrics: ClassVar[Mapping[str, str]] = {
        "bayes_accuracy": "share of labels that are the most probable one given the example",
        "bayes_accuracy_one_draw": "the same from a single draw of each bound",
        "conditional_bits_per_dim": "-log2 p(x|y) with the right label, per dimension as stored",
        "bits_per_dim": "-log2 of the sum over labels of p(y) p(x|y): comparable to models without labels",
        "conditional_nll": "the first of the two in nats per example, for continuous data",
        "nll": "the second of the two in nats per example, for continuous data",
        "label_nll": "-log p(y|x) of the right label, nats",
        "ece": "distance of confidence and accuracy over bins of equal mass",
        "brier": "squared distance of the probabilities of all labels from the right one",
        "information": "what the example tells of its label: entropy of the labels minus label_nll",
        "selection_auc": "mean accuracy over coverages, the least certain examples refused first",
        "selection": "accuracy at a coverage, the least certain examples refused",
        "rejection_auc": "mean accuracy over coverages, the least likely examples refused first",
        "rejection": "accuracy at a coverage, the least likely examples refused",
        "prior_distance": "total variation between the p(y) that a model states and the training frequencies",
        "effective_candidates": "share of the candidates of a resampler that it can use, mean over classes",
        "effective_candidates_least": "the same of the class that can use the fewest",
    }
    standard: ClassVar[Mapping[str, object]] = {"importance_samples": 1000}

    split: Literal["test", "validation", "train"] = "test"
    prior: Literal["training", "uniform"] = "training"
    importance_samples: Annotated[int, Ge(1)] = 100
    replicates: Annotated[int, Ge(1)] = 10
    bins: Annotated[int, Ge(1)] = 15
    candidates: Annotated[int, Ge(1)] = 1000
    block: Annotated[int, Ge(1)] = 50

    def skip(self, model: Model, data: Dataset) -> str | None:
        """Data without labels, and models that take none, have no density given them, and are no classifiers."""
        name = type(model).__name__
        if data.space.classes is None:
            return f"{data.name} has no labels, and the conditional suite is about them; choose such as data=digits."
        if data.space.classes < 2:
            return f"{data.name} has one class, and there is nothing to tell apart; choose data with several."
        if not isinstance(model, ExplicitExact | ExplicitApproximate | Discriminative):
            return (
                f"{name} is {family(model)} and has no density: by Bayes' rule a label follows from log p(x|y), which "
                "samples do not give."
            )
        if isinstance(model, Tokenised):
            return f"{name} has a vocabulary of its own; the conditional suite is for examples of fixed dimensions."
        if space_of(model).classes is None:
            return f"{name} takes no labels here; set model.conditional=true, or compose it with one by model=bayes."
        return refusal(model, data, self.split)

    def evaluate(self, model: Model, data: Dataset, context: Context) -> Evaluation:
        """Scores from ``bayes_accuracy`` on; per-example columns of costs, confidence, and whether a label is right."""
        y = data.split(self.split).y
        assert y is not None
        with validated():
            if isinstance(model, ExplicitExact | ExplicitApproximate):
                found = self._by_densities(model, data, y, context)
            else:
                assert isinstance(model, Discriminative)
                found = self._by_classifier(model, data, y, context)
            sheet = found.sheet
            rng = context.rng("labels", device="cpu")
            scores = [*found.scores, *sheet.labels(rng), *sheet.refusals(rng)]
            notes = [*found.notes, *impossible(sheet.posterior)]
            if isinstance(model, ImportanceResampler):
                weights = ask_candidate_weights(model, self.candidates, context, "candidates")
                scores += candidate_scores(weights, rng)
            figures, words = portraits(sheet, model, data, context)
        contract = {
            **data.contract(self.split), "quantity": "labels", "conditional": True,
            "prior": "the model's own" if isinstance(model, Joint) else self.prior, **found.contract,
        }  # fmt: skip
        columns = {**found.columns, **sheet.columns}
        ids = data.split(self.split).ids
        return Evaluation(tuple(scores), contract, ids, columns, (*notes, *words), figures=figures)

    def _by_densities(
        self, model: ExplicitExact | ExplicitApproximate, data: Dataset, y: Tensor, context: Context
    ) -> _Found:
        how = ClassDensities(model, data, self.split, self.importance_samples, self.replicates, self.block, context)
        log_prior = own_prior(model) if isinstance(model, Joint) else self._log_prior(data)
        given = how.ask()
        kind = Kind.ESTIMATE if how.stochastic else Kind.EXACT
        sheet = Sheet(y, by_bayes_rule(given.nats, log_prior), kind, self.bins)
        scores, notes = [sheet.accuracy()], about_densities(given, y, log_prior, how)
        if how.stochastic:
            alone = Sheet(y, by_bayes_rule(given.first, log_prior), kind, self.bins)
            scores.append(alone.accuracy("bayes_accuracy_one_draw"))
        scores += sheet.densities(given, how, data.space)
        if isinstance(model, Joint):
            scores.append(prior_distance(log_prior, _frequencies(data)))
            notes += [] if how.stochastic else inconsistency(how.marginals(), sheet.posterior, type(model).__name__)
        cost = -given.nats.gather(1, y[:, None])[:, 0]
        columns = {"conditional_nll": cost}
        if isinstance(data.space.support, Discrete):
            columns["conditional_bits_per_dim"] = cost * bits_per_dim(1.0, data.space.dims)
        return _Found(sheet, tuple(scores), how.contract(), columns, tuple(notes))

    def _by_classifier(self, model: Discriminative, data: Dataset, y: Tensor, context: Context) -> _Found:
        log_prob, dequantised = ask_labels(model, data, self.split, self.block, context)
        kind = Kind.ESTIMATE if dequantised else Kind.EXACT
        sheet = Sheet(y, given_by(log_prob), kind, self.bins)
        contract = {
            "kind": kind.value, "dequantisation": "uniform" if dequantised else "none", "estimator": "exact",
            "importance_samples": None,
        }  # fmt: skip
        return _Found(sheet, (sheet.accuracy(),), contract, {}, (cannot_reject(type(model).__name__),))

    def _log_prior(self, data: Dataset) -> Tensor:
        """The p(y) for a model that states none; a class without training examples is impossible."""
        frequencies = _frequencies(data)
        if self.prior == "training":
            return frequencies.log()
        return torch.full_like(frequencies, -math.log(len(frequencies)))


@final
@dataclass(frozen=True, slots=True)
class _Found:
    """What was asked of one model: its scores so far, and what goes with them."""

    sheet: Sheet
    scores: tuple[Score, ...]
    contract: Flat
    columns: Mapping[str, Tensor]
    notes: tuple[str, ...]


def _frequencies(data: Dataset) -> Tensor:
    """How often each class is in the training split, ``(C,)``."""
    y, classes = data.split("train").y, data.space.classes
    assert y is not None and classes is not None
    return torch.bincount(y, minlength=classes).double() / len(y)
