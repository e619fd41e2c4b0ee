"""The gate: which metrics of a candidate are worse than a baseline's, beyond a margin and beyond the noise."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from torchstone.results.comparison.differences import Difference
from torchstone.results.comparison.effects import Effect, Side, apart, effect
from torchstone.results.comparison.speeds import is_of_run
from torchstone.results.gate.findings import Absent, Finding, Gate, Verdict
from torchstone.results.gate.margins import Margin, Margins
from torchstone.results.reading.groups import Group, asked, matched
from torchstone.results.reading.sources import Source
from torchstone.results.text.numbers import plain, small

__all__ = ["gate", "holm"]

ONE_SEED = (
    "Where there is a single training seed, its noise is not in these numbers: another seed may differ by more. Give "
    "baseline and candidate several seeds, such as seed=0,1,2, and it is."
)


def gate(baseline: Source, candidate: Source, margins: Margins, alpha: float = 0.01) -> Gate:
    """Judge every metric that both have under one contract.

    A metric is *failed* where its degradation is above its margin with a one-sided p-value that, adjusted by Holm over
    all metrics judged, is at most ``alpha``: so the chance of any false alarm is at most ``alpha``. It is *passed*
    where the one-sided upper bound of its degradation, at level 1 - ``alpha``, is within the margin; a gate passes as a
    whole only where every metric does, so no adjustment is needed for that. What is neither is *inconclusive*.

    Sture Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979. Roger Berger, Multiparameter Hypothesis
    Testing and Acceptance Sampling, 1982 (why all may be passed at one level).

    Raises:
        ValueError: ``alpha`` is not between 0 and 1, or a margin is given for a metric that is not there.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha}: it is a probability between 0 and 1, both excluded; write for example 0.01.")
    margins.check((*baseline.metrics, *candidate.metrics))
    pairs, gone, alone = matched(baseline.groups, candidate.groups)
    judged: list[_Tried | Finding | Absent] = []
    unjudged: set[str] = set()
    for old, new in pairs:
        judged += _judged(Side(old, baseline.examples), Side(new, candidate.examples), margins, unjudged)
    absent = [each for each in judged if isinstance(each, Absent)] + [_alone(each, baseline) for each in alone]
    findings = _findings([each for each in judged if isinstance(each, _Tried)], alpha)
    findings += [each for each in judged if isinstance(each, Finding)] + _crashed(baseline, candidate, absent)
    lost = {each.key for each in candidate.lost}
    notes = _notes(findings, unjudged, [each for each in gone if each.key not in lost])
    return Gate(tuple(findings), tuple(absent), alpha, tuple(notes), baseline.problems + candidate.problems)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted so that rejecting those of at most alpha rejects any true hypothesis so rarely."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


@final
@dataclass(frozen=True, slots=True)
class _Tried:
    """A metric that can be judged, before it is known how many there are."""

    old: Group
    new: Group
    effect: Effect
    degradation: Difference
    beyond: Difference  # the same, less the margin
    margin: float
    notes: tuple[str, ...]


def _judged(old: Side, new: Side, margins: Margins, unjudged: set[str]) -> list[_Tried | Finding | Absent]:
    """Each metric of a pair of groups; those without a margin are named in ``unjudged``.

    One that is graded, and that the candidate no longer has, is inconclusive: it may be any number.
    """
    if old.group.suite_version != new.group.suite_version:
        versions = f"suite version {old.group.suite_version} and {new.group.suite_version}"
        return [_absent(new.group, "", f"The baseline has another {versions}: make the baseline anew.")]
    found: list[_Tried | Finding | Absent] = []
    notes = _changed(old.group, new.group)
    for metric in dict.fromkeys((*old.group.metrics, *new.group.metrics)):
        before = old.group.members[0].values.get(metric)
        after = new.group.members[0].values.get(metric)
        if before is None:
            found.append(_absent(new.group, metric, "The baseline does not have it."))
            continue
        allowed = margins.of(metric, before)
        if allowed is None:
            unjudged.add(metric)
        elif after is None:
            found.append(_without_number(old.group, metric, "The candidate does not have it.", new.group))
        elif differing := apart(before, after):
            found.append(_absent(new.group, metric, f"The contracts differ: {differing} (baseline and candidate)."))
        elif isinstance(worse := effect(metric, new, old), str):
            found.append(_absent(new.group, metric, worse))
        else:
            found.append(_tried(metric, old, new, worse, allowed, (*worse.notes, *notes)))
    return found


