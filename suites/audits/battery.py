"""All audits of one adapter, at one level for the whole of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import final

from torchstone.models.model import ModelError
from torchstone.results.record import UNHELD
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.subject import Subject

__all__ = ["Judged", "holm", "judge"]


@final
@dataclass(frozen=True, slots=True)
class Judged:
    """An audit, what it saw, and the level at which its p-value was judged; None where it has none."""

    audit: Audit
    finding: Finding
    level: float | None = None


def judge(
    audits: Sequence[Audit],
    subject: Subject,
    again: Subject,
    alpha: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Judged, ...]:
    """Hold every audit, and judge the statistical ones so that an honest model fails any with probability ``alpha``.

    The level is allotted by Holm's step-down procedure, which asks nothing of how the tests depend on each other. What
    would fail is tested once more on ``again``, on fresh draws, and fails only where it would fail there too.

    Source: A Simple Sequentially Rejective Multiple Test Procedure (Holm, 1979).

    Args:
        audits: in the order of the certificate.
        subject: the model and its data.
        again: the same with another seed.
        alpha: the probability of failing an honest model in any of them.
        progress: called with how many audits are done, of how many.
    """
    findings = []
    for done, audit in enumerate(audits):
        findings.append(_hold(audit, subject))
        progress(done + 1, len(audits))
    p_values = {place: f.p_value for place, f in enumerate(findings) if f.p_value is not None}
    levels = dict(zip(p_values, holm(p_values.values(), alpha), strict=True))
    return tuple(
        Judged(audit, _judged(audit, finding, levels.get(place), again), levels.get(place))
        for place, (audit, finding) in enumerate(zip(audits, findings, strict=True))
    )


def holm(p_values: Iterable[float], alpha: float) -> tuple[float, ...]:
    """The level of each p-value under Holm's procedure; a p-value at or below its level is rejected.

    Once one is not rejected no larger one is: those get the level at which the procedure stopped.

    >>> holm([0.0001, 0.02, 0.5], 0.03)
    (0.01, 0.015, 0.015)
    """
    values = list(p_values)
    levels, stopped = [0.0] * len(values), None
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        level = alpha / (len(values) - rank) if stopped is None else stopped
        levels[place] = level
        stopped = level if stopped is None and values[place] > level else stopped
    return tuple(levels)


def _hold(audit: Audit, subject: Subject) -> Finding:
    """What an audit saw; a contract that is broken fails it, and it alone; any other error decides nothing."""
    try:
        return audit.audit(subject)
    except ModelError as error:
        return Finding(Verdict.FAIL, Grade.PROVED, f"The contract is broken: {error}")
    except Exception as error:
        message = " ".join(str(error).split()).partition("but found invalid values")[0].strip()[:160]
        return Finding.inconclusive(f"{UNHELD}: {type(error).__name__}: {message or 'no message'}")


def _judged(audit: Audit, finding: Finding, level: float | None, again: Subject) -> Finding:
    if level is None or finding.p_value is None or finding.p_value > level:
        return finding
    second = _hold(audit, again)
    if second.verdict is Verdict.FAIL:
        return second
    if second.p_value is not None and second.p_value <= level:
        return dataclasses.replace(finding, verdict=Verdict.FAIL)
    return dataclasses.replace(
        finding,
        verdict=Verdict.FLAG,
        witness=f"{finding.witness} On fresh draws it was not seen again (p = {second.p_value}).",
    )
