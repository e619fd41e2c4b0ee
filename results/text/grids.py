"""A table of words and numbers under a caption, as Markdown, LaTeX and HTML. All text in it is data, and escaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

from torchstone.results.text.escape import html_text, latex_text, markdown_text
from torchstone.results.text.numbers import ABSENT, printable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["WIDTH", "Grid", "Shown", "html", "latex", "markdown"]

WIDTH = 100  # columns of a terminal that a Markdown table fits


@final
@dataclass(frozen=True, slots=True)
class Shown:
    """A column as it is shown: a heading, a text for each row, the metric it belongs to, and whether it holds words.

    Columns that name a ``part`` stand, in Markdown, in tables of their own under that title, there headed ``short``.
    """

    heading: str
    texts: Sequence[str]
    metric: str
    words: bool = False
    part: str = ""
    short: str = ""


@final
@dataclass(frozen=True, slots=True)
class Grid:
    """Columns of one length under a caption; the legend says what they have in common. Notes stand below."""

    caption: str
    legend: str
    columns: Sequence[Shown]
    notes: Sequence[str] = ()


def markdown(grids: Sequence[Grid], lines: Sequence[str], empty: str) -> str:
    """The grids and then ``lines`` as Markdown; ``empty`` where there is neither. Wide grids are parted by metric."""
    parts = [_markdown(grid) for grid in grids]
    if lines:
        parts.append("\n".join(f"- {markdown_text(line)}" for line in lines))
    return "\n\n".join(parts or [empty]) + "\n"


def latex(grids: Sequence[Grid], lines: Sequence[str], empty: str) -> str:
    """The grids and then ``lines`` as LaTeX, with the rules of booktabs; ``empty`` as a comment."""
    parts = [_latex(grid) for grid in grids]
    parts += [rf"\noindent {latex_text(line)}\par" for line in lines]
    return "\n".join(parts or [f"% {empty}"]) + "\n"


def html(grids: Sequence[Grid], lines: Sequence[str], empty: str) -> str:
    """The grids and then ``lines`` as a page of HTML."""
    parts = [_html(grid) for grid in grids]
    if lines:
        parts.append("<ul>\n" + "\n".join(f"<li>{html_text(line)}</li>" for line in lines) + "\n</ul>")
    body = "\n".join(parts or [f"<p>{html_text(empty)}</p>"])
    return f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Results</title>\n{body}\n</html>\n'


def _markdown(grid: Grid) -> str:
    notes = [f"- {markdown_text(note)}" for note in grid.notes]
    lines = [f"**{markdown_text(grid.caption)}**", markdown_text(grid.legend)]
    grids = [text for title, columns in _parts(grid.columns).items() for text in _tables(title, columns)]
    return "\n\n".join(["  \n".join(lines), *grids, *(["\n".join(notes)] if notes else [])])


def _parts(columns: Sequence[Shown]) -> dict[str, list[Shown]]:
    """The columns by the part that they name; each part begins with the first column, and has the rows with a number.

    Words beside the first column stay in the part that has no name, and that last.
    """
    first, *rest = columns
    parts: dict[str, list[Shown]] = {}
    for column in rest:
        parts.setdefault(column.part, []).append(column)
    plain = parts.pop("", [])
    found = {
        title: _filled([first, *(replace(each, heading=each.short) for each in own)]) for title, own in parts.items()
    }
    return found | ({"": [first, *plain]} if plain or not found else {})


def _filled(columns: Sequence[Shown]) -> list[Shown]:
    """The columns without the rows that hold nothing beside the first."""
    kept = [
        row for row, texts in enumerate(zip(*(c.texts for c in columns[1:]), strict=True)) if set(texts) != {ABSENT}
    ]
    return [replace(column, texts=[column.texts[row] for row in kept]) for column in columns]


def _tables(title: str, columns: Sequence[Shown]) -> list[str]:
    parts = _widths([_escaped(column, markdown_text) for column in columns])
    grids = [_frame(part).to_markdown(index=False, disable_numparse=True, colalign=_alignment(part)) for part in parts]
    return [f"{markdown_text(title)}:", *grids] if title else grids


def _widths(columns: Sequence[Shown]) -> list[list[Shown]]:
    """The columns in as many tables as fit the width; each begins with the first column."""
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


def _by_metric(columns: Sequence[Shown]) -> list[list[Shown]]:
    groups: dict[str, list[Shown]] = {}
    for column in columns:
        groups.setdefault(column.metric, []).append(column)
    return list(groups.values())


def _width(column: Shown) -> int:
    return max(len(column.heading) + 2, *map(len, column.texts)) + 3  # tabulate pads headings by two


def _alignment(columns: Sequence[Shown]) -> tuple[str, ...]:
    return tuple("left" if column.words else "right" for column in columns)


def _latex(grid: Grid) -> str:
    columns = [_escaped(column, latex_text) for column in grid.columns]
    shape = "".join("l" if column.words else "r" for column in columns)
    caption = latex_text(f"{grid.caption}. {grid.legend}")
    body = _frame(columns).to_latex(index=False, escape=False, caption=caption, column_format=shape)
    return "\n".join([str(body).rstrip(), *(rf"\noindent {latex_text(note)}\par" for note in grid.notes)])


def _html(grid: Grid) -> str:
    import pandas as pd

    shown = [_escaped(column, printable) for column in grid.columns]
    with pd.option_context("display.max_colwidth", None):
        body = _frame(shown).to_html(index=False, escape=True, border=0)
    notes = "".join(f"<p>{html_text(note)}</p>\n" for note in grid.notes)
    title, legend = html_text(grid.caption), html_text(grid.legend)
    return f"<section>\n<h2>{title}</h2>\n<p>{legend}</p>\n{body}\n{notes}</section>"


def _frame(columns: Sequence[Shown]) -> pd.DataFrame:
    import pandas as pd

    rows = list(zip(*(column.texts for column in columns), strict=True))
    return pd.DataFrame(rows, columns=[column.heading for column in columns], dtype=object)


def _escaped(column: Shown, escape: Callable[[str], str]) -> Shown:
    texts = [escape(text) for text in column.texts]
    return replace(column, heading=escape(column.heading), texts=texts)
