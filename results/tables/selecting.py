"""Which records and which columns a report shows."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from torchstone.results.record import RecordError
from torchstone.results.store import age
from torchstone.results.tables.table import Block, Table, by_headline

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_shown", "beginning", "check_columns", "chosen", "of_metric", "since"]

_SPANS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def since(frame: pd.DataFrame, when: str, now: datetime | None = None) -> pd.DataFrame:
    """The rows of the records of ``frame`` that were started at ``when`` or later; see `beginning`.

    Grades stay: a certificate counts however old it is. A record that does not say when it was started is left out.
    """
    records = frame.drop_duplicates("record")
    started = list(map(age, records["started"].tolist()))
    made = zip(started, records["commit"].tolist(), strict=True)
    limit = beginning(when, ((at, commit) for at, commit in made if isinstance(commit, str)), now)
    kept = {id for id, at in zip(records["record"].tolist(), started, strict=True) if at >= limit}
    return frame[frame["record"].isin(kept)].reset_index(drop=True)


def beginning(when: str, commits: Iterable[tuple[datetime, str]] = (), now: datetime | None = None) -> datetime:
    """The moment that ``when`` names.

    Args:
        when: an ISO date or time, in UTC unless it says otherwise; a span back from now, such as ``7d``, ``12h``,
            ``30m`` or ``2w``; or a git commit, or four or more digits that it begins with, which stands for the oldest
            record that was made in it. What can be read as a date is one.
        commits: when each record was started, and in which commit.
        now: where spans end; the present, unless it is given.

    Raises:
        RecordError: it is none of these, no record was made in that commit, or records were made in several such.
    """
    span = re.fullmatch(r"([0-9]{1,18})([mhdw])", when)
    if span:
        return _back(_SPANS[span[2]], int(span[1]), now or datetime.now(UTC))
    try:
        moment = datetime.fromisoformat(when)
    except ValueError:
        return _first_in(when, commits)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _back(unit: str, count: int, now: datetime) -> datetime:
    try:
        return now - timedelta(**{unit: count})
    except OverflowError:  # before the year 1
        return datetime.min.replace(tzinfo=UTC)


def _first_in(when: str, commits: Iterable[tuple[datetime, str]]) -> datetime:
    if not re.fullmatch(r"[0-9a-fA-F]{4,64}", when):
        raise RecordError(
            f"{when!r} is no moment; give a date such as 2026-01-31, a span such as 7d, 12h or 2w, or a git commit "
            "that the records were made in"
        )
    made = list(commits)
    fitting = {commit for _, commit in made if commit.startswith(when.lower())}
    if len(fitting) > 1:
        shown = ", ".join(sorted(commit[:12] for commit in fitting))
        raise RecordError(
            f"{when!r} begins {len(fitting)} commits that records were made in ({shown}); give more of it"
        )
    if not fitting:
        latest = [commit[:12] for _, commit in sorted(made, reverse=True)]
        known = ", ".join(list(dict.fromkeys(latest))[:3]) or "none"
        raise RecordError(f"{when!r} is no commit that a record was made in; the latest of those are {known}")
    return min(at for at, commit in made if commit in fitting)


def chosen(source: Table, names: Sequence[str]) -> Table:
    """The table with the columns called ``names`` alone, in that order, and the rows and blocks that have any.

    A name is that of a metric, which stands for each of its columns, or that of a column, whole or without some of its
    choices. Rows are put in order by the first of the columns, and the scores behind the table are those of the
    metrics.

    Raises:
        RecordError: no block has such a column; the nearest that there is is named.
    """
    check_columns(names, {column.name for block in source.blocks for column in block.columns})
    blocks = [narrowed for block in source.blocks if (narrowed := _narrow(block, names)) is not None]
    metrics = {_metric(name) for name in names}
    return replace(source, blocks=tuple(blocks), scores=source.scores[source.scores["metric"].isin(metrics)])


def as_shown(source: Table, shown: Mapping[str, Sequence[str]]) -> Table:
    """The table with the columns that a suite names in ``shown`` alone, and a note that says how many others there are.

    Blocks of other suites, and blocks that have none of those columns, stay as they are.
    """
    return replace(source, blocks=tuple(_as_shown(block, shown.get(block.suite, ())) for block in source.blocks))


def _as_shown(block: Block, names: Sequence[str]) -> Block:
    narrowed = _narrow(block, names)
    if narrowed is None or len(narrowed.columns) == len(block.columns):
        return block
    left = len(block.columns) - len(narrowed.columns)
    return replace(narrowed, notes=(*block.notes, f"{left} more columns of these records are shown by bench report"))


def check_columns(names: Iterable[str], columns: Iterable[str]) -> None:
    """Raises RecordError, naming the nearest, where one of ``names`` is that of no column and of no metric of one.

    Where there are no columns at all, as before the first record, no name is wrong.
    """
    there = tuple(columns)
    known = {name for column in there for name in (column, _metric(column))}
    for name in names:
        if known and not any(of_metric(column, name) for column in there):
            raise RecordError(f"no record has a metric {name!r}; {_nearest(name, map(_metric, known))}")


def of_metric(name: str, metric: str) -> bool:
    """Whether the column ``name`` is the one called ``metric``, or one of that metric with the choices it names."""
    asked, *choices = metric.split(" ")
    return name == metric or (_metric(name) == asked and set(choices) <= set(name.split(" ")[1:]))


def _metric(column: str) -> str:
    return column.partition(" ")[0]


def _narrow(block: Block, names: Sequence[str]) -> Block | None:
    columns = tuple(dict.fromkeys(column for name in names for column in block.columns if of_metric(column.name, name)))
    shown = {column.name for column in columns}
    rows = [
        replace(row, cells={name: cell for name, cell in row.cells.items() if name in shown})
        for row in block.rows
        if shown & row.cells.keys()
    ]
    return replace(block, columns=columns, rows=by_headline(rows, columns[0])) if columns else None


def _nearest(name: str, known: Iterable[str]) -> str:
    options = sorted(set(known))
    close = difflib.get_close_matches(name, options, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there is {', '.join(options)}"
