"""What a measurement is: a value, its kind, its uncertainty and its contract, and the record that carries it.

Only the standard library is imported here, so that records can be read anywhere.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import numbers
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, TypeAlias

__all__ = [
    "ENVIRONMENT_KEYS",
    "NO_DENSITY",
    "OUTCOMES",
    "SCHEMA",
    "UNHELD",
    "Environment",
    "Flat",
    "Kind",
    "Record",
    "RecordError",
    "Score",
    "Status",
    "build",
    "canonical",
    "content_id",
    "digest",
    "number",
    "text_id",
]

# Schema history. 1: first.
SCHEMA = 1

# Two witnesses of audits that readers of a record know by their words.
NO_DENSITY = "The model gives no density."  # an audit of one does not apply, for none is promised
UNHELD = "It could not be held"  # so begins that of an audit which an error kept from its verdict

EDITED = "its id does not match its content: it was edited or damaged"

Scalar: TypeAlias = str | int | float | bool | None
Flat: TypeAlias = Mapping[str, Scalar]

# The parameters of a score that are measured, or the model's own. All others are choices, and choices that differ keep
# two numbers apart.
OUTCOMES = frozenset({
    "acceptance", "acceptance_by_temperature", "acceptance_lowest", "against", "best_batch", "calls", "corrected",
    "cpu_per_wall", "draw_sd", "effective_samples", "estimator", "estimator_stderr", "evaluations", "floor", "floor_sd",
    "iqr", "latents", "learning_rate", "load", "lowest", "nonfinite", "null", "null_high", "null_mean", "p_value",
    "seconds_per_sample", "slope", "strength", "support_size", "warmup_calls",
})  # fmt: skip

# The keys of a contract that name the machine a speed was measured on, and nothing of what was measured.
ENVIRONMENT_KEYS = frozenset({
    "clock", "cores", "device", "device_name", "dtype", "matmul_precision", "process", "threads", "torch",
})  # fmt: skip

_NON_FINITE = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


class RecordError(Exception):
    """A record cannot be read or written; the message names the file and the cause."""


class Kind(StrEnum):
    """What a printed number is, relative to the quantity it names."""

    EXACT = "exact"
    LOWER_BOUND = "lower_bound"
    UPPER_BOUND = "upper_bound"
    ESTIMATE = "estimate"

    @property
    def sign(self) -> str:
        """The sign printed before the number."""
        return {"lower_bound": "≥", "upper_bound": "≤", "estimate": "≈"}.get(self.value, "")


class Status(StrEnum):
    """How a cell ended. A record's ``reason`` says why, and what to do next."""

    COMPLETED = "completed"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Score:
    """One number of a record.

    ``stderr`` is the standard error over examples and ``ci95`` the interval it gives; ``n`` counts the examples.
    ``parameters`` names what belongs to the metric (K, draws; and, measured, those of `OUTCOMES`: the estimator's own
    standard error, and how many examples had no finite value), and ``contract`` what this score adds to the record's
    contract: two scores share a column only where both contracts agree. The first score of a record is its headline.
    """

    metric: str
    value: float
    unit: str
    kind: Kind
    higher_is_better: bool
    stderr: float | None = None
    ci95: tuple[float, float] | None = None
    n: int | None = None
    parameters: Flat = field(default_factory=dict)
    contract: Flat = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Environment:
    """The facts of a run that may move its numbers or its speed; each is defined here and nowhere else."""

    torchstone: str
    python: str
    platform: str
    versions: Mapping[str, str]
    git_commit: str | None
    git_dirty: bool | None
    device: str
    device_name: str
    threads: int
    dtype: str
    deterministic: bool
    matmul_precision: str
    batch_size: int
    batch_size_halvings: int


