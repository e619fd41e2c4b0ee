"""The columns and cells of a block as a page shows, sorts and embeds them, in JSON's own types."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from torchstone.results.leaderboard.names import cut
from torchstone.results.leaderboard.ranks import Ranking
from torchstone.results.leaderboard.reading import Certificate, Found
from torchstone.results.reading.grades import CERTIFICATE, standing
from torchstone.results.record import Kind
from torchstone.results.tables.table import Block, Cell, Column, Row
from torchstone.results.text.numbers import ABSENT, quantity, small

__all__ = ["Heading", "columns"]

_KINDS = {
    Kind.EXACT: "", Kind.LOWER_BOUND: ", lower bound", Kind.UPPER_BOUND: ", upper bound", Kind.ESTIMATE: ", estimate",
}  # fmt: skip


@final
@dataclass(frozen=True, slots=True)
class Heading:
    """The head of a column.

    Attributes:
        type: what its cells are, for the page's script: rank, name, number, audit, family or records.
        text: its name.
        unit: of its numbers, and their kind; empty where it has none.
        better: ``higher`` or ``lower``; empty where neither is.
        sorted: ``ascending`` or ``descending`` where the rows come in the order of it; empty elsewhere.
    """

    type: str
    text: str
    unit: str = ""
    better: str = ""
    sorted: str = ""


_Column = tuple[Heading, list[Any]]


def columns(
    block: Block, ranking: Ranking, found: Mapping[str, Found], certificates: Mapping[Any, Certificate]
) -> list[_Column]:
    """The columns of ``block``, each a heading and a cell for each row.

    Rank and name; the headline with its other uncertainties; the audit; the other metrics likewise; family and records.
    A number is its text and what it is sorted by, None where it is not finite; a grade its text, the id of its
    certificate, and where it stands among grades; a name is the model and what sets the row apart; records are pairs of
    seed and id.
    """
    rows = block.rows
    shown: list[_Column] = []
    if any(ranking.ranks):
        shown.append((Heading("rank", "rank"), list(ranking.ranks)))
    shown.append((Heading("name", "model"), [[cut(row.model), cut(row.label)] for row in rows]))
    for place, column in enumerate(block.columns):
        shown += _metric(column, [row.cells.get(column.name) for row in rows], headline=place == 0)
        if place == 0:
            shown.append((Heading("audit", "audit"), [_audit(block.suite, row, found, certificates) for row in rows]))
    shown.append((Heading("family", "family"), [cut(row.family) for row in rows]))
    links = [[list(each) for each in zip(row.seeds, row.records, strict=True)] for row in rows]
    shown.append((Heading("records", "records, by seed"), links))
    return shown


def _metric(column: Column, cells: Sequence[Cell | None], *, headline: bool) -> list[_Column]:
    better = "higher" if column.higher_is_better else "lower"
    order = ("descending" if column.higher_is_better else "ascending") if headline else ""
    head = Heading("number", cut(column.name), cut(column.unit) + _KINDS[column.kind], better, order)
    texts = [ABSENT if cell is None else quantity(cell.value, cell.stderr, column.kind) for cell in cells]
    values = [None if cell is None else cell.value for cell in cells]
    shown: list[_Column] = [(head, _numbers(texts, values))]
    for words, more in (
        ("seed sd", [None if cell is None else cell.seed_sd for cell in cells]),
        ("est. se", [None if cell is None else cell.estimator_stderr for cell in cells]),
    ):
        if any(number is not None for number in more):
            own = Heading("number", words, cut(f"of {column.name}"))
            shown.append((own, _numbers([small(number) for number in more], more)))
    return shown


def _numbers(texts: Iterable[str], values: Iterable[float | None]) -> list[list[Any]]:
    return [
        [text, value if value is not None and math.isfinite(value) else None]
        for text, value in zip(texts, values, strict=True)
    ]


def _audit(suite: str, row: Row, found: Mapping[str, Found], certificates: Mapping[Any, Certificate]) -> list[Any]:
    """The grade of a row, the certificate that it is of, and where it stands: of its seeds, the worst."""
    if suite == CERTIFICATE:
        return ["certificate", row.records[0], 0]
    if row.audit is None:
        return [ABSENT, None, None]
    letter, flags = standing(row.audit)
    own = (certificates.get(content) for id in row.records if (content := found[id].content) is not None)
    fitting = (each.record for each in own if each is not None and each.grade == row.audit and each.record in found)
    return [row.audit, next(fitting, None), 1000 * letter + flags]