def _tried(metric: str, old: Side, new: Side, found: Effect, allowed: Margin, notes: tuple[str, ...]) -> _Tried:
    """The degradation, and what of it is beyond the margin: of a margin that is a share the noise is in that, too."""
    baseline, up = found.b.value, found.b.first.higher_is_better
    margin = allowed.of(baseline)
    degradation = found.difference.mirrored() if up else found.difference
    beyond = replace(degradation, value=degradation.value - margin)
    scale = allowed.scale(baseline, higher_is_better=up)
    if scale != 1 and not degradation.same and isinstance(scaled := effect(metric, new, old, scale), Effect):
        beyond = scaled.difference.mirrored() if up else scaled.difference
    seeds = () if is_of_run(found.b.first.unit) else _no_seed_in_both(old.group, new.group)
    return _Tried(old.group, new.group, found, degradation, beyond, margin, (*notes, *seeds))


def _findings(tried: Sequence[_Tried], alpha: float) -> list[Finding]:
    p_values = [each.beyond.p_above(0.0) for each in tried]
    known = [place for place, p in enumerate(p_values) if p is not None]
    adjusted = dict(zip(known, holm([p for p in p_values if p is not None]), strict=True))
    return [_finding(each, p_values[place], adjusted.get(place), alpha) for place, each in enumerate(tried)]


def _finding(tried: _Tried, p_value: float | None, adjusted: float | None, alpha: float) -> Finding:
    worse, effect = tried.degradation, tried.effect
    reach = tried.beyond.interval(1 - 2 * alpha)
    bounds = (None, None) if reach is None else (tried.margin + reach[0], tried.margin + reach[1])
    cleared = tried.beyond.p_below(0.0)
    verdict = Verdict.INCONCLUSIVE
    if adjusted is not None and adjusted <= alpha:
        verdict = Verdict.FAILED
    elif cleared is not None and cleared <= alpha:
        verdict = Verdict.PASSED
    first = effect.a.first
    return Finding(
        *tried.new.key, tried.new.label, effect.metric, first.unit, first.kind, first.higher_is_better, verdict,
        reason=_reason(worse, verdict, tried.margin, *bounds), baseline=effect.b.value, candidate=effect.a.value,
        seeds=(len(tried.old.seeds), len(tried.new.seeds)), records=(_records(tried.old), _records(tried.new)),
        degradation=worse.value, stderr=worse.stderr, seed_stderr=worse.seed_stderr, lower=bounds[0], upper=bounds[1],
        margin=tried.margin, p_value=p_value, p_adjusted=adjusted, paired=worse.paired, n=worse.n, notes=tried.notes,
    )  # fmt: skip


def _reason(worse: Difference, verdict: Verdict, margin: float, lower: float | None, upper: float | None) -> str:
    """Why the verdict is what it is."""
    if worse.same:
        return "Unchanged: every example has the same value." if worse.paired else "Unchanged."
    if lower is None or upper is None:
        return worse.note
    if verdict is Verdict.FAILED:
        return f"Worse by at least {small(lower)}, where {small(margin)} is allowed."
    if verdict is Verdict.PASSED:
        return f"Better by at least {small(-upper)}." if upper < 0 else f"Worse by at most {small(upper)}."
    return f"Between {small(lower)} and {small(upper)} worse, where {small(margin)} is allowed: the noise is too large."


