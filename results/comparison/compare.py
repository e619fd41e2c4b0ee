"""Two models side by side: for each metric a difference, its interval, and a verdict in a word."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import final

from torchstone.results.comparison.differences import Difference, Resampled, resampled
from torchstone.results.comparison.effects import Effect, Side, apart, effect
from torchstone.results.reading.grades import CERTIFICATE
from torchstone.results.reading.groups import Group, Merged, matched
from torchstone.results.reading.measurements import Value
from torchstone.results.reading.sources import Source
from torchstone.results.record import Kind

__all__ = ["LEVEL", "Comparison", "Outcome", "Row", "compare"]

LEVEL = 0.95

# The facts of a contract that say how a likelihood was had, and not of what: numbers that differ in these alone are
# bounds on one quantity.
_METHOD = frozenset({"dequantisation", "estimator", "importance_samples", "kind"})
# The choices of a score that say no more than that; with others, such as a set of labels, it is another quantity.
_EFFORT = frozenset({"K", "T", "chains", "importance_samples", "leapfrog", "replicated_examples", "replicates"})


class Outcome(StrEnum):
    """What a comparison says of the first of two."""

    BETTER = "better"
    WORSE = "worse"
    TIED = "tied"
    UNDECIDED = "undecided"
    NOT_COMPARABLE = "not comparable"


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One metric of ``a`` against that of ``b``; where ``metric`` is empty, all of them.

    ``difference`` is ``a - b`` in ``unit``, averaged over the seeds of each. Its uncertainties stand apart: ``stderr``
    over examples, ``estimator_stderr`` the part of that which comes from the estimators' own draws, ``seed_sd`` the
    standard deviation of the difference between one training of each. ``interval`` is of 95 % and has examples in it
    and, where both sides have several, seeds; ``bootstrap`` is over examples alone; ``wilcoxon`` is a p-value.
    """

    suite: str
    dataset: str
    a: str
    b: str
    metric: str
    outcome: Outcome
    reason: str
    unit: str = ""
    higher_is_better: bool = False
    kinds: tuple[Kind, Kind] | None = None
    values: tuple[float, float] = (math.nan, math.nan)
    stderrs: tuple[float | None, float | None] = (None, None)
    difference: float = math.nan
    stderr: float | None = None
    estimator_stderr: float | None = None
    seed_sd: float | None = None
    interval: tuple[float, float] | None = None
    bootstrap: tuple[float, float] | None = None
    wilcoxon: float | None = None
    paired: bool = False
    n: int | None = None
    seeds: tuple[int, int] = (0, 0)
    records: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    notes: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows, in the order of the models and of their metrics; what belongs to all of them; and files passed over."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]

    def text(self, form: str = "markdown") -> str:
        """As ``markdown`` or ``json``. ValueError where there is no such form."""
        from torchstone.results.comparison.sidebyside import written

        return written(self, form)


def compare(a: Source, b: Source, *, by_name: bool, seed: int = 0) -> Comparison:
    """Compare the models of ``a`` with those of ``b`` on each suite and dataset that both have.

    Args:
        a: what is spoken of.
        b: what it is compared with.
        by_name: whether each model is compared with the one of its name, as in two whole stores, and not with all.
        seed: of the bootstrap.
    """
    pairs = _pairs(a, b, by_name)
    rows = [row for mine, theirs in pairs for row in _rows(Side(mine, a.examples), Side(theirs, b.examples), seed)]
    if not pairs and len(a.groups) == len(b.groups) == 1:
        rows = [_strangers(a.groups[0], b.groups[0])]
    notes = []
    if any(min(row.seeds) == 1 and row.outcome is not Outcome.NOT_COMPARABLE for row in rows):
        notes.append(
            "Where there is a single training seed its noise is not in the interval, and the verdict is on these "
            "weights, not on the recipe that made them."
        )
    if any(_bounds(row) for row in rows):
        notes.append("Bounds of one estimator are compared as bounds; for what they bound nothing follows.")
    return Comparison(tuple(rows), tuple(notes), tuple(dict.fromkeys(a.problems + b.problems)))


