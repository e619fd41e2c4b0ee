"""What a row of a block costs: measured beside it where there is such a record, and else how long its record took."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import final

from torchstone.results.leaderboard.axes import reach
from torchstone.results.leaderboard.reading import Found
from torchstone.results.reading.grades import Certified
from torchstone.results.store import age
from torchstone.results.tables.table import Block, Cell, Row

__all__ = ["THROUGHPUT", "Cost", "cost"]

THROUGHPUT = "throughput"  # the suite whose records are measurements of cost
_RATES = ("sample_rate", "log_prob_rate", "encode_rate")
_PARAMETERS = "parameters"


@final
@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of some rows of a block, by their places: the number, and its interval; and in words what it is."""

    label: str
    words: str
    rows: Mapping[int, tuple[float, float, float]]


def cost(block: Block, found: Mapping[str, Found], throughput: Sequence[Block]) -> Cost | None:
    """Of the costs that are known, the one of the most rows; in doubt the speed of sampling.

    Speeds are taken from one block, so that they were measured under one contract. Where fewer than two rows have any,
    the cost is the time that the records took.

    Args:
        block: whose rows are to be placed.
        found: the records by id.
        throughput: the blocks of the suite that measures speed.
    """
    measured = [each for speeds in throughput for each in _measured(block, found, speeds)]
    best = max(measured, key=lambda each: len(each.rows), default=None)
    return best if best is not None and len(best.rows) > 1 else _wall_clock(block, found)


def _measured(block: Block, found: Mapping[str, Found], speeds: Block) -> Iterable[Cost]:
    """A cost for each metric of ``speeds`` that is one; where several of its rows fit, by the newest of them."""
    names = {column.name for column in speeds.columns}
    by_age = sorted(speeds.rows, key=lambda row: _newest(row, found))
    by_content = {content: row for row in by_age for content in _contents(row, found)}
    matching = {
        place: next((by_content[content] for content in _contents(row, found) if content in by_content), None)
        for place, row in enumerate(block.rows)
    }
    for name in (*_RATES, _PARAMETERS):
        if name not in names:
            continue
        cells = {place: row.cells[name] for place, row in matching.items() if row is not None and name in row.cells}
        convert = _plain if name == _PARAMETERS else _time
        rows = _finite({place: convert(cell) for place, cell in cells.items() if 0 < cell.value < math.inf})
        label = "parameters" if name == _PARAMETERS else f"milliseconds per example (1 / {name})"
        yield Cost(label, f"{name} of {speeds.caption}", rows)


def _newest(row: Row, found: Mapping[str, Found]) -> tuple[datetime, str]:
    return max((age(found[id].measurement.started), id) for id in row.records)


def _finite(rows: Mapping[int, tuple[float, float, float]]) -> dict[int, tuple[float, float, float]]:
    """What can be drawn: a cost that is no finite number is none."""
    return {place: costs for place, costs in rows.items() if all(map(math.isfinite, costs))}


def _contents(row: Row, found: Mapping[str, Found]) -> list[Certified]:
    """What the records of a row are about, whichever weights they have: a seed changes those and not the speed."""
    contents = [found[id].content for id in row.records]
    return [content._replace(weights="") for content in contents if content is not None]


def _time(cell: Cell) -> tuple[float, float, float]:
    """A rate, as milliseconds for each example."""
    each, share = 1e3 / cell.value, min(reach(cell.stderr) / cell.value, 0.9)
    return each, each / (1 + share), each / (1 - share)


def _plain(cell: Cell) -> tuple[float, float, float]:
    return cell.value, cell.value, cell.value


def _wall_clock(block: Block, found: Mapping[str, Found]) -> Cost | None:
    rows = {}
    for place, row in enumerate(block.rows):
        seconds = [found[id].seconds for id in row.records]
        if min(seconds) > 0:
            rows[place] = (sum(seconds) / len(seconds), min(seconds), max(seconds))
    words = (
        "the seconds that a record took on whatever machine it was made, with the fitting where its weights were not "
        "kept already, and the spread over the seeds: no measurement of speed"
    )
    known = _finite(rows)
    return Cost("wall-clock seconds of the record", words, known) if known else None
