"""What an audit is: one claim of an adapter, one test of it, and a verdict that says how surely it is meant."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar, final

from torchstone.suites.audits.subject import Subject

__all__ = ["Audit", "Finding", "Grade", "Verdict"]


class Verdict(StrEnum):
    """How an audit ended. Silence is never a pass."""

    PASS = "pass"
    FAIL = "fail"
    FLAG = "flag"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not-applicable"


class Grade(StrEnum):
    """How surely a verdict is meant."""

    PROVED = "A"
    """Exhaustive at a small size, or a counter-example."""
    TESTED = "B"
    """A statistical test with a stated level and power."""
    INVARIANT = "C"
    """A relation that must hold whatever the model is, and held wherever it was tried."""
    DECLARED = "D"
    """Not verified."""


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """What one audit saw.

    A statistical audit leaves its verdict to the battery, which allocates the level over all of them: see `tested`.

    Attributes:
        verdict: how it ended.
        grade: how surely.
        witness: one sentence: what was seen, or the counter-example, or why there is nothing to see.
        statistic: the number that was judged; its meaning is the audit's.
        p_value: the probability, for an honest model, of a statistic as extreme; None where nothing was left to chance.
        power: in words, what the audit would have seen, and what not.
        pictures: PNG files by name.
    """

    verdict: Verdict
    grade: Grade
    witness: str
    statistic: float | None = None
    p_value: float | None = None
    power: str = ""
    pictures: Mapping[str, bytes] = field(default_factory=dict)

    @staticmethod
    def tested(
        p_value: float,
        statistic: float,
        witness: str,
        power: str,
        pictures: Mapping[str, bytes] | None = None,
    ) -> Finding:
        """What a sound statistical test saw; it passes until the battery, at the level it allots, says otherwise."""
        return Finding(Verdict.PASS, Grade.TESTED, witness, statistic, min(1.0, p_value), power, pictures or {})

    def counting(self, undefined: int) -> Finding:
        """The same, flagged where ``undefined`` log-densities were no numbers and the test has not failed anyway.

        A p-value stays, by which the battery may fail it.
        """
        if undefined == 0:
            return self
        words = f"{self.witness} NaN or infinite log-densities count as impossible: there were {undefined}."
        return replace(self, verdict=self.verdict if self.verdict is Verdict.FAIL else Verdict.FLAG, witness=words)

    @staticmethod
    def not_applicable(reason: str) -> Finding:
        """There is nothing to test, and ``reason`` says why."""
        return Finding(Verdict.NOT_APPLICABLE, Grade.DECLARED, reason)

    @staticmethod
    def inconclusive(reason: str, statistic: float | None = None, power: str = "") -> Finding:
        """The test was made and could not decide."""
        return Finding(Verdict.INCONCLUSIVE, Grade.DECLARED, reason, statistic, power=power)


def entry(name: str, claim: str, verdict: Verdict, grade: Grade, witness: str) -> Mapping[str, Any]:
    """A check without a number, as a record holds audits."""
    return {
        "audit": name, "claim": claim, "verdict": verdict.value, "grade": grade.value, "statistic": None,
        "p_value": None, "level": None, "power": "", "witness": witness,
    }  # fmt: skip


class Audit(ABC):
    """One test of one claim. An audit is stateless: what it needs to know is a `Subject`.

    Attributes:
        name: what it is called in records and certificates.
        claim: what the adapter promises, as a sentence that may be true or false.
    """

    name: ClassVar[str]
    claim: ClassVar[str]

    @abstractmethod
    def audit(self, subject: Subject) -> Finding:
        """Test the claim. It may only fail a model that no honest one resembles; what is merely odd it flags."""