def _crashed(baseline: Source, candidate: Source, absent: list[Absent]) -> list[Finding]:
    """A finding for each model that had numbers and fails now; what else has none, and had, goes to ``absent``."""
    known = {each.key: each for each in baseline.groups}
    same = {(each.key, each.status, each.reason) for each in baseline.lost}
    found = []
    for lost in candidate.lost:
        old = known.get(lost.key)
        if old is not None and lost.status == "failed":
            found.append(_without_number(old, old.metrics[0], f"It failed: {lost.reason}"))
        elif (lost.key, lost.status, lost.reason) not in same:
            absent.append(Absent(*lost.key, "", "", f"It was {lost.status}: {lost.reason}"))
    return found


def _without_number(old: Group, metric: str, reason: str, new: Group | None = None) -> Finding:
    """A metric that the baseline has and the candidate has not."""
    value = old.members[0].values[metric]
    seeds, records = (0, ()) if new is None else (len(new.seeds), _records(new))
    return Finding(
        *old.key, old.label, metric, value.unit, value.kind, value.higher_is_better, Verdict.INCONCLUSIVE,
        reason=reason, baseline=value.value, candidate=math.nan, seeds=(len(old.seeds), seeds),
        records=(_records(old), records),
    )  # fmt: skip


def _notes(findings: Sequence[Finding], unjudged: set[str], elsewhere: Sequence[Group]) -> list[str]:
    """What belongs to all findings: seeds, metrics without a margin, and what only the baseline has."""
    notes = []
    if any(min(each.seeds) == 1 for each in findings):
        notes.append(ONE_SEED)
    if unjudged:
        names = ", ".join(sorted(unjudged))
        notes.append(f"Not judged, as they describe rather than grade; give them a margin and they are: {names}.")
    if elsewhere:
        models = ", ".join(sorted({f"{each.name} on {each.dataset}" for each in elsewhere}))
        notes.append(f"Only in the baseline: {models}.")
    return notes


def _alone(new: Group, baseline: Source) -> Absent:
    """Why a group of the candidate has nothing to be compared with."""
    there = [each.label or "(no label)" for each in baseline.groups if each.key == new.key]
    lost = next((each for each in baseline.lost if each.key == new.key), None)
    if there:
        return _absent(new, "", f"The baseline has it with other settings, and more than once: {'; '.join(there)}.")
    if lost is not None:
        return _absent(new, "", f"In the baseline it was {lost.status}: {lost.reason}")
    return _absent(new, "", f"The baseline has no record of {new.model} on {new.dataset} in the suite {new.suite}.")


def _changed(old: Group, new: Group) -> tuple[str, ...]:
    """Sentences where the settings or the seeds of the two are not the same."""
    seeds = [
        f"Of the {which} only {_seeds(each)}, which both have."
        for which, each in (("baseline", old), ("candidate", new))
        if each.left_out
    ]
    before, after = (json.loads(asked(each.members[0].settings)) for each in (old, new))
    keys = [key for key in dict.fromkeys((*before, *after)) if before.get(key) != after.get(key)]
    words = [f"{key} {_word(before.get(key))} and {_word(after.get(key))}" for key in keys]
    differing = [f"The settings differ: {', '.join(words)} (baseline and candidate)."] if words else []
    return (*seeds, *differing)


def _no_seed_in_both(old: Group, new: Group) -> tuple[str, ...]:
    """A sentence where no training of one is the same training of the other."""
    if set(old.seeds) & set(new.seeds):
        return ()
    before, after = (", ".join(map(str, each.seeds)) for each in (old, new))
    return (f"No seed is in both (baseline {before}, candidate {after}): these are other trainings.",)


def _word(value: object) -> str:
    """A setting in a few characters."""
    text = plain(value) if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else f"{text[:23]}…"


def _seeds(group: Group) -> str:
    numbers = ", ".join(map(str, group.seeds))
    return f"seed {numbers} counts" if len(group.seeds) == 1 else f"seeds {numbers} count"


def _absent(group: Group, metric: str, reason: str) -> Absent:
    return Absent(group.suite, group.dataset, group.model, group.label, metric, reason)


def _records(group: Group) -> tuple[str, ...]:
    return tuple(each.record for each in group.members)
