"""The records of a store as a page needs them, read in one pass: those that count, older ones, and certificates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, final

from torchstone.results.reading.frame import NAMES_OF_RECORD, NAMES_OF_SCORE, facts
from torchstone.results.reading.grades import CERTIFICATE, UNAUDITED, Certified, certified
from torchstone.results.reading.measurements import FACTS, Measurement, Standing, Value, choices, counted, measurement
from torchstone.results.record import OUTCOMES, Kind, RecordError, number
from torchstone.results.scan import Problem, scan
from torchstone.results.store import age

__all__ = ["Certificate", "Found", "Reading", "read"]


class Found(NamedTuple):
    """A completed record with numbers.

    Attributes:
        measurement: what was measured.
        file: its name in the folder.
        seconds: wall-clock time of all of it, fitting included where there was any to do.
        commit: of the working tree it was made in, with a + where that was changed; empty where it is not known.
        arrays: what the record says of its per-example values; empty where it has none.
        figures: the digests of its pictures, by name.
        content: what a certificate of it would speak of.
    """

    measurement: Measurement
    file: str
    seconds: float
    commit: str
    arrays: Mapping[str, Any]
    figures: Mapping[str, str]
    content: Certified | None


@final
@dataclass(frozen=True, slots=True)
class Certificate:
    """The newest certificate of a model on data: its record's id, and its grade in a word."""

    record: str
    grade: str


@final
@dataclass(frozen=True, slots=True)
class Reading:
    """All that a page is made of.

    Attributes:
        current: the records that count in tables, as `measurements.current` has them, in the order of their files.
        older: completed ones that newer ones have superseded.
        without: status, suite, model, dataset, seed and reason of those that count and have no numbers.
        certificates: the newest certificate of each content.
        problems: the files that are no valid records, a sentence each.
        count: how many records there are in all.
    """

    current: tuple[Found, ...]
    older: tuple[Found, ...]
    without: tuple[tuple[str, str, str, str, int, str], ...]
    certificates: Mapping[Certified, Certificate]
    problems: tuple[str, ...]
    count: int


def read(folder: Path) -> Reading:
    """Every record of ``folder``, once. The same records count, and in the same way, as in a table of its `frame`.

    It goes without the frame itself, for speed: ten thousand records take about a second.

    Raises:
        RecordError: the folder cannot be read.
    """
    problems: list[Problem] = []
    entries = list(_entries(folder, problems))
    certificates, kept = _certificates(entries), counted([entry.standing for entry in entries])
    found = _found([entry for entry in entries if entry.has_numbers], certificates)
    without = [entry for entry in entries if entry.standing.record in kept and not entry.has_numbers]
    return Reading(
        tuple(each for each in found if each.measurement.record in kept),
        tuple(each for each in found if each.measurement.record not in kept),
        tuple(map(_absent, without)),
        certificates,
        tuple(map(str, problems)),
        len(entries),
    )


class _Entry(NamedTuple):
    """One record: its facts and those of its scores, as `frame.facts` gives them, and what tables do not need of it."""

    file: str
    own: tuple[Any, ...]
    scores: Sequence[tuple[Any, ...]]
    standing: Standing
    content: Certified | None
    commit: str
    arrays: Mapping[str, Any]
    figures: Mapping[str, str]

    @property
    def has_numbers(self) -> bool:
        return self.standing.status == "completed" and self.scores[0][_METRIC] is not None


_PLACES = {name: place for place, name in enumerate(NAMES_OF_RECORD)}
_METRIC = NAMES_OF_SCORE.index("metric")
_standing_facts = itemgetter(*(_PLACES[name] for name in Standing._fields if name != "when"))
_STARTED, _STATED, _REASON, _SECONDS = (_PLACES[name] for name in ("started", "stated", "reason", "seconds"))


