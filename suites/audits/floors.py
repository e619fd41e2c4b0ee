"""Entropy floors: no density beats a known one on its own draws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from torchstone.models.model import Discrete, Tokenised
from torchstone.results.record import NO_DENSITY
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.references import Reference, references
from torchstone.suites.audits.subject import Density, Subject
from torchstone.suites.metrics.evidence import average, log_bet, p_value, undefined, worth
from torchstone.suites.pictures.audits import entropy_floors

__all__ = ["EntropyFloors"]

WEIGHTS = 16
DRAWS = 32  # of a noisy bound, whose mean over them is taken
STAKES = (1.0, 0.5)
SURE, ODD = 4.0, 1e-6  # standard errors beyond which, and a p-value at which, a noisy bound is flagged


@final
class EntropyFloors(Audit):
    """The model's density against references whose density is known, on new draws of theirs.

    On draws of r no normalised density is above r on average, and the product of their ratios is an e-value; the
    evidence is the mean of the e-values of all references. A model that sees what it is to predict beats them. What is
    too large only on likely data is not seen, unless the data's own source is known and among the references. A bound
    whose draws are right in the mean alone may honestly be above a reference on most of them, and is flagged at most.
    """

    name: ClassVar[str] = "entropy floors"
    claim: ClassVar[str] = "On draws from a known density the model is not better than that density."

    def audit(self, subject: Subject) -> Finding:
        """Compare with every reference."""
        if isinstance(subject.model, Tokenised):
            return Finding.not_applicable("Draws of a reference are no text in the model's vocabulary.")
        if subject.density is Density.NONE:
            return Finding.not_applicable(NO_DENSITY)
        n, dims = subject.examples, subject.space.dims
        evidence: dict[str, float] = {}
        excess: dict[str, float] = {}
        amplitudes, bits, floors = [], [], []
        broken = 0
        for reference in references(subject, n):
            purpose = f"entropy floors/{reference.name}"
            answers = _answers(subject, reference, purpose)
            log_p, broken = worth(answers), broken + undefined(answers)
            evidence[reference.name] = _evidence(subject, log_p - reference.log_r)
            excess[reference.name] = float((log_p - reference.log_r).mean())
            if reference.amplitude is not None:
                amplitudes.append(reference.amplitude)
                bits.append(-float(log_p.mean()) / dims / math.log(2))
                floors.append(-float(reference.log_r.mean()) / dims / math.log(2))
        statistic = average(list(evidence.values()))
        worst = max(evidence, key=lambda name: (evidence[name], excess[name]))
        unit = 1.0 if not isinstance(subject.data.space.support, Discrete) else dims * math.log(2)
        margin = f"{-excess[worst] / unit:+.4g} {'nats' if unit == 1.0 else 'bits/dim'}"
        nearest = f"Of {len(evidence)} floors the nearest is that of {worst}: {margin} lie above it."
        pictures = {"entropy_floors": entropy_floors(amplitudes, bits, floors)} if amplitudes else {}
        if not subject.sound:
            needed = (math.log(1 / ODD) + math.log(len(evidence))) / n
            return _heuristic(statistic, nearest, needed, pictures).counting(broken)
        visible = (math.log(1e4) + math.log(len(evidence) * len(STAKES))) / n
        return Finding.tested(
            p_value(statistic),
            statistic,
            nearest,
            f"Would see a model that is {visible:.3f} nats per example better than any of {len(evidence)} references, "
            f"at n = {n} draws of each.",
            pictures,
        ).counting(broken)


def _answers(subject: Subject, reference: Reference, purpose: str) -> Tensor:
    """``(n,)``: densities, weights or bounds; of a noisy bound the mean over draws."""
    if subject.sound:
        return subject.log_density(reference.x, reference.y, purpose, WEIGHTS)
    draws = [subject.log_density(reference.x, reference.y, f"{purpose}/{draw}") for draw in range(DRAWS)]
    return torch.stack(draws).mean(0)


def _evidence(subject: Subject, excess: Tensor) -> float:
    """The logarithm of an e-value; of a noisy bound the excess itself, less what its draws leave uncertain."""
    if subject.sound:
        return log_bet(excess, torch.zeros_like(excess), STAKES)
    n = len(excess)
    return float(excess.sum() - SURE * math.sqrt(n) * excess.std()) if bool(excess.isfinite().all()) else -math.inf


def _heuristic(statistic: float, nearest: str, needed: float, pictures: Mapping[str, bytes]) -> Finding:
    """Of a bound that is right in the mean alone: draws that are too large may be honest, and paid for by rare ones."""
    odd = p_value(statistic) <= ODD
    return Finding(
        Verdict.FLAG if odd else Verdict.INCONCLUSIVE,
        Grade.INVARIANT if odd else Grade.DECLARED,
        f"{nearest} The bound is a mean of draws, of which {DRAWS} were taken: that is no test, and can only flag.",
        statistic,
        power=f"Would flag a bound {needed:.3g} nats per example and {SURE:g} standard errors above a reference.",
        pictures=pictures,
    )
