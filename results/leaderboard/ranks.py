"""Ranks by the headline of a block: rows that cannot be told apart from the best of their rank share it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from torchstone.results.comparison.differences import Difference, over_seeds, paired, unpaired
from torchstone.results.leaderboard.examples import FILES_OF_ALL, FILES_OF_ONE, Values
from torchstone.results.leaderboard.names import counted, cut
from torchstone.results.leaderboard.reading import Found
from torchstone.results.record import Kind
from torchstone.results.tables.table import Block, Cell, Column, Row

__all__ = ["ALPHA", "Ranking", "ranking"]

ALPHA = 0.05  # the chance of giving different ranks to rows of which all have one true value

UNPAIRED = (
    "of other examples, without per-example values, or beyond the files that are read of them: the first "
    f"{FILES_OF_ONE} of a table and {FILES_OF_ALL} of a page"
)
_BOUNDS = {Kind.LOWER_BOUND: "lower bounds", Kind.UPPER_BOUND: "upper bounds"}


@final
@dataclass(frozen=True, slots=True)
class Ranking:
    """A rank for each row of a block, None where nothing can be said of it; and in sentences what the ranks mean."""

    ranks: tuple[int | None, ...]
    words: str


def ranking(block: Block, values: Mapping[int, Values], found: Mapping[str, Found]) -> Ranking:
    """The ranks of the rows of ``block``, which come best first.

    The best row leads the first rank. Each later row is tested against the leader of the latest rank, two-sided, by a
    t test of the difference, and where it is worse it leads a rank of its own: one more than the rows above it. The
    level is `ALPHA` over the number of all pairs of rows, so that it holds whichever rows come out as leaders.

    Args:
        block: of a table.
        values: the per-example values of some of its rows, by their places.
        found: the records of all of them, by id.
    """
    headline, rows = block.columns[0], block.rows
    testable = [place for place, row in enumerate(rows) if _testable(row, headline, place in values)]
    pairs = len(testable) * (len(testable) - 1) // 2
    ranks: dict[int, int] = {}
    tests: list[Difference] = []
    leader = testable[0] if testable else 0
    for place in testable:
        if place != leader:
            difference = _difference(block, place, leader, values, found)
            if difference.error is None:
                continue
            tests.append(difference)
            if _two_sided(difference) < ALPHA / pairs:
                leader = place
        ranks[place] = len(ranks) + 1 if place == leader else ranks[leader]
    last = len(ranks) + 1
    ranks |= {place: last for place, row in enumerate(rows) if _infinitely_bad(row, headline)}
    given = tuple(ranks.get(place) if len(ranks) > 1 else None for place in range(len(rows)))
    return Ranking(given, _words(headline, given, tests, pairs))


def _testable(row: Row, headline: Column, has_values: bool) -> bool:
    cell = row.cells.get(headline.name)
    return cell is not None and math.isfinite(cell.value) and (has_values or _usable(cell))


def _usable(cell: Cell) -> bool:
    return cell.stderr is not None and math.isfinite(cell.stderr) and cell.stderr >= 0


def _infinitely_bad(row: Row, headline: Column) -> bool:
    """An infinite cost is worse than any finite one, and needs no test."""
    cell = row.cells.get(headline.name)
    return cell is not None and cell.value == (-math.inf if headline.higher_is_better else math.inf)


def _difference(
    block: Block, place: int, leader: int, values: Mapping[int, Values], found: Mapping[str, Found]
) -> Difference:
    """Row less leader, with all the noise that is known: of the examples, and of the seeds where both have several."""
    import numpy as np

    name, rows = block.columns[0].name, [block.rows[each] for each in (place, leader)]
    a, b = values.get(place), values.get(leader)
    if a is not None and b is not None and np.array_equal(a.ids, b.ids):
        difference = paired(a.numbers, b.numbers)
    else:
        first, second = (row.cells[name] for row in rows)
        counts = [found[row.records[0]].measurement.values[name].n for row in rows]
        difference = unpaired(first.value, second.value, first.stderr, second.stderr, *counts)
    measured = [[found[id].measurement.values.get(name) for id in row.records] for row in rows]
    means = [[value.value for value in values_of if value is not None] for values_of in measured]
    return over_seeds(difference, *means, matched=rows[0].seeds == rows[1].seeds and len(means[0]) == len(means[1]))


def _two_sided(difference: Difference) -> float:
    above, below = difference.p_above(0.0), difference.p_below(0.0)
    if above is None or below is None or difference.value == 0:
        return 1.0
    return min(1.0, 2 * min(above, below))


def _words(headline: Column, ranks: Sequence[int | None], tests: Sequence[Difference], pairs: int) -> str:
    """What is said under a block of its ranks; nothing where there are none to explain."""
    if not any(ranks):
        return ""
    said = [
        f"Ranks by {cut(headline.name)}. A row shares the rank of the best row above it that it cannot be told apart "
        f"from, in a two-sided t test of their difference at {ALPHA:.0%}"
        + (f" for all {pairs:,} pairs of rows together." if pairs > 1 else ".")
        if tests
        else f"Ranks by {cut(headline.name)}."
    ]
    said += _how(tests)
    if None in ranks:
        count = ranks.count(None)
        said.append(f"{count} row{' has' if count == 1 else 's have'} no rank: no finite number with a standard error.")
    if headline.kind in _BOUNDS:
        said.append(f"These are {_BOUNDS[headline.kind]}: their order is not certain to be that of what they bound.")
    return " ".join(said)


def _how(tests: Sequence[Difference]) -> list[str]:
    """How many of the rows were tested in which way."""
    if not tests:
        return []
    own = [each for each in tests if each.paired]
    others, sizes = len(tests) - len(own), sorted({each.n for each in own if each.n is not None})
    examples = f"{sizes[0]:,} " if len(sizes) == 1 else ""
    words = []
    if own:
        words.append(f"{counted(len(own), 'row')} paired, over the same {examples}examples")
    if others:
        words.append(f"{counted(others, 'row')} unpaired, from standard errors ({UNPAIRED})")
    seeds = [each for each in tests if each.seed_stderr is not None]
    spread = "in all" if len(seeds) == len(tests) else f"in {len(seeds):,}" if seeds else "in none"
    return [
        f"Tested: {'; '.join(words)}.",
        f"The spread over training seeds is part of the noise {spread} of these tests"
        + ("." if len(seeds) == len(tests) else "; elsewhere one side has a single seed, and it is not known."),
    ]
