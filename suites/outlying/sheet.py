"""From scores per example to what is printed: one number for each metric, score and set, and what is to be said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from torchstone.results.record import Flat, Kind, Score
from torchstone.suites.context import Context
from torchstone.suites.metrics.detection import Detection, detect
from torchstone.suites.metrics.uncertainty import Mean, paired_difference
from torchstone.suites.outlying.asking import Questions
from torchstone.suites.outlying.scores import BASELINES, Calibration
from torchstone.suites.outlying.sets import OutlierSet
from torchstone.suites.pictures.outliers import Histogram, auroc_grid, complexity_scatter, log_prob_histograms

__all__ = ["Asked", "Sheet"]

SHIFTED = "shifted"
METRICS = ("auroc", "aupr", "fpr95")


@final
@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of some examples.

    Attributes:
        costs: negative log-densities in nats, ``(N,)``; None without a density.
        bits: code lengths, ``(N,)``; None for continuous data.
        scores: all scores by name, ``(N,)`` each, those of the model first.
    """

    costs: Tensor | None
    bits: Tensor | None
    scores: Mapping[str, Tensor]

    @staticmethod
    def of(x: Tensor, questions: Questions, calibration: Calibration) -> Asked:
        """Ask about ``x``."""
        costs, softmax, bits = questions.costs(x), questions.softmax(x), calibration.code_length(x)
        scores = {} if costs is None else calibration.of_model(x, costs, bits)
        scores |= {} if softmax is None else {"max_softmax": softmax}
        return Asked(costs, bits, scores | calibration.baselines(x, bits))


