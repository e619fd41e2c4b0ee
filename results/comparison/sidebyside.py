"""A comparison, written for people and for programs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from torchstone.results.comparison.compare import Comparison, Outcome, Row
from torchstone.results.record import Kind
from torchstone.results.tables.render import strict_number
from torchstone.results.text.grids import Grid, Shown, markdown
from torchstone.results.text.numbers import ABSENT, plain, quantity, shortened, small

__all__ = ["Form", "written"]

SENTENCE = 400  # characters of a sentence that a page shows; JSON has all
ALL = "all metrics"


class Form(StrEnum):
    """What a comparison can be written as."""

    MARKDOWN = "markdown"
    JSON = "json"


def written(comparison: Comparison, form: Form | str) -> str:
    """``comparison`` in one form. ValueError where there is no such."""
    return _WRITERS[Form(form)](comparison)


def _markdown(comparison: Comparison) -> str:
    blocks: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in comparison.rows:
        blocks.setdefault((row.suite, row.dataset, row.a, row.b), []).append(row)
    lines = [shortened(note, SENTENCE) for note in (LEGEND, *comparison.notes)]
    return markdown([_grid(rows) for rows in blocks.values()], lines, "There is nothing to compare.")


LEGEND = (
    "The verdict is on A. A − B has its standard error over examples; 95 % is the t interval, bootstrap the BCa one, "
    "wilcoxon the p-value of the signed-rank test. Intervals hold one by one, not all together."
)


def _grid(rows: Sequence[Row]) -> Grid:
    first = rows[0]
    title = (
        f"{shortened(first.suite)} on {shortened(first.dataset)} · A: {shortened(first.a)} · B: {shortened(first.b)}"
    )
    return Grid(title, _facts(rows), _columns(rows), _sentences(rows))


def _facts(rows: Sequence[Row]) -> str:
    """Directions, pairing and seeds of a block."""
    held = [row for row in rows if row.outcome is not Outcome.NOT_COMPARABLE]
    words = []
    for up in (False, True):
        names = ", ".join(
            f"{shortened(row.metric)} in {shortened(row.unit)}" for row in held if row.higher_is_better is up
        )
        words += [f"{names}: {'higher' if up else 'lower'} is better"] if names else []
    paired = {row.n for row in held if row.paired}
    words += [f"paired over {n} examples" for n in paired if len(paired) == 1 and all(row.paired for row in held)]
    a, b = rows[0].seeds
    return "; ".join([*words, f"seeds: {a} and {b}"])


def _columns(rows: Sequence[Row]) -> list[Shown]:
    """The columns that every comparison has, and of the others those that hold something."""
    texts = {
        "metric": [shortened(row.metric) or ALL for row in rows],
        "verdict": [row.outcome.value for row in rows],
        "A": [_value(row, 0) for row in rows],
        "B": [_value(row, 1) for row in rows],
        "A − B": [_difference(row) for row in rows],
        "95 %": [_interval(row.interval) for row in rows],
    }
    more = {
        "bootstrap": [_interval(row.bootstrap) for row in rows],
        "wilcoxon": [small(row.wilcoxon) for row in rows],
        "est. se": [small(row.estimator_stderr or None) for row in rows],
        "seed sd": [small(row.seed_sd) for row in rows],
    }
    texts |= {name: held for name, held in more.items() if any(text != ABSENT for text in held)}
    return [Shown(name, held, name, words=name in ("metric", "verdict")) for name, held in texts.items()]


def _value(row: Row, side: int) -> str:
    if math.isnan(row.values[side]):
        return ABSENT
    return quantity(row.values[side], None, row.kinds[side] if row.kinds else Kind.EXACT)


def _difference(row: Row) -> str:
    if math.isnan(row.difference):
        return ABSENT
    return "0" if row.difference == row.stderr == 0 else quantity(row.difference, row.stderr, Kind.EXACT)


def _interval(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return ABSENT
    width = interval[1] - interval[0]
    if not width:
        return plain(interval[0])
    decimals = max(0, 1 - math.floor(math.log10(width)))
    return f"{interval[0]:.{decimals}f} to {interval[1]:.{decimals}f}"


def _sentences(rows: Sequence[Row]) -> list[str]:
    """Reasons and notes; metrics of which the same is to be said share a line."""
    said: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        text = " ".join(word for word in (row.reason, *row.notes) if word)
        if text:
            lead = "not comparable: " if row.outcome is Outcome.NOT_COMPARABLE else ""
            said.setdefault((lead, text), []).append(shortened(row.metric) or ALL)
    return [shortened(f"{lead}{', '.join(metrics)}: {text}", SENTENCE) for (lead, text), metrics in said.items()]


def _json(comparison: Comparison) -> str:
    content = {
        "rows": [_plain(dataclasses.asdict(row)) for row in comparison.rows],
        "notes": list(comparison.notes),
        "problems": list(comparison.problems),
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Plain JSON values of a row's fields."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return strict_number(value) if isinstance(value, float) else value


_WRITERS: Mapping[Form, Callable[[Comparison], str]] = {Form.MARKDOWN: _markdown, Form.JSON: _json}
