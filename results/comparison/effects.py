"""One metric of two groups: how far apart, by the best comparison that their records allow."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from torchstone.results.comparison.differences import Difference, exactly, over_seeds, paired, unpaired
from torchstone.results.comparison.speeds import (
    CALIBRATION,
    SINGLE_RUN,
    is_of_run,
    is_portable,
    is_speed,
    machine,
    rescaled,
)
from torchstone.results.reading.examples import Examples, Sample
from torchstone.results.reading.groups import Group, Merged
from torchstone.results.reading.measurements import Value
from torchstone.results.record import ENVIRONMENT_KEYS, Kind

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Effect", "Side", "apart", "effect"]

_AGREEMENT = 1e-6  # to which the means of per-example values must be the scores that they are said to make
# What a matrix product is made of: where these differ its rate says nothing of the machine.
_ARITHMETIC = ("dtype", "matmul_precision")


@final
@dataclass(frozen=True, slots=True)
class Side:
    """A group, and where its per-example values are."""

    group: Group
    examples: Examples


@final
@dataclass(frozen=True, slots=True)
class Effect:
    """A metric of ``a`` and of ``b``, and ``a - b``.

    ``samples`` are the per-example values where the difference was paired, and ``notes`` say how it was taken where
    that is not the plain way.
    """

    metric: str
    a: Merged
    b: Merged
    difference: Difference
    samples: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None
    notes: tuple[str, ...]


def apart(a: Value, b: Value) -> str:
    """What keeps two values from one column, as ``importance_samples 1000 and 5000``; empty where nothing does.

    The machine does not: `effect` knows what may be compared on two.
    """
    facts = {"unit": (a.unit, b.unit), "higher is better": (a.higher_is_better, b.higher_is_better)}
    facts |= {"kind": (a.kind.value, b.kind.value)}
    words = [f"{name} {_word(first)} and {_word(second)}" for name, (first, second) in facts.items() if first != second]
    for first, second in ((json.loads(a.contract), json.loads(b.contract)), (dict(a.choices), dict(b.choices))):
        words += _differing(first, second)
    return ", ".join(dict.fromkeys(words))


def effect(metric: str, a: Side, b: Side, scale: float = 1.0) -> Effect | str:
    """How far ``metric`` of ``a`` is from that of ``b``; or, in a sentence, why that cannot be said.

    The difference is ``a - scale * b``, with the noise that ``b`` has when it is multiplied so.
    """
    first, second = a.group.merged(metric), b.group.merged(metric)
    if first is None or second is None:
        which = a.group.name if first is None else b.group.name
        return f"Not every seed of {which} has {metric} under one contract."
    if _too_good(first) or _too_good(second):
        which = " and ".join(side.group.name for side, each in ((a, first), (b, second)) if _too_good(each))
        note = f"A mean that is infinitely good is no measurement, so nothing follows: {which}."
        return Effect(metric, first, second, Difference(math.nan, None, note=note), None, ())
    if is_of_run(first.first.unit):
        return _speed(metric, a, b, first, second, scale)
    if _certain(first.first) and _certain(second.first):
        return Effect(metric, first, second, exactly(first.value, scale * second.value), None, ())
    return _by_examples(metric, a, b, first, second, scale)


def _by_examples(metric: str, a: Side, b: Side, first: Merged, second: Merged, scale: float) -> Effect:
    """Paired over the examples where both sides kept their values, and else unpaired."""
    found = _pair(metric, a, b, first, second)
    if isinstance(found, str):
        return Effect(metric, first, second, _unpaired(a, b, first, second, scale), None, (f"Unpaired: {found}",))
    values = found[0].values, scale * found[1].values
    worst = -math.inf if first.first.higher_is_better else math.inf
    means = first.means, _scaled(second.means, scale)
    difference = over_seeds(paired(*values, worst=worst), *means, matched=_matched(a, b))
    return Effect(metric, first, second, difference, values, ())


def _pair(metric: str, a: Side, b: Side, first: Merged, second: Merged) -> tuple[Sample, Sample] | str:
    """The values of both on the same examples; or why there are none such."""
    import numpy as np

    mine, theirs = a.examples.sample(a.group, metric), b.examples.sample(b.group, metric)
    if isinstance(mine, str) or isinstance(theirs, str):
        return mine if isinstance(mine, str) else str(theirs)
    if not np.array_equal(mine.ids, theirs.ids):
        common = len(np.intersect1d(mine.ids, theirs.ids))
        return (
            f"they were measured on different examples ({common} in common of {len(mine.ids)} and {len(theirs.ids)})."
        )
    if not _agree((mine, first), (theirs, second)):
        return "the per-example values do not average to the scores."
    return mine, theirs


def _agree(*sides: tuple[Sample, Merged]) -> bool:
    """Whether two samples make their scores, or both miss them by one constant, as what is said to be in excess does.

    A score is finite where every value is, and else it is not.
    """
    import numpy as np

    if any(math.isfinite(score.value) != bool(np.isfinite(sample.values).all()) for sample, score in sides):
        return False
    if not all(math.isfinite(score.value) for _, score in sides):
        return True
    (mine, first), (theirs, second) = ((float(sample.values.mean()), score.value) for sample, score in sides)
    size = max(map(abs, (first, second, mine, theirs)))
    return abs((first - second) - (mine - theirs)) <= _AGREEMENT * size


def _unpaired(a: Side, b: Side, first: Merged, second: Merged, scale: float) -> Difference:
    stderr = None if second.stderr is None else abs(scale) * second.stderr
    found = unpaired(first.value, scale * second.value, first.stderr, stderr, first.first.n, second.first.n)
    return over_seeds(found, first.means, _scaled(second.means, scale), matched=_matched(a, b))


def _scaled(means: Sequence[float], scale: float) -> list[float]:
    return [scale * each for each in means]


def _matched(a: Side, b: Side) -> bool:
    """Whether a seed is the same noise on both sides: only in one and the same model, unchanged or changed."""
    return a.group.seeds == b.group.seeds and a.group.key == b.group.key


def _speed(metric: str, a: Side, b: Side, first: Merged, second: Merged, scale: float) -> Effect | str:
    """Within one environment as it is; else as the ratio to the calibration beside it; else not at all."""
    unit, plain = first.first.unit, (first.means, _scaled(second.means, scale))
    if is_portable(unit):
        return Effect(metric, first, second, _between_runs(*plain), None, ())
    there = [_machine(side, place) for side in (a, b) for place in range(len(side.group.members))]
    if not all(there):
        return "The environment of a record is no longer there to be read, and a speed means nothing without it."
    differing = next((words for other in there[1:] if (words := _unlike(there[0], other))), "")
    if not differing:
        return Effect(metric, first, second, _between_runs(*plain), None, ())
    own, other = _calibrations(a.group), _calibrations(b.group)
    kinds = {(str(facts.get("device")).split(":")[0], *map(facts.get, _ARITHMETIC)) for facts in there}
    if not own or not other or len(kinds) > 1 or not is_speed(unit):
        return f"They were measured on different machines ({differing})."
    reference = sum(other) / len(other)
    mine, theirs = (
        [rescaled(value, unit, rate, reference) for value, rate in zip(means, rates, strict=True)]
        for means, rates in zip(plain, (own, other), strict=True)
    )
    note = f"As ratio to the {CALIBRATION} measured beside it: the machines differ ({differing})."
    return Effect(metric, first, second, _between_runs(mine, theirs), None, (note,))


def _between_runs(a: Sequence[float], b: Sequence[float]) -> Difference:
    """The difference of two means of runs, whose noise is the spread over the runs and nothing else."""
    found = exactly(sum(a) / len(a), sum(b) / len(b))
    if found.stderr is not None and min(len(a), len(b)) < 2:
        return Difference(found.value, None, note=SINGLE_RUN)
    return over_seeds(found, a, b, matched=False)


def _machine(side: Side, place: int) -> Mapping[str, Any]:
    """The machine of one measurement; its record is read only where the contract does not name it."""
    each = side.group.members[place]
    named = machine(json.loads(each.contract), None)
    record = None if named else side.examples.record(each.record)
    return named if record is None else machine({}, record.environment)


def _unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """In which facts two machines differ, as ``threads 2 and 8``."""
    keys = [key for key in dict.fromkeys((*a, *b)) if a.get(key) != b.get(key)]
    return ", ".join(f"{key} {_word(a.get(key))} and {_word(b.get(key))}" for key in keys)


def _calibrations(group: Group) -> list[float]:
    """The speed of the machine in each record; empty where one does not say it, or says what it cannot be."""
    found = [each.values[CALIBRATION].value for each in group.members if CALIBRATION in each.values]
    right = len(found) == len(group.members) and all(math.isfinite(rate) and rate > 0 for rate in found)
    return found if right else []


def _certain(value: Value) -> bool:
    """Whether a number has no noise: a count of verdicts, or another that is no estimate and no mean over anything."""
    errors = value.stderr, value.estimator_stderr, value.n
    return value.unit == "audits" or (value.kind is not Kind.ESTIMATE and errors == (None, None, None))


def _too_good(merged: Merged) -> bool:
    """Whether a mean is infinite on the side that is better, where no finite number of examples can bring it."""
    return merged.value == (math.inf if merged.first.higher_is_better else -math.inf)


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    keys = dict.fromkeys((*a, *b))
    differing = [key for key in keys if a.get(key) != b.get(key) and key not in ENVIRONMENT_KEYS]
    return [f"{key} {_word(a.get(key))} and {_word(b.get(key))}" for key in differing]


def _word(value: Any) -> str:
    """A fact in a few characters; a fingerprint by its beginning."""
    text = {None: "none", True: "yes", False: "no"}.get(value) if value is None or isinstance(value, bool) else None
    words = text or str(value)
    return words if len(words) <= 24 else f"{words[:12]}…"
