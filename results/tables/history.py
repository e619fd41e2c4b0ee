"""How a metric of a model moved from record to record."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

from torchstone.results.reading.labels import labels, variant
from torchstone.results.reading.measurements import Measurement, Value, measurements
from torchstone.results.store import age
from torchstone.results.tables.render import Format, strict_number
from torchstone.results.tables.selecting import check_columns, of_metric
from torchstone.results.text.grids import Grid, Shown, html, latex, markdown
from torchstone.results.text.numbers import ABSENT, quantity

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["History", "Moment", "histories", "render_history"]


@final
@dataclass(frozen=True, slots=True)
class Moment:
    """One record in a history.

    ``change`` is the difference from the record before it that has the same seed, version of the suite, contract and
    kind; None where there is none, and the number begins anew.
    """

    record: str
    started: str
    commit: str
    suite_version: int
    seed: int
    value: Value
    change: float | None


@final
@dataclass(frozen=True, slots=True)
class History:
    """One metric of one model with one choice of settings, the oldest record first.

    Whatever its code was at the time: that is what a history is about.
    """

    suite: str
    dataset: str
    model: str
    label: str
    column: str
    moments: tuple[Moment, ...]


def histories(frame: pd.DataFrame, metric: str) -> tuple[History, ...]:
    """The histories of ``metric`` among all records of ``frame``, superseded ones too, where a seed has several.

    Raises:
        RecordError: no record has that metric; the nearest that there is is named.
    """
    done = measurements(frame)
    commits = dict(zip(frame["record"].tolist(), frame["commit"].tolist(), strict=True))
    found = sorted(map(_lasting, done), key=lambda each: (age(each.started), each.seed, each.record))
    check_columns((metric,), {name for each in found for name in each.values})
    naming = labels(found)
    groups: dict[tuple[Any, ...], list[Measurement]] = {}
    for each in found:
        for column in each.values:
            if of_metric(column, metric):
                groups.setdefault((*variant(each)[:3], naming[variant(each)], column), []).append(each)
    return tuple(
        History(*[*key, tuple(_moments(members, key[-1], commits))])
        for key, members in sorted(groups.items())
        if len(members) > len({each.seed for each in members})
    )


def _lasting(each: Measurement) -> Measurement:
    """``each`` without what a history looks past: its code, and the state that sets apart objects of one class."""
    settings = json.loads(each.settings)
    settings.pop("state", None)
    return replace(each, code=None, settings=json.dumps(settings, sort_keys=True))


def _moments(members: Sequence[Measurement], column: str, commits: Mapping[str, Any]) -> Iterator[Moment]:
    latest: dict[tuple[Any, ...], float] = {}
    for each in members:
        value, commit = each.values[column], commits[each.record]
        key = (each.seed, each.suite_version, each.contract, value.signature)
        change = value.value - latest.get(key, math.nan)
        latest[key] = value.value
        known = commit if isinstance(commit, str) else ""
        yield Moment(each.record, each.started, known, each.suite_version, each.seed, value, _known(change))


def _known(change: float) -> float | None:
    """None for the first number, and between two infinite ones."""
    return None if math.isnan(change) else change


def render_history(found: Sequence[History], metric: str, format: Format | str = Format.MARKDOWN) -> str:
    """Histories of ``metric`` as text, in the formats of tables; CSV and JSON have all digits.

    Raises:
        ValueError: There is no such format.
    """
    return _RENDERERS[Format(format)](found, metric)


def _words(write: Callable[[Sequence[Grid], Sequence[str], str], str]) -> Callable[[Sequence[History], str], str]:
    def render(found: Sequence[History], metric: str) -> str:
        return write([_grid(each) for each in found], (), f"No model has several records of one seed with {metric}.")

    return render


def _grid(each: History) -> Grid:
    name = f"{each.model} {each.label}".strip()
    values = [moment.value for moment in each.moments]
    direction = "higher" if values[0].higher_is_better else "lower"
    columns = [
        Shown("started", [_when(moment.started) for moment in each.moments], "", words=True),
        Shown("commit", [moment.commit[:7] or ABSENT for moment in each.moments], "commit", words=True),
        Shown("version", [str(moment.suite_version) for moment in each.moments], "version"),
        Shown("seed", [str(moment.seed) for moment in each.moments], "seed"),
        Shown(each.column, [quantity(value.value, value.stderr, value.kind) for value in values], each.column),
        Shown("change", [_signed(moment.change) for moment in each.moments], each.column),
    ]
    legend = (
        f"in {values[0].unit}; {direction} is better; the change is from the record before it of the same seed, "
        "version and contract"
    )
    return Grid(f"{each.column} of {name} · {each.suite} on {each.dataset}", legend, columns)


def _when(started: str) -> str:
    try:
        return age(started).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return ABSENT


def _signed(change: float | None) -> str:
    if change is None:
        return ABSENT
    return "0" if change == 0 else f"{change:+.3g}"


def _json(found: Sequence[History], metric: str) -> str:
    facts = [
        {**_of_history(each), "moments": [_of_moment(moment, strict_number) for moment in each.moments]}
        for each in found
    ]
    return json.dumps({"metric": metric, "histories": facts}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _csv(found: Sequence[History], metric: str) -> str:
    import pandas as pd

    rows = [{**_of_history(each), **_of_moment(moment, float)} for each in found for moment in each.moments]
    text: str = pd.DataFrame(rows, columns=_CSV).to_csv(index=False, lineterminator="\n")
    return text


def _of_history(each: History) -> dict[str, str]:
    return {
        "suite": each.suite, "dataset": each.dataset, "model": each.model, "label": each.label, "column": each.column,
    }  # fmt: skip


def _of_moment(moment: Moment, write: Callable[[float], float | str | None]) -> dict[str, Any]:
    value = moment.value
    return {
        "record": moment.record,
        "started": moment.started,
        "commit": moment.commit,
        "suite_version": moment.suite_version,
        "seed": moment.seed,
        "value": write(value.value),
        "stderr": None if value.stderr is None else write(value.stderr),
        "kind": value.kind.value,
        "unit": value.unit,
        "change": None if moment.change is None else write(moment.change),
    }


_CSV = [
    "suite", "dataset", "model", "label", "column", "record", "started", "commit", "suite_version", "seed", "value",
    "stderr", "kind", "unit", "change",
]  # fmt: skip
_RENDERERS: Mapping[Format, Callable[[Sequence[History], str], str]] = {
    Format.MARKDOWN: _words(markdown),
    Format.CSV: _csv,
    Format.JSON: _json,
    Format.LATEX: _words(latex),
    Format.HTML: _words(html),
}
