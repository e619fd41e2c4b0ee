"""Entropy floors: no density beats a known one on its own draws."""

from __future__ import annotations

import math
from typing import ClassVar, final

from torchstone.models.model import Discrete, Tokenised
from torchstone.suites.audits.audit import Audit, Finding
from torchstone.suites.audits.references import references
from torchstone.suites.audits.subject import Density, Subject
from torchstone.suites.metrics.evidence import average, log_bet, p_value, undefined, worth
from torchstone.suites.pictures.audits import entropy_floors

__all__ = ["EntropyFloors"]

WEIGHTS = 16
STAKES = (1.0, 0.5)


@final
class EntropyFloors(Audit):
    """The model's density against references whose density is known, on new draws of theirs.

    On draws of r no normalised density is above r on average, and the product of their ratios is an e-value; the
    evidence is the mean of the e-values of all references. A model that sees what it is to predict beats them. What is
    too large only on likely data is not seen, unless the data's own source is known and among the references.
    """

    name: ClassVar[str] = "entropy floors"
    claim: ClassVar[str] = "On draws from a known density the model is not better than that density."

    def audit(self, subject: Subject) -> Finding:
        """Compare with every reference."""
        if isinstance(subject.model, Tokenised):
            return Finding.not_applicable("Draws of a reference are no text in the model's vocabulary.")
        if subject.density is Density.NONE:
            return Finding.not_applicable("The model gives no density.")
        if not subject.sound:
            return Finding.not_applicable(
                "The model gives draws whose mean is a bound: exponentials of such draws may be too large, honestly."
            )
        n, dims = subject.examples, subject.space.dims
        evidence: dict[str, float] = {}
        excess: dict[str, float] = {}
        amplitudes, bits, floors = [], [], []
        broken = 0
        for reference in references(subject, n):
            purpose = f"entropy floors/{reference.name}"
            answers = subject.log_density(reference.x, reference.y, purpose, WEIGHTS)
            log_p, broken = worth(answers), broken + undefined(answers)
            evidence[reference.name] = log_bet(log_p, reference.log_r, STAKES)
            excess[reference.name] = float((log_p - reference.log_r).mean())
            if reference.amplitude is not None:
                amplitudes.append(reference.amplitude)
                bits.append(-float(log_p.mean()) / dims / math.log(2))
                floors.append(-float(reference.log_r.mean()) / dims / math.log(2))
        statistic = average(list(evidence.values()))
        worst = max(evidence, key=lambda name: (evidence[name], excess[name]))
        unit = 1.0 if not isinstance(subject.data.space.support, Discrete) else dims * math.log(2)
        margin = f"{-excess[worst] / unit:+.4g} {'nats' if unit == 1.0 else 'bits/dim'}"
        visible = (math.log(1e4) + math.log(len(evidence) * len(STAKES))) / n
        return Finding.tested(
            p_value(statistic),
            statistic,
            f"Of {len(evidence)} floors the nearest is that of {worst}: {margin} lie above it.",
            f"Would see a model that is {visible:.3f} nats per example better than any of {len(evidence)} references, "
            f"at n = {n} draws of each.",
            {"entropy_floors": entropy_floors(amplitudes, bits, floors)} if amplitudes else {},
        ).counting(broken)
