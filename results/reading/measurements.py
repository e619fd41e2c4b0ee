"""The records that count in a table, and which of them may be compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from torchstone.results.record import OUTCOMES, Kind
from torchstone.results.store import age

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FACTS",
    "Measurement",
    "Standing",
    "Value",
    "choices",
    "comparable",
    "counted",
    "current",
    "measurement",
    "measurements",
]


@dataclass(frozen=True, slots=True)
class Value:
    """One score of a measurement; ``choices`` are those of its parameters that were not measured.

    ``floor`` is what examples of the training split have in place of the model, and ``null`` what the law of the data
    itself would have.
    """

    value: float
    stderr: float | None
    unit: str
    kind: Kind
    higher_is_better: bool
    n: float | None
    estimator_stderr: float | None
    nonfinite: float | None
    contract: str
    choices: tuple[tuple[str, str], ...]
    floor: float | None = None
    null: float | None = None

    @property
    def signature(self) -> tuple[str, str, bool, str, tuple[tuple[str, str], ...]]:
        """All that two values must share to stand in one column."""
        return self.kind.value, self.unit, self.higher_is_better, self.contract, self.choices


@dataclass(frozen=True, slots=True)
class Measurement:
    """One completed record; its values are named by column, the headline first; ``audit`` is the grade beside them."""

    record: str
    suite: str
    suite_version: int
    model: str
    family: str
    dataset: str
    seed: int
    started: str
    settings: str
    code: str | None
    contract: str
    audit: str | None
    values: Mapping[str, Value]


def current(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` without superseded records.

    Of one identity the newest counts, a failed one only where there is no other. A failed one whose worker was lost
    before it had an identity of content gives way to a later record of all that was asked of it.
    """
    records = frame.drop_duplicates("record")
    columns = [records[name].tolist() for name in _OF_IDENTITY]
    found = [Standing(*facts) for facts in zip(*columns, map(age, records["started"].tolist()), strict=True)]
    kept = counted(found)
    return frame.reset_index(drop=True) if len(kept) == len(found) else _where(frame, frame["record"].isin(kept))


def measurements(scores: pd.DataFrame) -> list[Measurement]:
    """The completed records of a frame with their scores."""
    done = _where(scores, (scores["status"] == "completed") & scores["metric"].notna())
    metrics, values = done["metric"].tolist(), _values(done)
    places: dict[str, list[int]] = {}
    for place, record in enumerate(done["record"].tolist()):
        places.setdefault(record, []).append(place)
    firsts = done.drop_duplicates("record")
    facts = zip(*(firsts[name].tolist() for name in FACTS), strict=True)
    return [
        measurement(own, [metrics[place] for place in held], [values[place] for place in held])
        for own, held in zip(facts, places.values(), strict=True)
    ]


def measurement(facts: Sequence[Any], metrics: Sequence[str], values: Sequence[Value]) -> Measurement:
    """One completed record: what `FACTS` names of it, and its scores, the headline first."""
    *copied, code, audit, contract = facts
    names = _column_names(tuple((metric, value.choices) for metric, value in zip(metrics, values, strict=True)))
    return Measurement(*[*copied, _text(code), contract, _text(audit), dict(zip(names, values, strict=True))])


