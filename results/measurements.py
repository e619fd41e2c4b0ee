"""The records that count in a table, and which of them may be compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torchstone.results.record import OUTCOMES, Kind
from torchstone.results.store import age

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Measurement", "Value", "comparable", "current", "measurements"]


@dataclass(frozen=True, slots=True)
class Value:
    """One score of a measurement; ``choices`` are those of its parameters that were not measured."""

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
    order = records.assign(done=records["status"] != "failed", when=records["started"].map(age))
    ordered = order.sort_values(["done", "when", "record"])
    identity = ordered["identity"].where(ordered["identity"] != "", ordered["record"])
    counted = ordered[~identity.duplicated(keep="last")].sort_values(["when", "record"])
    lost = counted["code"].isna() & (counted["status"] == "failed")
    asked = counted[["suite", "model", "dataset", "seed", "settings"]]
    kept = counted.loc[~(lost & asked.duplicated(keep="last")), "record"]
    return frame[frame["record"].isin(set(kept))].reset_index(drop=True)


def measurements(scores: pd.DataFrame) -> list[Measurement]:
    """The completed records of a frame with their scores."""
    done = scores[(scores["status"] == "completed") & scores["metric"].notna()]
    parameters = [name for name in done.columns if name.startswith("parameters.")]
    columns = [*_COPIED, "record_contract", *_SCORED, *parameters]
    rows: dict[str, list[dict[str, Any]]] = {}
    for values in zip(*(done[name].tolist() for name in columns), strict=True):
        row = dict(zip(columns, values, strict=True))
        rows.setdefault(row["record"], []).append(row)
    return [_measurement(group) for group in rows.values()]


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


_COPIED = (
    "record", "suite", "suite_version", "model", "family", "dataset", "seed", "started", "settings", "code",
    "audit",
)  # fmt: skip
_SCORED = ("metric", "value", "stderr", "unit", "kind", "higher_is_better", "n", "contract")


def _shared(each: Measurement) -> tuple[Any, ...]:
    headline = next(iter(each.values.values()))
    return each.suite, each.suite_version, each.dataset, each.contract, headline.kind.value


def _measurement(rows: Sequence[Mapping[str, Any]]) -> Measurement:
    first = rows[0]
    choices = [_choices(row) for row in rows]
    names = _column_names([(row["metric"], chosen) for row, chosen in zip(rows, choices, strict=True)])
    copied = {name: first[name] for name in _COPIED} | {name: _text(first[name]) for name in ("code", "audit")}
    values = {name: _value(row, chosen) for name, row, chosen in zip(names, rows, choices, strict=True)}
    return Measurement(**copied, contract=first["record_contract"], values=values)


def _value(row: Mapping[str, Any], chosen: Mapping[str, str]) -> Value:
    return Value(
        value=row["value"],
        stderr=_present(row["stderr"]),
        unit=row["unit"],
        kind=Kind(row["kind"]),
        higher_is_better=bool(row["higher_is_better"]),
        n=_present(row["n"]),
        estimator_stderr=_present(row.get("parameters.estimator_stderr")),
        nonfinite=_present(row.get("parameters.nonfinite")),
        contract=row["contract"],
        choices=tuple(sorted(chosen.items())),
    )


def _choices(row: Mapping[str, Any]) -> dict[str, str]:
    """The parameters that were chosen, as text; those that are missing are left out."""
    named = ((key.removeprefix("parameters."), value) for key, value in row.items() if key.startswith("parameters."))
    return {key: _word(value) for key, value in named if key not in OUTCOMES and not _missing(value)}


def _column_names(scores: Sequence[tuple[str, Mapping[str, str]]]) -> list[str]:
    """A name for each score of a record: its metric, and what tells it from others of that metric in the record."""
    names: list[str] = []
    for metric, choices in scores:
        others = [other for name, other in scores if name == metric]
        telling = [key for key in choices if any(other.get(key) != choices[key] for other in others)]
        name = " ".join([metric, *(f"{key}={choices[key]}" for key in telling)])
        names.append(name if name not in names else f"{name} ({len(names) + 1})")
    return names


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