@final
@dataclass(slots=True)
class Sheet:
    """Scores, columns, notes and pictures of one model, set by set."""

    inside: Asked
    calibration: Calibration
    estimator: str | None
    resamples: int
    context: Context
    _sets: dict[str, OutlierSet] = field(default_factory=dict)
    _asked: dict[str, Asked] = field(default_factory=dict)
    _found: dict[tuple[str, str, str], Detection] = field(default_factory=dict)
    _shift: Mean | None = None
    _notes: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        """Keep a reason."""
        self._notes.append(sentence)

    def add(self, made: OutlierSet, asked: Asked) -> None:
        """Take in one set of outliers."""
        self._sets[made.name], self._asked[made.name] = made, asked
        for score, inside in self.inside.scores.items():
            rng = self.context.rng(f"bootstrap/{score}/{made.name}", device="cpu")
            found = detect(inside, asked.scores[score], self.resamples, rng, paired=made.paired)
            self._found |= {(metric, score, made.name): each for metric, each in found.items()}
        if made.name == SHIFTED and asked.costs is not None and self.inside.costs is not None:
            self._shift = paired_difference(self.inside.costs, asked.costs)

    def scores(self) -> tuple[Score, ...]:
        """AUROCs first, those of the model's scores before the baselines', which have no other metric."""
        found = [
            self._score(metric, score, name)
            for metric in METRICS
            for score in self.inside.scores
            for name in self._sets
            if metric == "auroc" or score not in BASELINES
        ]
        return (*found, *self._shift_score())

    def _score(self, metric: str, score: str, name: str) -> Score:
        each, made = self._found[metric, score, name], self._sets[name]
        contract: dict[str, str | int] = {"set": made.fingerprint, "outliers": len(made.x)}
        if score in ("complexity", "baseline_code_length"):
            contract["code"] = self.calibration.code
        parameters: Flat = {"score": score, "outliers": name}
        if score not in (*BASELINES, "max_softmax"):
            parameters = {**parameters, "estimator": self.estimator}
        return Score(
            metric, each.value, "share", Kind.ESTIMATE, metric != "fpr95", each.stderr, each.ci95,
            len(self.inside.scores[score]), parameters, contract,
        )  # fmt: skip

    def _shift_score(self) -> tuple[Score, ...]:
        change = self._shift
        if change is None:
            return ()
        parameters: Flat = {"estimator": self.estimator, "nonfinite": change.nonfinite}
        contract: Flat = {"set": self._sets[SHIFTED].fingerprint}
        return (
            Score(
                "shift_log_prob_change", change.value, "nats/example", Kind.ESTIMATE, False, change.stderr, change.ci95,
                change.n, parameters, contract,
            ),
        )  # fmt: skip

    def columns(self) -> dict[str, Tensor]:
        """The scores of the test examples themselves, ``nll`` for the first."""
        return {"nll" if name == "neg_log_prob" else name: each for name, each in self.inside.scores.items()}

    def warnings(self) -> tuple[str, ...]:
        """What is left out and why, what was not finite, what is below chance, and what a baseline does as well."""
        if self.inside.costs is not None and self.calibration.entropy is None:
            self.note(
                "Typicality is left out: a log-density of the validation split was not finite, and it needs their mean."
            )
        return (*self._notes, *self._nonfinite(), *self._below_chance(), *self._matched())

    def _nonfinite(self) -> list[str]:
        asked = {"the data": self.inside, **self._asked}
        counts = {name: int((~each.costs.isfinite()).sum()) for name, each in asked.items() if each.costs is not None}
        lost = [f"{count} of {name}" for name, count in counts.items() if count]
        if not lost:
            return []
        return [f"Log-densities that were not finite each count as the most outlying there is: {', '.join(lost)}."]

    def _below_chance(self) -> list[str]:
        """Sets on which -log p is below chance by its whole interval."""
        areas = {name: self._found.get(("auroc", "neg_log_prob", name)) for name in self._sets}
        low = [f"{name} ({_two(each)})" for name, each in areas.items() if each and each.ci95 and each.ci95[1] < 0.5]
        if not low:
            return []
        return [
            f"This model gives outliers more density than the data, which the AUROC of -log p says: {', '.join(low)}."
        ]

    def _matched(self) -> list[str]:
        """Sets on which a baseline does as well as the first score."""
        first = next(iter(self.inside.scores))
        if first in BASELINES:
            return []
        found = []
        for name in self._sets:
            best = max((b for b in BASELINES if b in self.inside.scores), key=lambda b: self._area(b, name))
            if self._area(best, name) >= self._area(first, name):
                words = best.removeprefix("baseline_").replace("_", " ")
                found.append(f"{name} ({words} {self._area(best, name):.2f}, {first} {self._area(first, name):.2f})")
        if not found:
            return []
        return [f"A baseline that looks at no model does as well or better on {', '.join(found)}."]

    def _area(self, score: str, name: str) -> float:
        return self._found["auroc", score, name].value

    def figures(self) -> dict[str, bytes]:
        """Histograms, density against code length, and all areas; none where one cannot be drawn."""
        try:
            return self._drawn()
        except (ArithmeticError, RuntimeError, ValueError) as error:  # no picture is worth the numbers
            self.note(f"Its pictures could not be drawn: {str(error)[:100]}.")
            return {}

    def _drawn(self) -> dict[str, bytes]:
        names, scores = list(self._sets), list(self.inside.scores)
        areas = torch.tensor([[self._area(score, name) for score in scores] for name in names], dtype=torch.float64)
        found = {"auroc": auroc_grid(areas, names, scores)}
        inside = self.inside.costs
        if inside is None:
            return found
        dims, calibration = self.calibration.space.dims, self.calibration
        sets = [
            Histogram(name, -each.costs / dims, self._area("neg_log_prob", name))
            for name, each in self._asked.items()
            if each.costs is not None
        ]
        band = None if calibration.entropy is None else (-calibration.entropy, calibration.band)
        found["log_prob"] = log_prob_histograms(-inside / dims, sets, band)
        if self.inside.bits is not None:
            bits = {name: (each.bits, each.costs) for name, each in self._asked.items()}
            pairs = {n: (b / dims, -c / dims) for n, (b, c) in bits.items() if b is not None and c is not None}
            found["complexity"] = complexity_scatter((self.inside.bits / dims, -inside / dims), pairs)
        return found


def _two(each: Detection) -> str:
    return f"{each.value:.2f}"