def choices(parameters: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The parameters of a score that were chosen, as text, by name; those that are missing are left out."""
    chosen = [(key, _word(value)) for key, value in parameters.items() if key not in OUTCOMES and not _missing(value)]
    return tuple(sorted(chosen))


def comparable(found: Sequence[Measurement]) -> Callable[[Measurement], tuple[Any, ...]]:
    """A key that is equal for measurements that may share a block.

    They agree in suite, version, dataset, contract and the kind of the headline; and where the signatures of a column
    disagree among such measurements, also in those: so a column has one signature, and a column that some lack divides
    nothing.
    """
    signatures: dict[tuple[Any, ...], dict[str, set[Hashable]]] = {}
    for each in found:
        columns = signatures.setdefault(_shared(each), {})
        for name, value in each.values.items():
            columns.setdefault(name, set()).add(value.signature)

    def key(each: Measurement) -> tuple[Any, ...]:
        columns = signatures[_shared(each)]
        divided = ((name, value.signature) for name, value in each.values.items() if len(columns[name]) > 1)
        return *_shared(each), *sorted(divided)

    return key


# What a measurement takes of its record, under the names of a `frame`.
FACTS = (
    "record", "suite", "suite_version", "model", "family", "dataset", "seed", "started", "settings", "code", "audit",
    "record_contract",
)  # fmt: skip
_KIND = {kind.value: kind for kind in Kind}.__getitem__


_OF_IDENTITY = ("record", "identity", "status", "code", "suite", "model", "dataset", "seed", "settings")


class Standing(NamedTuple):
    """What decides whether a record counts."""

    record: str
    identity: str
    status: str
    code: str | None
    suite: str
    model: str
    dataset: str
    seed: int
    settings: str
    when: datetime

    @property
    def asked(self) -> tuple[str, str, str, int, str]:
        """All that was asked for."""
        return self.suite, self.model, self.dataset, self.seed, self.settings

    @property
    def lost(self) -> bool:
        """Whether it tells of a worker that was lost before it had an identity of content."""
        return self.status == "failed" and _missing(self.code)

    def rank(self) -> tuple[bool, datetime, str]:
        """What is greatest for the record of an identity that counts."""
        return self.status != "failed", self.when, self.record

    def time(self) -> tuple[datetime, str]:
        """What puts records in order of time."""
        return self.when, self.record


def counted(found: Sequence[Standing]) -> set[str]:
    """The ids of the records that are not superseded; see `current`."""
    newest = {each.identity or each.record: each for each in sorted(found, key=Standing.rank)}
    left = sorted(newest.values(), key=Standing.time)
    latest = {each.asked: each.record for each in left}
    return {each.record for each in left if not each.lost or latest[each.asked] == each.record}


def _where(frame: pd.DataFrame, kept: pd.Series[bool]) -> pd.DataFrame:
    """The rows that are kept, numbered anew; where that is all of them nothing is copied, which takes long."""
    return frame if kept.all() else frame[kept].reset_index(drop=True)


def _shared(each: Measurement) -> tuple[Any, ...]:
    headline = next(iter(each.values.values()))
    return each.suite, each.suite_version, each.dataset, each.contract, headline.kind.value


def _values(done: pd.DataFrame) -> list[Value]:
    """The scores of a frame, made column by column, which is several times as fast as row by row."""
    columns = (
        done["value"].tolist(),
        _numbers(done, "stderr"),
        done["unit"].tolist(),
        list(map(_KIND, done["kind"].tolist())),
        list(map(bool, done["higher_is_better"].tolist())),
        _numbers(done, "n"),
        _numbers(done, "parameters.estimator_stderr"),
        _numbers(done, "parameters.nonfinite"),
        done["contract"].tolist(),
        _all_choices(done),
        _numbers(done, "parameters.floor"),
        _numbers(done, "parameters.null"),
    )
    return list(map(Value, *columns))


def _numbers(done: pd.DataFrame, name: str) -> list[float | None]:
    if name not in done.columns:
        return [None] * len(done)
    values = _none_for_missing(done[name])
    return values if done[name].dtype == float else [_present(value) for value in values]


def _all_choices(done: pd.DataFrame) -> list[tuple[tuple[str, str], ...]]:
    """The choices of each score; most scores have those of another, and they are made once."""
    columns = {name.removeprefix("parameters."): name for name in done.columns if name.startswith("parameters.")}
    names = [name for name in columns if name not in OUTCOMES]
    held = zip(*(_none_for_missing(done[columns[name]]) for name in names), strict=True) if names else [()] * len(done)
    known: dict[Hashable, tuple[tuple[str, str], ...]] = {}
    found = []
    for values in held:
        key = values, tuple(map(type, values))  # True is 1, and another choice
        if key not in known:
            known[key] = choices(dict(zip(names, values, strict=True)))
        found.append(known[key])
    return found


def _none_for_missing(column: pd.Series[Any]) -> list[Any]:
    return [None if value != value else value for value in column.tolist()]


@lru_cache(maxsize=1024)  # most records of a suite have the same
def _column_names(scores: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]) -> tuple[str, ...]:
    """A name for each score of a record: its metric, and the choices that tell scores of any one metric apart."""
    names: list[str] = []
    keys = {
        key
        for metric in dict.fromkeys(metric for metric, _ in scores)
        for key in _differing([dict(choices) for name, choices in scores if name == metric])
    }
    for metric, choices in scores:
        telling = [(key, value) for key, value in choices if key in keys]
        name = " ".join([metric, *(f"{key}={value}" for key, value in telling)])
        names.append(name if name not in names else f"{name} ({len(names) + 1})")
    return tuple(names)


def _differing(choices: Sequence[Mapping[str, str]]) -> set[str]:
    """The choices that do not have one value in all of these."""
    return {key for each in choices for key in each if any(other.get(key) != each[key] for other in choices)}


def _word(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of integers, some of them missing, is one of floats
    return str(value)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _present(value: Any) -> float | None:
    return None if _missing(value) else float(value)


def _text(value: Any) -> str | None:
    return None if _missing(value) else str(value)
