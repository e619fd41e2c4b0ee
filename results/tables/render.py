"""Tables as text in five formats. Names of models and datasets are data, and are escaped in each."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from torchstone.results.reading.grades import UNAUDITED
from torchstone.results.tables.table import Block, Cell, Column, Row, Table, table
from torchstone.results.text.grids import WIDTH, Grid, Shown, html, latex, markdown
from torchstone.results.text.numbers import ABSENT, quantity, small

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EMPTY", "WIDTH", "Format", "facets", "legend", "render", "strict_number"]

EMPTY = "There are no records."
FLOOR, NULL = "floor: training examples", "null: the law of the data"


class Format(StrEnum):
    """What a table can be rendered as."""

    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"
    LATEX = "latex"
    HTML = "html"


def render(source: pd.DataFrame | Table, format: Format | str = Format.MARKDOWN) -> str:
    """A `frame`, or the `table` made of one, as text.

    Markdown, LaTeX and HTML show the blocks; JSON has the blocks with all digits, CSV a row for each score with all
    digits. An infinite number is ``inf`` in CSV and the string ``"Infinity"`` in JSON.

    Raises:
        ValueError: There is no such format.
    """
    return _RENDERERS[Format(format)](source if isinstance(source, Table) else table(source))


def _grids(source: Table) -> list[Grid]:
    return [Grid(block.caption, legend(block), _columns(block), block.notes) for block in source.blocks]


def _markdown(source: Table) -> str:
    return markdown(_grids(source), source.absent, EMPTY)


def _latex(source: Table) -> str:
    return latex(_grids(source), source.absent, EMPTY)


def _html(source: Table) -> str:
    return html(_grids(source), source.absent, EMPTY)


def _csv(source: Table) -> str:
    text: str = source.scores.to_csv(index=False, lineterminator="\n")
    return text


def _json(source: Table) -> str:
    content = {"blocks": [_json_block(block) for block in source.blocks], "absent": list(source.absent)}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _json_block(block: Block) -> dict[str, Any]:
    return {
        "caption": block.caption,
        "suite": block.suite,
        "suite_version": block.suite_version,
        "dataset": block.dataset,
        "contract": json.loads(block.contract),
        "columns": [
            {"name": c.name, "unit": c.unit, "kind": c.kind.value, "higher_is_better": c.higher_is_better}
            | {key: value for key, value in (("floor", c.floor), ("null", c.null)) if value is not None}
            for c in block.columns
        ],
        "rows": [_json_row(row) for row in block.rows],
        "notes": list(block.notes),
    }


def _json_row(row: Row) -> dict[str, Any]:
    return {
        "model": row.model,
        "label": row.label,
        "family": row.family,
        "seeds": list(row.seeds),
        "records": list(row.records),
        "audit": row.audit,
        "cells": {
            name: {
                "value": strict_number(cell.value),
                "stderr": strict_number(cell.stderr),
                "estimator_stderr": strict_number(cell.estimator_stderr),
                "seed_sd": strict_number(cell.seed_sd),
            }
            for name, cell in row.cells.items()
        },
    }


def strict_number(value: float | None) -> float | str | None:
    """``value`` as strict JSON has it: one that is not finite as a string."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


_RENDERERS: Mapping[Format, Callable[[Table], str]] = {
    Format.MARKDOWN: _markdown,
    Format.CSV: _csv,
    Format.JSON: _json,
    Format.LATEX: _latex,
    Format.HTML: _html,
}


def _columns(block: Block) -> list[Shown]:
    """Model; family and seeds where the rows differ in them; each metric with its other uncertainties; the audit."""
    rows, below = block.rows, _below(block)
    blank = [""] * len(below)
    shown = [Shown("model", [*(f"{row.model} {row.label}".strip() for row in rows), *below], "", words=True)]
    if len({row.family for row in rows}) > 1:
        shown.append(Shown("family", [*(row.family for row in rows), *blank], "", words=True))
    if any(len(row.seeds) > 1 for row in rows):
        shown.append(Shown("seeds", [*(str(len(row.seeds)) for row in rows), *blank], "seeds"))
    parts = facets([column.name for column in block.columns])
    for column in block.columns:
        beside = [get(column) for get in below.values()]
        cells = [row.cells.get(column.name) for row in rows]
        shown += _metric(column, cells, beside, *parts.get(column.name, ("", "")))
    if any(row.audit is not None for row in rows):
        shown.append(Shown("audit", [*(row.audit or ABSENT for row in rows), *blank], "audit", words=True))
    return shown