def _pairs(a: Source, b: Source, by_name: bool) -> list[tuple[Group, Group]]:
    if by_name:
        return matched(a.groups, b.groups)[0]
    found = [(mine, theirs) for mine in a.groups for theirs in b.groups if _of_one_kind(mine, theirs)]
    found.sort(key=lambda pair: pair[0].suite == CERTIFICATE)  # numbers before certificates
    others = [(mine, theirs) for mine, theirs in found if _ids(mine) != _ids(theirs)]
    return others or found


def _of_one_kind(mine: Group, theirs: Group) -> bool:
    """Whether both are of one suite and dataset; how many audits apply is nothing to compare two models by."""
    return mine.key[:2] == theirs.key[:2] and (mine.suite != CERTIFICATE or mine.model == theirs.model)


def _rows(a: Side, b: Side, seed: int) -> list[Row]:
    if a.group.suite_version != b.group.suite_version:
        versions = f"The suite's version is {a.group.suite_version} and {b.group.suite_version}."
        return [_row(a.group, b.group, "", Outcome.NOT_COMPARABLE, versions)]
    metrics = [name for name in a.group.metrics if name in b.group.metrics]
    if not metrics:
        return [_row(a.group, b.group, "", Outcome.NOT_COMPARABLE, "They have no metric in common.")]
    return [_compared(metric, a, b, seed) for metric in metrics]


def _compared(metric: str, a: Side, b: Side, seed: int) -> Row:
    first, second = a.group.merged(metric), b.group.merged(metric)
    if first is None or second is None:
        reason = "Not every seed has it under one contract."
        return _row(a.group, b.group, metric, Outcome.NOT_COMPARABLE, reason)
    differing = apart(first.first, second.first)
    claims = _claims(first.first, second.first) if differing else None
    if differing and claims is None:
        return _row(a.group, b.group, metric, Outcome.NOT_COMPARABLE, f"The contracts differ: {differing}.")
    found = effect(metric, a, b)
    if isinstance(found, str):
        return _row(a.group, b.group, metric, Outcome.NOT_COMPARABLE, found)
    import numpy as np

    beyond = Resampled(None, None) if found.samples is None else resampled(*found.samples, np.random.default_rng(seed))
    outcome, reason = _judged(found, beyond, claims, first.first.higher_is_better)
    return _measured(a.group, b.group, found, beyond, outcome, reason)


def _judged(found: Effect, beyond: Resampled, claims: Mapping[Outcome, bool] | None, up: bool) -> tuple[Outcome, str]:
    """The verdict and why, where ``claims`` says which one bounds allow; None where both are of one kind."""
    outcome, reason = _told(found.difference, beyond, up)
    if claims is None:
        return outcome, reason
    kinds = f"A's is {_named(found.a.first.kind)} and B's {_named(found.b.first.kind)}"
    if claims.get(outcome, False):
        return outcome, f"{reason} {kinds}: in truth it is {outcome.value} by so much at least.".strip()
    said = "nothing follows" if outcome is Outcome.TIED else f"that it looks {outcome.value} proves nothing"
    return Outcome.UNDECIDED, f"{kinds}: {said}."


def _told(difference: Difference, beyond: Resampled, up: bool) -> tuple[Outcome, str]:
    """What the numbers say by themselves."""
    interval = difference.interval(LEVEL)
    if interval is None:
        if math.isinf(difference.value):
            return _side(difference.value, up), difference.note
        return Outcome.UNDECIDED, difference.note
    if difference.same:
        return Outcome.TIED, "Every example has the same value." if difference.paired else "The values are the same."
    side = _sign(interval)
    if not side and difference.seed_stderr and beyond.interval is not None and _sign(beyond.interval):
        return Outcome.TIED, "No further apart than examples and training seeds together make it."
    if beyond.interval is not None and _sign(beyond.interval) != side:
        return Outcome.UNDECIDED, "The t interval and the bootstrap disagree on whether it is zero."
    return (_side(difference.value, up) if side else Outcome.TIED), ""