def _entries(folder: Path, problems: list[Problem]) -> Iterator[_Entry]:
    for name, id, content in scan(folder, problems):
        try:
            own, scores = facts(id, content)
        except (AttributeError, KeyError, RecordError, TypeError, ValueError) as error:
            problems.append(Problem(folder / name, f"a field is missing or of the wrong type: {error}"))
            continue
        standing = Standing._make((*_standing_facts(own), age(own[_STARTED])))
        about = certified(standing.model, standing.dataset, standing.settings, content["fingerprints"])
        commit = _commit(content["environment"])
        yield _Entry(name, own, scores, standing, about, commit, content["arrays"], content["figures"])


def _absent(entry: _Entry) -> tuple[str, str, str, str, int, str]:
    own = entry.standing
    return own.status, own.suite, own.model, own.dataset, own.seed, entry.own[_REASON]


def _commit(environment: Mapping[str, Any]) -> str:
    commit = environment.get("git_commit")
    if not isinstance(commit, str):
        return ""
    return commit[:7] + ("+" if environment.get("git_dirty") else "")


def _certificates(entries: Sequence[_Entry]) -> dict[Certified, Certificate]:
    stated = [
        entry
        for entry in entries
        if entry.standing.suite == CERTIFICATE
        and entry.standing.status == "completed"
        and entry.own[_STATED] is not None
    ]
    return {
        entry.content: Certificate(entry.standing.record, entry.own[_STATED])
        for entry in sorted(stated, key=lambda entry: entry.standing.time())
        if entry.content is not None
    }


def _found(entries: Sequence[_Entry], certificates: Mapping[Certified, Certificate]) -> list[Found]:
    """The records with numbers, their scores made column by column, which is several times as fast as one by one."""
    columns = zip(*(score for entry in entries for score in entry.scores), strict=True)
    named = dict(zip(NAMES_OF_SCORE, columns, strict=True)) if entries else {}
    values = iter(zip(named["metric"], _values(named), strict=True)) if entries else iter(())
    return [
        Found(
            _measurement(entry, list(islice(values, len(entry.scores))), certificates),
            entry.file,
            float(entry.own[_SECONDS]),
            entry.commit,
            entry.arrays,
            entry.figures,
            entry.content,
        )
        for entry in entries
    ]


def _measurement(
    entry: _Entry, scores: Sequence[tuple[str, Value]], certificates: Mapping[Certified, Certificate]
) -> Measurement:
    certificate = certificates.get(entry.content) if entry.content is not None else None
    audited = certificate.grade if certificate else UNAUDITED
    audit = None if entry.standing.suite == CERTIFICATE else audited
    facts_of = [audit if place is None else entry.own[place] for place in _FACTS]
    return measurement(facts_of, [metric for metric, _ in scores], [value for _, value in scores])


_FACTS = tuple(_PLACES.get(name) for name in FACTS)  # the audit is no fact of the record


def _values(columns: Mapping[str, Sequence[Any]]) -> list[Value]:
    parameters = list(map(_numbers, columns["parameters"]))
    return list(
        map(
            Value,
            columns["value"],
            map(_present, columns["stderr"]),
            columns["unit"],
            map(_KIND, columns["kind"]),
            map(bool, columns["higher_is_better"]),
            map(_present, columns["n"]),
            [_present(each.get("estimator_stderr")) for each in parameters],
            [_present(each.get("nonfinite")) for each in parameters],
            columns["contract"],
            map(_choices, parameters),
            [_present(each.get("floor")) for each in parameters],
            [_present(each.get("null")) for each in parameters],
        )
    )


_KIND = {kind.value: kind for kind in Kind}.__getitem__


def _present(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def _choices(parameters: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Most scores have those of another, and they are made once."""
    chosen = tuple((key, value, type(value)) for key, value in parameters.items() if key not in OUTCOMES)
    return _choices_of(chosen)


@lru_cache(maxsize=4096)
def _choices_of(chosen: tuple[tuple[str, Any, type], ...]) -> tuple[tuple[str, str], ...]:
    return choices({key: value for key, value, _ in chosen})


def _numbers(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Parameters with numbers for the strings that stand for those JSON has not."""
    if str not in set(map(type, parameters.values())):
        return parameters
    return {key: number(value) if value in _NON_FINITE else value for key, value in parameters.items()}


_NON_FINITE = ("Infinity", "-Infinity", "NaN")