def _below(block: Block) -> dict[str, Callable[[Column], float | None]]:
    """The rows below those of models: what the numbers are to be seen beside, as far as it is known."""
    beside: dict[str, Callable[[Column], float | None]] = {
        FLOOR: lambda column: column.floor,
        NULL: lambda column: column.null,
    }
    return {name: get for name, get in beside.items() if any(get(column) is not None for column in block.columns)}


def facets(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Of columns that two or more choices tell apart: what they share with others, and the value that they do not.

    The choice that takes most values among the columns of a metric heads the columns, the others are the title of a
    table. Columns of metrics with one such choice, or none, are left out.

    >>> facets(["auroc outliers=noise score=typicality", "auroc outliers=spins score=typicality", "iwae K=10"])
    {'auroc outliers=noise score=typicality': ('auroc, score=typicality', 'noise'), \
'auroc outliers=spins score=typicality': ('auroc, score=typicality', 'spins')}
    """
    metrics: dict[str, dict[str, dict[str, str]]] = {}
    for name in names:
        metric, *words = name.split(" ")
        metrics.setdefault(metric, {})[name] = {key: value for key, _, value in (word.partition("=") for word in words)}
    found = {}
    for metric, columns in metrics.items():
        keys = next(iter(columns.values()))
        if len(keys) < 2 or any(each.keys() != keys.keys() or not all(each.values()) for each in columns.values()):
            continue
        axis = max(keys, key=lambda key: len({each[key] for each in columns.values()}))
        for name, each in columns.items():
            title = ", ".join([metric, *(f"{key}={value}" for key, value in each.items() if key != axis)])
            found[name] = title, each[axis]
    return found


def _metric(
    column: Column, cells: Sequence[Cell | None], below: Sequence[float | None], part: str, short: str
) -> list[Shown]:
    values = [ABSENT if cell is None else quantity(cell.value, cell.stderr, column.kind) for cell in cells]
    values += ["" if number is None else small(number) for number in below]
    shown = [Shown(column.name, values, column.name, part=part, short=short)]
    spread = [None if cell is None else cell.seed_sd for cell in cells]
    own = [None if cell is None else cell.estimator_stderr for cell in cells]
    for heading, numbers in (("seed sd", spread), ("est. se", own)):
        if any(number is not None for number in numbers):
            texts = [*(small(number) for number in numbers), *([""] * len(below))]
            shown.append(Shown(heading, texts, column.name, part=part, short=heading))
    return shown


def legend(block: Block) -> str:
    """Units and directions, and what the rows have in common."""
    directions: dict[bool, dict[str, dict[str, None]]] = {}
    parts = facets([column.name for column in block.columns])
    for column in block.columns:
        name = column.name.partition(" ")[0] if column.name in parts else column.name
        directions.setdefault(column.higher_is_better, {}).setdefault(column.unit, {})[name] = None
    words = []
    for up, units in directions.items():
        names = ", ".join(", ".join(metrics) + (f" in {unit}" if unit else "") for unit, metrics in units.items())
        words.append(f"{names}: {'higher' if up else 'lower'} is better")
    families = {row.family for row in block.rows}
    seeds = {row.seeds for row in block.rows}
    words += [f"all {family}" for family in families if len(families) == 1]
    words += [f"seed {row[0]}" for row in seeds if len(seeds) == 1 and len(row) == 1]
    if any(row.audit not in (None, UNAUDITED, "fail") for row in block.rows):
        words.append("audit: A proved, B tested, C held wherever tried, D declared")
    return "; ".join(words)
