"""What a gate finds: a verdict for each metric, and what was not compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import final

from torchstone.results.record import Kind

__all__ = ["Absent", "Finding", "Gate", "Verdict"]


class Verdict(StrEnum):
    """What is found of a metric."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One metric of one model.

    ``degradation`` is candidate minus baseline, or the reverse where higher is better: above zero is worse. ``lower``
    and ``upper`` are its one-sided bounds, each at level 1 - alpha, which also have the noise of a ``margin`` that is a
    share of the baseline; ``p_value`` is against a degradation of at most ``margin``, and ``p_adjusted`` the same by
    Holm over all findings.
    """

    suite: str
    dataset: str
    model: str
    label: str
    metric: str
    unit: str
    kind: Kind
    higher_is_better: bool
    verdict: Verdict
    reason: str
    baseline: float
    candidate: float
    seeds: tuple[int, int]
    records: tuple[tuple[str, ...], tuple[str, ...]]
    degradation: float = math.nan
    stderr: float | None = None
    seed_stderr: float | None = None
    lower: float | None = None
    upper: float | None = None
    margin: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    paired: bool = False
    n: int | None = None
    notes: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class Absent:
    """A metric that was not compared, or, where ``metric`` is empty, all of a model, and why."""

    suite: str
    dataset: str
    model: str
    label: str
    metric: str
    reason: str


@final
@dataclass(frozen=True, slots=True)
class Gate:
    """What a gate says.

    Attributes:
        findings: of every metric that was judged.
        absent: what was not compared.
        alpha: the chance that any of the metrics fails where none is worse than its margin, at most.
        notes: what belongs to all findings, in sentences.
        problems: files that were passed over, in sentences.
    """

    findings: tuple[Finding, ...]
    absent: tuple[Absent, ...]
    alpha: float
    notes: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether a metric is worse than its margin allows."""
        return any(each.verdict is Verdict.FAILED for each in self.findings)

    @property
    def inconclusive(self) -> bool:
        """Whether a metric could be neither cleared nor failed."""
        return any(each.verdict is Verdict.INCONCLUSIVE for each in self.findings)

    def says_no(self, *, strict: bool = False) -> bool:
        """Whether it fails; where ``strict``, also whether it is inconclusive."""
        return self.failed or (strict and self.inconclusive)

    def text(self, form: str = "markdown", *, strict: bool = False) -> str:
        """As ``markdown``, ``json``, ``junit`` or ``summary``. ValueError where there is no such form."""
        from torchstone.results.gate.written import written

        return written(self, form, strict=strict)
