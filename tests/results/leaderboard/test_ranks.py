"""Rows that cannot be told apart share a rank; what is told apart is told apart at the stated level."""

from __future__ import annotations

import math

import numpy as np
import pytest

from torchstone.results import Kind, Score, Store
from torchstone.results.leaderboard import ranks
from torchstone.results.leaderboard.examples import Examples
from torchstone.results.leaderboard.ranks import Ranking, ranking
from torchstone.results.leaderboard.reading import Found, read
from torchstone.results.reading.measurements import Value, measurement
from torchstone.results.tables.table import Block, blocks


def ranked(folder, *, files: int = 200, block_files: int = 40) -> tuple[Block, Ranking]:
    """The only block of a store, and its ranks."""
    found = {each.measurement.record: each for each in read(folder).current}
    (block,) = blocks([each.measurement for each in found.values()])
    return block, ranking(block, Examples(folder, found, files, block_files).of(block), found)


def score(value, stderr, up=False, kind=Kind.EXACT, n=100):
    return (Score("nll", value, "nats/example", kind, up, stderr, None, n),)


def by_model(block, ranking):
    return {row.model: rank for row, rank in zip(block.rows, ranking.ranks, strict=True)}


def test_what_differs_on_every_example_is_told_apart_though_the_intervals_overlap(keep, folder, rng):
    base = rng.normal(90, 10, 300)  # a standard error of 0.6
    keep(base, model="first")
    keep(base + 0.2 + rng.normal(0, 0.1, 300), model="second")
    keep(base + 0.2 + rng.normal(0, 0.1, 300), model="third")
    block, found = ranked(folder)
    assert by_model(block, found) == {"first": 1, "second": 2, "third": 2}
    assert "2 rows paired, over the same 300 examples" in found.words


def test_without_the_examples_it_is_not(keep, folder, rng):
    base = rng.normal(90, 10, 300)
    for number, model in enumerate(("first", "second", "third")):
        keep(base + 0.2 * number, model=model, kept=False)
    _, found = ranked(folder)
    assert set(found.ranks) == {1}
    assert "2 rows unpaired, from standard errors" in found.words


def test_a_rank_is_one_more_than_the_rows_above_its_leader(make, folder):
    for model, value in {"a": 1.0, "b": 1.01, "c": 2.0, "d": 2.01, "e": 9.0}.items():
        Store(folder).write(make(model=model, scores=score(value, 0.05)))
    block, found = ranked(folder)
    assert by_model(block, found) == {"a": 1, "b": 1, "c": 3, "d": 3, "e": 5}


def test_higher_may_be_better(make, folder):
    for model, value in {"a": 1.0, "b": 2.0}.items():
        Store(folder).write(make(model=model, scores=score(value, 0.01, up=True)))
    assert by_model(*ranked(folder)) == {"b": 1, "a": 2}


@pytest.mark.parametrize("stderr", [None, math.nan, math.inf])
def test_what_has_no_error_has_no_rank(make, folder, stderr):
    for model, value, error in (("a", 1.0, 0.1), ("b", 2.0, stderr), ("c", 3.0, 0.1), ("d", math.nan, 0.1)):
        Store(folder).write(make(model=model, scores=score(value, error)))
    block, found = ranked(folder)
    assert by_model(block, found) == {"a": 1, "b": None, "c": 2, "d": None}
    assert "2 rows have no rank: no finite number with a standard error." in found.words


def test_an_infinite_cost_is_last_without_a_test(make, folder):
    for model, value in {"a": 1.0, "b": math.inf, "c": 1.0, "d": math.inf, "e": -math.inf}.items():
        Store(folder).write(make(model=model, scores=score(value, 0.1 if math.isfinite(value) else math.nan)))
    assert by_model(*ranked(folder)) == {"a": 1, "c": 1, "b": 3, "d": 3, "e": None}


def test_one_row_alone_has_no_rank(make, folder):
    Store(folder).write(make(scores=score(1.0, 0.1)))
    assert ranked(folder)[1] == Ranking((None,), "")


def test_the_spread_over_seeds_is_part_of_the_noise(make, folder):
    """Two models an eighth apart, ten standard errors; but their seeds are half apart."""
    for model, shift in (("a", 0.0), ("b", 0.125)):
        for seed, noise in enumerate((-0.5, 0.0, 0.5)):
            Store(folder).write(make(model=model, seed=seed, scores=score(1.0 + shift + noise * (1 - shift), 0.01)))
    _, found = ranked(folder)
    assert set(found.ranks) == {1}
    assert "part of the noise in all of these tests." in found.words


def test_bounds_say_that_they_are_bounds(make, folder):
    for model, value in {"a": 1.0, "b": 2.0}.items():
        Store(folder).write(make(model=model, scores=score(value, 0.1, kind=Kind.UPPER_BOUND)))
    assert "These are upper bounds" in ranked(folder)[1].words


def test_exact_values_and_bounds_are_never_ranked_together(make, folder):
    for kind in Kind:
        for model in ("a", "b"):
            Store(folder).write(make(model=model, scores=score(1.0, 0.1, kind=kind)))
    found = [each.measurement for each in read(folder).current]
    assert len(blocks(found)) == len(Kind)
    for block in blocks(found):
        assert (
            len({each.values["nll"].kind for each in found if each.record in sum((r.records for r in block.rows), ())})
            == 1
        )


def test_only_so_many_files_are_read(keep, folder, rng):
    base = rng.normal(90, 10, 50)
    for number in range(8):
        keep(base + number, model=f"m{number}")
    words = ranked(folder, block_files=5)[1].words
    assert "4 rows paired" in words and "3 rows unpaired" in words
    assert "7 rows unpaired" in ranked(folder, files=0)[1].words


def measured(model: str, value: float, stderr: float, n: int) -> Found:
    value_of = Value(value, stderr, "nats", Kind.EXACT, False, n, None, None, "{}", ())
    facts = (model, "density", 1, model, "explicit-exact", "digits", 0, "", "{}", None, None, "{}")
    return Found(measurement(facts, ["nll"], [value_of]), "", 1.0, "", {}, {}, None)


def false_alarms(rounds: int = 400, models: int = 5, n: int = 40) -> int:
    """How often not all of ``models`` equally good ones share the first rank, measured on examples of their own."""
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(rounds):
        samples = enumerate(rng.normal(5.0, 1.0, (models, n)))
        found = {f"m{i}": measured(f"m{i}", own.mean(), own.std(ddof=1) / math.sqrt(n), n) for i, own in samples}
        (block,) = blocks([each.measurement for each in found.values()])
        alarms += set(ranking(block, {}, found).ranks) != {1}
    return alarms


def test_equal_models_share_the_first_rank_as_often_as_is_said():
    """At 5 % over all pairs, 400 rounds give more than 34 alarms with a probability of 0.11 %."""
    assert false_alarms() <= 34


def test_a_level_that_is_not_shared_among_the_pairs_would_be_caught(monkeypatch):
    """The mutant: 5 % for each of the ten pairs."""
    monkeypatch.setattr(ranks, "ALPHA", 10 * ranks.ALPHA)
    assert false_alarms() > 34