@dataclass(frozen=True, slots=True)
class Record:
    """One suite on one model, one dataset and one seed. Never edited: a new measurement is a new record."""

    identity: str
    suite: str
    suite_version: int
    model: str
    family: str
    dataset: str
    seed: int
    settings: Mapping[str, Any]
    contract: Flat
    status: Status
    reason: str
    scores: tuple[Score, ...]
    environment: Environment
    started: str
    seconds: float
    fingerprints: Mapping[str, str]
    audits: tuple[Mapping[str, Any], ...] = ()
    arrays: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def id(self) -> str:
        """sha256 of the record's JSON as `to_json` lays it out, but for the line of the id."""
        return content_id(_plain(self))

    def score(self, metric: str) -> Score:
        """The first score called ``metric``; KeyError, naming those there are, where there is none."""
        for score in self.scores:
            if score.metric == metric:
                return score
        there = ", ".join(score.metric for score in self.scores) or "none"
        raise KeyError(f"no score {metric!r} in this record; it has {there}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, ``id`` included; infinite and undefined numbers as strings."""
        content = _plain(self)
        return {"schema": content.pop("schema"), "id": self.id, **content}

    def to_json(self) -> str:
        """Strict JSON, a line for each field and for each score."""
        return _layout(self.to_dict())

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Record:
        """The record that `to_dict` gave. RecordError where a field is missing or unknown, or the id does not match."""
        if not isinstance(raw, Mapping):
            raise RecordError(f"it holds a {type(raw).__name__}, not a record")
        content = {key: value for key, value in raw.items() if key != "id"}
        check_schema(content)
        if raw.get("id") != content_id(_plain(content)):
            raise RecordError(EDITED)
        return build(content)


def check_schema(content: Mapping[str, Any]) -> None:
    """Raises RecordError where ``content`` has another schema than this version's."""
    if content.get("schema") != SCHEMA:
        raise RecordError(f"schema {content.get('schema')!r} is not {SCHEMA}, the one this version reads")


def build(content: Mapping[str, Any]) -> Record:
    """The record of a verified ``content``, which has no id; RecordError where a field is not as it should be."""
    check_types(content)
    try:
        return Record(
            **{
                **content,
                "status": Status(content["status"]),
                "scores": tuple(_score(score) for score in content["scores"]),
                "environment": Environment(**content["environment"]),
                "audits": tuple(content["audits"]),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"a field is missing, unknown or of the wrong type: {error}") from error


def check_types(content: Mapping[str, Any]) -> None:
    """Raises RecordError where a field of ``content`` has not the type that it has in JSON."""
    found = tuple(map(type, map(content.get, _TYPES)))
    if found not in _ACCEPTED:
        name, wrong = next((n, f) for n, f, right in zip(_TYPES, found, _TYPES.values(), strict=True) if f is not right)
        raise RecordError(f"its field {name!r} is a {wrong.__name__}")
    for place, entry in enumerate(content["audits"]):
        _check_audit(entry, f"its audit {place + 1}")


def _check_audit(entry: Any, which: str) -> None:
    """Raises RecordError where ``entry`` is not what a record holds of one audit."""
    if not isinstance(entry, Mapping):
        raise RecordError(f"{which} is a {type(entry).__name__}, not an object")
    name, verdict, grade = (entry.get(key) for key in ("audit", "verdict", "grade"))
    if not isinstance(name, str):
        raise RecordError(f"{which} has the name {name!r}, which is no text")
    if not (isinstance(verdict, str) and verdict in _VERDICTS):
        raise RecordError(f"{which}, {name!r}, has the verdict {verdict!r}, which is none of {', '.join(_VERDICTS)}")
    if not (isinstance(grade, str) and grade in _GRADES):
        raise RecordError(f"{which}, {name!r}, has the grade {grade!r}, which is none of {', '.join(_GRADES)}")
    for key in ("statistic", "p_value", "level"):
        value = entry.get(key)
        right = value in _NON_FINITE if isinstance(value, str) else isinstance(value, int | float | None)
        if isinstance(value, bool) or not right:
            raise RecordError(f"{which}, {name!r}, has the {key} {value!r}, which is no number")


def digest(content: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of ``content``."""
    return hashlib.sha256(canonical(content)).hexdigest()


def canonical(content: Mapping[str, Any]) -> bytes:
    """JSON on one line, keys sorted: equal contents give equal bytes."""
    return _encode(_plain(content)).encode()


def content_id(content: Mapping[str, Any]) -> str:
    """The id of a record's ``content``, which is in JSON's own types; the order of its keys plays no part."""
    return hashlib.sha256(_layout(content).encode()).hexdigest()


def text_id(text: bytes, stated: str) -> str:
    """The id of a record from its text, in the layout of `Record.to_json`, without the line of the ``stated`` id."""
    return hashlib.sha256(text.replace(f' "id": "{stated}",\n'.encode(), b"", 1)).hexdigest()


def number(value: float | str) -> float:
    """A JSON number, or one of the strings "Infinity", "-Infinity" and "NaN", as a float."""
    return _NON_FINITE[value] if isinstance(value, str) else float(value)


_ORDER = ("schema", "id", *(f.name for f in dataclasses.fields(Record) if f.name != "schema"))

_TYPES: dict[str, type] = {
    **dict.fromkeys(("identity", "suite", "model", "family", "dataset", "status", "reason", "started"), str),
    **dict.fromkeys(("settings", "contract", "environment", "fingerprints", "arrays", "figures"), dict),
    **dict.fromkeys(("scores", "audits"), list),
    **dict.fromkeys(("suite_version", "seed"), int),
    "seconds": float,
}
_VERDICTS = ("pass", "fail", "flag", "inconclusive", "not-applicable")
_GRADES = ("A", "B", "C", "D")
_ACCEPTED = {tuple(_TYPES.values()), tuple((_TYPES | {"seconds": int}).values())}

_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False, check_circular=False).encode


def _layout(content: Mapping[str, Any]) -> str:
    """A line for each field in the order of `Record`, unknown ones last."""
    known = {name: content[name] for name in _ORDER if name in content}
    fields = known | {name: content[name] for name in sorted(content.keys() - known.keys())}
    return "{\n " + ",\n ".join(f"{_encode(name)}: {_lines(value)}" for name, value in fields.items()) + "\n}\n"


def _lines(plain: Any) -> str:
    """JSON, a line for each item of a list."""
    if not isinstance(plain, list) or not plain:
        return _encode(plain)
    return "[\n  " + ",\n  ".join(_encode(item) for item in plain) + "\n ]"


def _score(raw: Mapping[str, Any]) -> Score:
    interval = raw["ci95"]
    return Score(
        **{
            **raw,
            "kind": Kind(raw["kind"]),
            "value": number(raw["value"]),
            "stderr": None if raw["stderr"] is None else number(raw["stderr"]),
            "ci95": None if interval is None else (number(interval[0]), number(interval[1])),
        }
    )


def _plain(value: Any) -> Any:
    """``value`` in JSON's own types: numbers that some reader could not hold (not finite, over 64 bits) as strings."""
    match value:
        case Enum():
            return value.value
        case None | bool():
            return value
        case str():
            return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
        case numbers.Integral():
            return _integer(int(value))
        case numbers.Real():
            return _finite(float(value))
        case Mapping():
            return {_plain(str(key)): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case os.PathLike():
            return _plain(os.fsdecode(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    raise RecordError(f"{value!r} is a {type(value).__name__}, which a record cannot hold; convert it first")


def _integer(value: int) -> int | str:
    return value if -(2**63) <= value < 2**64 else str(value)


def _finite(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
