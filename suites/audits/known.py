"""On data whose true density is known no normalised density does better than the truth."""

from __future__ import annotations

import math
from typing import ClassVar, final

from torchstone.models.model import Discrete
from torchstone.results.record import NO_DENSITY
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.subject import Density, Subject
from torchstone.suites.metrics.evidence import log_e_value, p_value, undefined, worth

__all__ = ["KnownSource"]

FAR = 0.1  # bits/dim, or nats/dim of continuous data, above the truth: a model that did not learn its source


@final
class KnownSource(Audit):
    """The e-value of the model against the source, on the test split, which is independent draws from it.

    A normalised density beats the truth by ``ln(1 / alpha)`` nats over all examples with a probability of at most
    alpha. That it comes near the truth is quality, and flagged where it does not.
    """

    name: ClassVar[str] = "known source"
    claim: ClassVar[str] = "The model does not beat the density that the data were drawn from."

    def audit(self, subject: Subject) -> Finding:
        """Test the sum of ``log p - log r`` over the test split, and flag a density far below the truth."""
        source = subject.data.source
        if source is None:
            return Finding.not_applicable("The true density of these data is not known; data=markov has one.")
        if subject.density is Density.NONE:
            return Finding.not_applicable(NO_DENSITY)
        if subject.conditional:
            return Finding.not_applicable("The model is conditional, and the source is not.")
        x, y = subject.test()
        log_p, log_r = subject.log_density(x, y, "known source"), source.log_prob(x)
        evidence, n = log_e_value(log_p, log_r), len(x)
        below = float((log_r - worth(log_p)).mean()) / subject.space.dims
        discrete = isinstance(subject.data.space.support, Discrete)
        below, unit = (below / math.log(2), "bits/dim") if discrete else (below, "nats/dim")
        words = f"Over {n} examples the model is {abs(evidence):.4g} nats "
        words += f"{'above' if evidence > 0 else 'below'} the truth, {below:.3g} {unit} of excess."
        power = f"Would see {math.log(1e4) / n:.2g} nats per example above the truth, at a level of 1e-4."
        if not subject.sound:
            words += " Its bound is a draw whose exponential may be too large, so that this is no test."
            return Finding(Verdict.INCONCLUSIVE, Grade.DECLARED, words, evidence).counting(undefined(log_p))
        found = Finding.tested(p_value(evidence), evidence, words, power)
        if below > FAR:
            words += f" That is more than {FAR} {unit}: it has not learned its source."
            found = Finding(Verdict.FLAG, Grade.TESTED, words, evidence, found.p_value, power)
        return found.counting(undefined(log_p))
