"""Ranks by the headline of a block: rows that cannot be told apart from the best of their rank share it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from torchstone.results.comparison.differences import Difference, exactly, over_seeds, paired, unpaired
from torchstone.results.comparison.speeds import BUSY, is_of_run
from torchstone.results.leaderboard.examples import FILES_OF_ALL, FILES_OF_ONE, Values
from torchstone.results.leaderboard.names import counted, cut
from torchstone.results.leaderboard.reading import Found
from torchstone.results.reading.measurements import Value
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

    The noise of a speed shows only between runs: a row with a single one has no rank.

    Args:
        block: of a table.
        values: the per-example values of some of its rows, by their places.
        found: the records of all of them, by id.
    """
    headline, rows = block.columns[0], block.rows
    single = {place for place, row in enumerate(rows) if is_of_run(headline.unit) and _single(row, headline, found)}
    testable = [
        place for place, row in enumerate(rows) if place not in single and _testable(row, headline, place in values)
    ]
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
    words = [_words(headline, given, tests, pairs, len(single)), _alone(len(single)) if len(rows) > 1 else ""]
    return Ranking(given, " ".join(each for each in words if each))


def _testable(row: Row, headline: Column, has_values: bool) -> bool:
    cell = row.cells.get(headline.name)
    known = has_values or is_of_run(headline.unit)
    return cell is not None and math.isfinite(cell.value) and (known or _usable(cell))


def _single(row: Row, headline: Column, found: Mapping[str, Found]) -> bool:
    """Whether its number, which is finite, is of one run alone."""
    cell = row.cells.get(headline.name)
    return cell is not None and math.isfinite(cell.value) and len(_measured(row, headline.name, found)) < 2


def _usable(cell: Cell) -> bool:
    return cell.stderr is not None and math.isfinite(cell.stderr) and cell.stderr >= 0


def _infinitely_bad(row: Row, headline: Column) -> bool:
    """An infinite cost is worse than any finite one, and needs no test."""
    cell = row.cells.get(headline.name)
    return cell is not None and cell.value == (-math.inf if headline.higher_is_better else math.inf)


def _difference(
    block: Block, place: int, leader: int, values: Mapping[int, Values], found: Mapping[str, Found]
) -> Difference:
    """Row less leader, with all the noise that is known: of the examples, and of the seeds where both have several.

    That of a speed is the spread over the runs, and nothing else.
    """
    import numpy as np

    headline, rows = block.columns[0], [block.rows[each] for each in (place, leader)]
    first, second = (row.cells[headline.name] for row in rows)
    measured = [_measured(row, headline.name, found) for row in rows]
    means = [[value.value for value in by_seed.values()] for by_seed in measured]
    if is_of_run(headline.unit):
        return over_seeds(exactly(first.value, second.value), *means, matched=False)
    a, b = values.get(place), values.get(leader)
    if a is not None and b is not None and np.array_equal(a.ids, b.ids):
        difference = paired(a.numbers, b.numbers)
    else:
        counts = [next(iter(by_seed.values())).n for by_seed in measured]
        difference = unpaired(first.value, second.value, first.stderr, second.stderr, *counts)
    return over_seeds(difference, *means, matched=list(measured[0]) == list(measured[1]))


def _measured(row: Row, name: str, found: Mapping[str, Found]) -> dict[int, Value]:
    """A metric of a row by seed, of those records that have it."""
    records = zip(row.seeds, row.records, strict=True)
    there = {seed: found[id].measurement.values.get(name) for seed, id in records}
    return {seed: value for seed, value in there.items() if value is not None}


def _two_sided(difference: Difference) -> float:
    above, below = difference.p_above(0.0), difference.p_below(0.0)
    if above is None or below is None or difference.value == 0:
        return 1.0
    return min(1.0, 2 * min(above, below))


def _words(headline: Column, ranks: Sequence[int | None], tests: Sequence[Difference], pairs: int, single: int) -> str:
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
    said += _how(headline, tests)
    if count := ranks.count(None) - single:
        said.append(f"{count} row{' has' if count == 1 else 's have'} no rank: no finite number with a standard error.")
    if headline.kind in _BOUNDS:
        said.append(f"These are {_BOUNDS[headline.kind]}: their order is not certain to be that of what they bound.")
    return " ".join(said)


def _alone(single: int) -> str:
    """What is said of rows that have no rank because each of them is of a single run."""
    if not single:
        return ""
    verb = "has" if single == 1 else "have"
    return f"{counted(single, 'row')} {verb} no rank. {BUSY}: give each several, such as seed=0,1,2."


def _how(headline: Column, tests: Sequence[Difference]) -> list[str]:
    """How many of the rows were tested in which way."""
    if not tests:
        return []
    if is_of_run(headline.unit):
        return [f"Tested: {counted(len(tests), 'row')} by the spread over runs, all the noise that a speed has."]
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
