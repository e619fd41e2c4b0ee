"""Tables as text in five formats. Names of models and datasets are data, and are escaped in each."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from torchstone.results.cells import ABSENT, printable, quantity, small
from torchstone.results.escape import html_text, latex_text, markdown_text
from torchstone.results.grades import UNAUDITED
from torchstone.results.table import Block, Cell, Column, Row, Table, table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["WIDTH", "Format", "render"]

WIDTH = 100  # columns of a terminal that a Markdown table fits


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


@dataclass(frozen=True, slots=True)
class _Shown:
    """A column as it is shown: a heading, a text for each row, the metric it belongs to, and whether it holds words."""

    heading: str
    texts: Sequence[str]
    metric: str
    words: bool = False


def _markdown(source: Table) -> str:
    parts = [_markdown_block(block) for block in source.blocks]
    if source.absent:
        parts.append("\n".join(f"- {markdown_text(line)}" for line in source.absent))
    return "\n\n".join(parts or ["There are no records."]) + "\n"


def _markdown_block(block: Block) -> str:
    parts = _widths([_escaped(column, markdown_text) for column in _columns(block)])
    notes = [f"- {markdown_text(note)}" for note in block.notes]
    lines = [f"**{markdown_text(block.caption)}**", markdown_text(_legend(block))]
    grids = [_frame(part).to_markdown(index=False, disable_numparse=True, colalign=_alignment(part)) for part in parts]
    return "\n\n".join(["  \n".join(lines), *grids, *(["\n".join(notes)] if notes else [])])


def _widths(columns: Sequence[_Shown]) -> list[list[_Shown]]:
    """The columns in as many tables as fit the width; each begins with the models."""
    first, rest = columns[0], columns[1:]
    parts, room = [[first]], 0
    for group in _by_metric(rest):
        width = sum(_width(column) for column in group)
        if len(parts[-1]) > 1 and room + width > WIDTH - _width(first) - 1:
            parts.append([first])
            room = 0
        parts[-1] += group
        room += width
    return parts


def _by_metric(columns: Sequence[_Shown]) -> list[list[_Shown]]:
    groups: dict[str, list[_Shown]] = {}
    for column in columns:
        groups.setdefault(column.metric, []).append(column)
    return list(groups.values())


def _width(column: _Shown) -> int:
    return max(len(column.heading) + 2, *map(len, column.texts)) + 3  # tabulate pads headings by two


def _alignment(columns: Sequence[_Shown]) -> tuple[str, ...]:
    return tuple("left" if column.words else "right" for column in columns)


def _latex(source: Table) -> str:
    parts = [_latex_block(block) for block in source.blocks]
    parts += [rf"\noindent {latex_text(line)}\par" for line in source.absent]
    return "\n".join(parts or ["% There are no records."]) + "\n"


def _latex_block(block: Block) -> str:
    columns = [_escaped(column, latex_text) for column in _columns(block)]
    shape = "".join("l" if column.words else "r" for column in columns)
    caption = latex_text(f"{block.caption}. {_legend(block)}")
    grid = _frame(columns).to_latex(index=False, escape=False, caption=caption, column_format=shape)
    return "\n".join([str(grid).rstrip(), *(rf"\noindent {latex_text(note)}\par" for note in block.notes)])


def _html(source: Table) -> str:
    parts = [_html_block(block) for block in source.blocks]
    if source.absent:
        parts.append("<ul>\n" + "\n".join(f"<li>{html_text(line)}</li>" for line in source.absent) + "\n</ul>")
    body = "\n".join(parts or ["<p>There are no records.</p>"])
    return f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Results</title>\n{body}\n</html>\n'


def _html_block(block: Block) -> str:
    import pandas as pd

    shown = [_escaped(column, printable) for column in _columns(block)]
    with pd.option_context("display.max_colwidth", None):
        grid = _frame(shown).to_html(index=False, escape=True, border=0)
    notes = "".join(f"<p>{html_text(note)}</p>\n" for note in block.notes)
    title, legend = html_text(block.caption), html_text(_legend(block))
    return f"<section>\n<h2>{title}</h2>\n<p>{legend}</p>\n{grid}\n{notes}</section>"


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
                "value": _strict(cell.value),
                "stderr": _strict(cell.stderr),
                "estimator_stderr": _strict(cell.estimator_stderr),
                "seed_sd": _strict(cell.seed_sd),
            }
            for name, cell in row.cells.items()
        },
    }


def _strict(value: float | None) -> float | str | None:
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


def _columns(block: Block) -> list[_Shown]:
    """Model; family and seeds where the rows differ in them; each metric with its other uncertainties; the audit."""
    rows = block.rows
    shown = [_Shown("model", [f"{row.model} {row.label}".strip() for row in rows], "", words=True)]
    if len({row.family for row in rows}) > 1:
        shown.append(_Shown("family", [row.family for row in rows], "", words=True))
    if any(len(row.seeds) > 1 for row in rows):
        shown.append(_Shown("seeds", [str(len(row.seeds)) for row in rows], "seeds"))
    for column in block.columns:
        shown += _metric(column, [row.cells.get(column.name) for row in rows])
    if any(row.audit is not None for row in rows):
        shown.append(_Shown("audit", [row.audit or ABSENT for row in rows], "audit", words=True))
    return shown


def _metric(column: Column, cells: Sequence[Cell | None]) -> list[_Shown]:
    values = [ABSENT if cell is None else quantity(cell.value, cell.stderr, column.kind) for cell in cells]
    shown = [_Shown(column.name, values, column.name)]
    spread = [None if cell is None else cell.seed_sd for cell in cells]
    own = [None if cell is None else cell.estimator_stderr for cell in cells]
    for heading, numbers in (("seed sd", spread), ("est. se", own)):
        if any(number is not None for number in numbers):
            shown.append(_Shown(heading, [small(number) for number in numbers], column.name))
    return shown


def _legend(block: Block) -> str:
    """Units and directions, and what the rows have in common."""
    directions: dict[bool, dict[str, list[str]]] = {}
    for column in block.columns:
        directions.setdefault(column.higher_is_better, {}).setdefault(column.unit, []).append(column.name)
    words = []
    for up, units in directions.items():
        names = ", ".join(f"{', '.join(metrics)} in {unit}" for unit, metrics in units.items())
        words.append(f"{names}: {'higher' if up else 'lower'} is better")
    families = {row.family for row in block.rows}
    seeds = {row.seeds for row in block.rows}
    words += [f"all {family}" for family in families if len(families) == 1]
    words += [f"seed {row[0]}" for row in seeds if len(seeds) == 1 and len(row) == 1]
    if any(row.audit not in (None, UNAUDITED, "fail") for row in block.rows):
        words.append("audit: A proved, B tested, C held wherever tried, D declared")
    return "; ".join(words)


def _frame(columns: Sequence[_Shown]) -> pd.DataFrame:
    import pandas as pd

    rows = list(zip(*(column.texts for column in columns), strict=True))
    return pd.DataFrame(rows, columns=[column.heading for column in columns], dtype=object)


def _escaped(column: _Shown, escape: Callable[[str], str]) -> _Shown:
    texts = [escape(text) for text in column.texts]
    return replace(column, heading=escape(column.heading), texts=texts)
