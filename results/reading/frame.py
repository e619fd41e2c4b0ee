"""Records as one pandas table: a row for each score, and one for each record that has none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchstone.results.reading.grades import CERTIFICATE, UNAUDITED, Certified, audited, certified, grade
from torchstone.results.record import Kind, Record, RecordError, check_types, number
from torchstone.results.scan import Problem, scan
from torchstone.results.store import Store

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NAMES_OF_RECORD", "NAMES_OF_SCORE", "facts", "frame", "frame_of"]

# Columns taken from a record and from a score as they are.
_OF_RECORD = (
    "identity", "suite", "suite_version", "model", "family", "dataset", "seed",
    "status", "reason", "started", "seconds",
)  # fmt: skip
_OF_SCORE = ("metric", "unit", "kind", "higher_is_better", "n")

_RECORD = ("record", *_OF_RECORD, "settings", "code", "commit", "record_contract")
# What is read of a record to find its certificate, and is not shown.
_CERTIFIED = ("weights", "data", "stated")
_SCORE = (*_OF_SCORE, "value", "stderr", "ci_low", "ci_high", "position", "contract", "parameters")
# What `facts` gives of a record, and of each of its scores.
NAMES_OF_RECORD = (*_RECORD, *_CERTIFIED)
NAMES_OF_SCORE = _SCORE
_NUMBERS = ("value", "stderr", "ci_low", "ci_high", "n")

_KINDS = frozenset(Kind)

_record_facts = itemgetter(*_OF_RECORD)
_score_facts = itemgetter(*_OF_SCORE)


def frame(*sources: Store | Path | str) -> pd.DataFrame:
    """Every record of the stores or folders, one row for each score.

    Columns of the record: ``record`` (its id), ``identity``, ``suite``, ``suite_version``, ``model``, ``family``,
    ``dataset``, ``seed``, ``status``, ``reason``, ``started``, ``seconds``, ``settings`` and ``record_contract`` (as
    canonical JSON), ``code`` (its fingerprint), ``commit`` (of the checkout that it was made in), and ``audit``: the
    grade of the newest certificate of the same model on the same data, ``unaudited`` where there is none, and missing
    for certificates themselves.

    Columns of the score: ``metric``, ``unit``, ``kind``, ``higher_is_better``, ``n``, ``value``, ``stderr``,
    ``ci_low``, ``ci_high``, ``position`` (within its record), ``contract`` (the record's and its own, as canonical
    JSON), a ``contract.KEY`` for each key of that, and a ``parameters.KEY`` for each parameter. A record without scores
    (it was skipped, or failed) has one row, in which what belongs to a score is missing.

    Files that are not valid records are passed over; ``frame(...).attrs["problems"]`` names them, each in a sentence.
    """
    problems: list[Problem] = []
    table = _table(row for source in sources for row in _read(source, problems))
    table.attrs["problems"] = [str(problem) for problem in problems]
    return table


def frame_of(records: Iterable[Record], store: Store | None = None) -> pd.DataFrame:
    """The same table of records that are at hand; certificates are also looked for in ``store``."""
    known = [] if store is None else _read(store, [], CERTIFICATE)
    table = _table((facts(record.id, record.to_dict()) for record in records), known)
    table.attrs["problems"] = []
    return table


# What one record gives: its own columns, and those of its scores.
_Row = tuple[tuple[Any, ...], list[tuple[Any, ...]]]


def _read(source: Store | Path | str, problems: list[Problem], suite: str | None = None) -> Iterator[_Row]:
    folder = source.folder if isinstance(source, Store) else Path(source)
    if not folder.exists():
        problems.append(Problem(folder, "there is no such folder"))
    for name, id, content in scan(folder, problems):
        if suite is not None and content.get("suite") != suite:
            continue
        try:
            yield facts(id, content)
        except (AttributeError, KeyError, RecordError, TypeError, ValueError) as error:
            problems.append(Problem(folder / name, f"a field is missing or of the wrong type: {error}"))


def facts(id: str, content: Mapping[str, Any]) -> _Row:
    """What a table needs of one record's ``content``: `NAMES_OF_RECORD`, and `NAMES_OF_SCORE` of each of its scores.

    A record without scores has those of one that is missing.

    Raises:
        AttributeError, KeyError, RecordError, TypeError, ValueError: a field is missing or of the wrong type.
    """
    check_types(content)
    contract, scores = content["contract"], content["scores"]
    settings, shared, prints = _canonical(content["settings"]), _canonical(contract), content["fingerprints"].get
    stated = grade(content["audits"]) if content["audits"] else None
    commit = content["environment"].get("git_commit")
    own = (
        *(id, *_record_facts(content), settings, prints("code"), commit, shared),
        *(prints("weights"), prints("data"), stated),
    )
    if not scores:
        return own, [(None,) * (len(_SCORE) - 2) + (shared, {})]
    return own, [_score(position, score, contract, shared) for position, score in enumerate(scores)]


def _score(position: int, score: Mapping[str, Any], contract: Mapping[str, Any], shared: str) -> tuple[Any, ...]:
    value, stderr, added, parameters = score["value"], score["stderr"], score["contract"], score["parameters"]
    low, high = score["ci95"] or (None, None)
    if score["kind"] not in _KINDS or type(parameters) is not dict or type(score["n"]) not in (int, type(None)):
        raise ValueError(f"the score {score['metric']!r}")
    return (
        *_score_facts(score),
        value if type(value) is float else number(value),
        stderr if stderr is None or type(stderr) is float else number(stderr),
        low if low is None or type(low) is float else number(low),
        high if high is None or type(high) is float else number(high),
        position,
        _canonical({**contract, **added}) if added else shared,
        parameters,
    )


def _canonical(content: Mapping[str, Any]) -> str:
    import orjson

    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode()


def _table(rows: Iterable[_Row], certificates: Iterable[_Row] = ()) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    found = list({own[0]: (own, scores) for own, scores in rows}.values())
    columns = _columns(NAMES_OF_RECORD, [own for own, _ in found])
    grades = _grades(columns, _columns(NAMES_OF_RECORD, [own for own, _ in certificates]))
    records = pd.DataFrame({name: columns[name] for name in _RECORD} | {"audit": grades})
    scores = _columns(_SCORE, [score for _, scores in found for score in scores])
    contracts, parameters = scores.pop("contract"), scores.pop("parameters")
    numeric = {name: np.array(scores[name], dtype=float) for name in _NUMBERS}
    owners = np.repeat(np.arange(len(found)), [len(scores) for _, scores in found])
    parts = [
        records.take(owners).reset_index(drop=True),
        pd.DataFrame({**scores, **numeric}),
        _contracts(contracts),
        _flat("parameters", parameters),
    ]
    return pd.concat(parts, axis=1)


def _grades(columns: Mapping[str, Sequence[Any]], more: Mapping[str, Sequence[Any]]) -> list[str | None]:
    """The grade beside each record of ``columns``: that of its newest certificate, there or in ``more``."""
    latest = audited(
        (_certified(each, place), each["started"][place], each["record"][place], each["stated"][place])
        for each in (columns, more)
        for place, suite in enumerate(each["suite"])
        if suite == CERTIFICATE and each["status"][place] == "completed" and each["stated"][place] is not None
    )
    return [
        None if suite == CERTIFICATE else latest.get(_certified(columns, place), UNAUDITED) if latest else UNAUDITED
        for place, suite in enumerate(columns["suite"])
    ]


def _certified(columns: Mapping[str, Sequence[Any]], place: int) -> Certified | None:
    fingerprints = {name: columns[name][place] for name in ("data", "weights", "code")}
    return certified(columns["model"][place], columns["dataset"][place], columns["settings"][place], fingerprints)


def _columns(names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    return dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {name: () for name in names}


def _contracts(texts: Sequence[str]) -> pd.DataFrame:
    """The contracts, of which there are few, and a column for each of their keys; each contract is read once."""
    import numpy as np
    import orjson
    import pandas as pd

    numbered = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    flat = _flat("contract", [orjson.loads(text) for text in numbered])
    distinct = pd.concat([pd.DataFrame({"contract": list(numbered)}), flat], axis=1)
    places = np.fromiter((numbered[text] for text in texts), np.intp, len(texts))
    return distinct.take(places).reset_index(drop=True)


def _flat(name: str, objects: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A column for each key of ``objects``."""
    import pandas as pd

    keys = sorted(set().union(*objects))
    columns = {f"{name}.{key}": _finite_or_not([each.get(key) for each in objects]) for key in keys}
    return pd.DataFrame(columns, index=range(len(objects)))


def _finite_or_not(values: list[Any]) -> list[Any]:
    """``values`` with numbers for the strings that stand for the numbers JSON has not."""
    if str not in set(map(type, values)):
        return values
    return [number(value) if value in ("Infinity", "-Infinity", "NaN") else value for value in values]