def _claims(a: Value, b: Value) -> Mapping[Outcome, bool] | None:
    """Which verdicts two values allow that differ in how they were had: None where they differ in more than that.

    A cost that is an upper bound is truly no larger, so where it is below an exact one its model is better; where it is
    above nothing follows.
    """
    mine, theirs = json.loads(a.contract), json.loads(b.contract)
    differing = {key for key in (*mine, *theirs) if mine.get(key) != theirs.get(key)}
    chosen = {key for key, _ in set(a.choices) ^ set(b.choices)}
    if differing - _METHOD or chosen - _EFFORT or (a.unit, a.higher_is_better) != (b.unit, b.higher_is_better):
        return None
    if Kind.ESTIMATE in (a.kind, b.kind) or a.kind is b.kind is Kind.EXACT:
        return None
    modest, bold = Kind.UPPER_BOUND, Kind.LOWER_BOUND  # the truth is no worse than the first, no better than the second
    if a.higher_is_better:
        modest, bold = bold, modest
    return {
        Outcome.BETTER: a.kind in (Kind.EXACT, modest) and b.kind in (Kind.EXACT, bold),
        Outcome.WORSE: a.kind in (Kind.EXACT, bold) and b.kind in (Kind.EXACT, modest),
    }


def _measured(a: Group, b: Group, found: Effect, beyond: Resampled, outcome: Outcome, reason: str) -> Row:
    first, second, difference = found.a, found.b, found.difference
    return Row(
        a.suite, a.dataset, a.name, b.name, found.metric, outcome, reason, first.first.unit,
        first.first.higher_is_better,
        kinds=(first.first.kind, second.first.kind),
        values=(first.value, second.value),
        stderrs=(first.stderr, second.stderr),
        difference=difference.value,
        stderr=difference.stderr,
        estimator_stderr=_together(_own(first), _own(second)),
        seed_sd=_together(first.seed_sd, second.seed_sd),
        interval=difference.interval(LEVEL),
        bootstrap=beyond.interval,
        wilcoxon=beyond.wilcoxon,
        paired=difference.paired,
        n=difference.n,
        seeds=(len(a.seeds), len(b.seeds)),
        records=(_ids(a), _ids(b)),
        notes=found.notes,
    )  # fmt: skip


def _row(a: Group, b: Group, metric: str, outcome: Outcome, reason: str) -> Row:
    seeds = len(a.seeds), len(b.seeds)
    return Row(a.suite, a.dataset, a.name, b.name, metric, outcome, reason, seeds=seeds, records=(_ids(a), _ids(b)))


def _strangers(a: Group, b: Group) -> Row:
    """Two models that were measured on nothing in common."""
    facts = (("suite", a.suite, b.suite), ("dataset", a.dataset, b.dataset))
    words = [f"{name} {mine} and {theirs}" for name, mine, theirs in facts if mine != theirs]
    return _row(a, b, "", Outcome.NOT_COMPARABLE, f"They were measured on different things: {', '.join(words)}.")


def _side(value: float, up: bool) -> Outcome:
    return Outcome.BETTER if (value > 0) == up else Outcome.WORSE


def _sign(interval: tuple[float, float]) -> int:
    """On which side of zero an interval lies; 0 where zero is in it."""
    return 1 if interval[0] > 0 else (-1 if interval[1] < 0 else 0)


def _together(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else math.hypot(a, b)


def _own(merged: Merged) -> float | None:
    """The estimator's own standard error; none of an exact value is zero, where the other has one to be shown."""
    exact = merged.first.kind is Kind.EXACT and merged.estimator_stderr is None
    return 0.0 if exact else merged.estimator_stderr


def _named(kind: Kind) -> str:
    return "an exact value" if kind is Kind.EXACT else f"{'an' if kind is Kind.UPPER_BOUND else 'a'} {_PLAIN[kind]}"


_PLAIN = {Kind.UPPER_BOUND: "upper bound", Kind.LOWER_BOUND: "lower bound", Kind.ESTIMATE: "estimate"}


def _bounds(row: Row) -> bool:
    decided = row.outcome in (Outcome.BETTER, Outcome.WORSE)
    return decided and row.kinds in ((Kind.UPPER_BOUND, Kind.UPPER_BOUND), (Kind.LOWER_BOUND, Kind.LOWER_BOUND))


def _ids(group: Group) -> tuple[str, ...]:
    return tuple(each.record for each in group.members)
