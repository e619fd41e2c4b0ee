"""Rows that cannot be told apart share a rank; what is told apart is told apart at the stated level."""

from __future__ import annotations

import math

import numpy as np
import pytest

from torchstone.results import Kind, Score, Store
from torchstone.results.comparison.differences import Difference
from torchstone.results.comparison.speeds import BUSY
from torchstone.results.leaderboard import ranks
from torchstone.results.leaderboard.examples import Examples, Values
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


def test_other_examples_are_not_paired_though_they_are_as_many(keep, folder, rng):
    base = rng.normal(90, 10, 300)
    keep(base, model="first")
    keep(base + 0.2 + rng.normal(0, 0.1, 300), model="second", ids=np.arange(300) + 1)
    _, found = ranked(folder)
    assert found.ranks == (1, 1)
    assert "1 row unpaired, from standard errors (of other examples, " in found.words


def test_a_standard_error_of_three_examples_has_few_degrees_of_freedom(make, folder):
    """Two and a half standard errors apart: that is beyond 95 % of the normal law, and not of a t law with four."""
    for model, value in {"a": 1.0, "b": 1.35}.items():
        for n in (3, 100):
            Store(folder).write(make(model=model, dataset=f"n{n}", scores=score(value, 0.1, n=n)))
    found = {each.measurement.record: each for each in read(folder).current}
    tables = {block.dataset: block for block in blocks([each.measurement for each in found.values()])}
    assert {name: ranking(block, {}, found).ranks for name, block in tables.items()} == {"n3": (1, 1), "n100": (1, 2)}


@pytest.mark.parametrize("stderr", [None, math.nan, math.inf, -0.1])
def test_what_has_no_error_has_no_rank(make, folder, stderr):
    rows = (("a", 1.0, 0.1), ("b", 2.0, stderr), ("c", 3.0, 0.1), ("d", math.nan, 0.1), ("best", 0.5, stderr))
    for model, value, error in rows:
        Store(folder).write(make(model=model, scores=score(value, error)))
    block, found = ranked(folder)
    assert by_model(block, found) == {"best": None, "a": 1, "b": None, "c": 2, "d": None}
    assert "3 rows have no rank: no finite number with a standard error." in found.words


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


SHIFTS = (-5.0, 0.0, 5.0)  # of all models that are trained with one seed


def test_what_a_seed_does_to_both_is_no_noise_between_them(keep, folder, rng):
    base = rng.normal(90, 10, 300)
    for seed, shift in enumerate(SHIFTS):
        keep(base + shift, model="a", seed=seed)
        keep(base + shift + 0.5 + rng.normal(0, 0.1, 300), model="b", seed=seed)
    assert by_model(*ranked(folder)) == {"a": 1, "b": 2}


@pytest.mark.parametrize("others", [(3, 4, 5), (1, 2, 3)])
def test_other_seeds_are_not_matched_though_they_are_as_many(keep, folder, rng, others):
    base = rng.normal(90, 10, 300)
    for mine, theirs, shift in zip((0, 1, 2), others, SHIFTS, strict=True):
        keep(base + shift, model="a", seed=mine)
        keep(base + shift + 0.5 + rng.normal(0, 0.1, 300), model="b", seed=theirs)
    _, found = ranked(folder)
    assert found.ranks == (1, 1) and "part of the noise in all of these tests." in found.words


def test_seeds_that_lack_the_headline_are_left_out(make, folder):
    """The first seed of one lacks it, and the last of the other: as many are left, and they are other seeds."""
    other = (Score("bits_per_dim", 1.0, "bits/dim", Kind.EXACT, False, 0.1, None, 100),)
    for model, missing, shift in (("a", 0, 0.0), ("b", 2, 0.5)):
        for seed in range(3):
            value = 1.0 + shift + (seed - (model == "a")) * 5
            own = () if seed == missing else score(value, 0.01)
            Store(folder).write(make(model=model, seed=seed, scores=own + other))
    assert ranked(folder)[1].ranks == (1, 1)


def test_numbers_at_the_end_of_what_there_is_are_ranked_or_not_and_never_an_error(make, folder):
    for model, value, error in (("a", -1e308, 1.0), ("b", 1.0, 0.1), ("c", 1e308, 1e308), ("d", 1.1e308, 0.0)):
        Store(folder).write(make(model=model, scores=score(value, error)))
    assert by_model(*ranked(folder)) == {"a": 1, "b": 2, "c": 2, "d": 4}


def test_what_is_too_far_apart_to_be_subtracted_has_no_rank(make, folder):
    for model, value in (("a", -1e308), ("b", -9e307), ("c", 1e308)):
        Store(folder).write(make(model=model, scores=score(value, 1.0)))
    assert by_model(*ranked(folder)) == {"a": 1, "b": 2, "c": None}


def rates(make, folder, runs, stderr=0.1):
    """Records of speeds by model, a run for each; each says of itself that it is very sure."""
    for model, values in runs.items():
        for seed, value in enumerate(values):
            speed = (Score("sample_rate", value, "examples/s", Kind.ESTIMATE, True, stderr, None, 20),)
            Store(folder).write(make(model=model, seed=seed, suite="throughput", scores=speed))


def test_a_speed_of_a_single_run_has_no_rank_and_the_words_say_why(make, folder):
    rates(make, folder, {"a": [100.0], "b": [50.0]})
    assert ranked(folder)[1] == Ranking(
        (None, None), f"2 rows have no rank. {BUSY}: give each several, such as seed=0,1,2."
    )


def test_speeds_are_ranked_by_the_spread_over_their_runs(make, folder):
    """However sure a run is of itself."""
    runs = {"a": [100.0, 101.0, 99.0], "b": [102.0, 92.0, 100.0], "c": [50.0, 51.0, 49.0], "d": [70.0]}
    rates(make, folder, runs)
    block, found = ranked(folder)
    assert by_model(block, found) == {"a": 1, "b": 1, "d": None, "c": 3}
    assert "Tested: 2 rows by the spread over runs" in found.words and "unpaired" not in found.words
    assert found.words.endswith(f"1 row has no rank. {BUSY}: give each several, such as seed=0,1,2.")
    assert "no finite number" not in found.words


def test_runs_of_one_seed_are_no_pair_as_the_machine_is_as_busy_as_it_is(make, folder):
    rates(make, folder, {"a": [100.0, 80.0, 60.0], "b": [95.0, 75.0, 55.0]})
    assert ranked(folder)[1].ranks == (1, 1)


@pytest.mark.parametrize("stderr", [None, math.nan, 500.0])
def test_what_a_run_says_of_its_own_noise_is_no_part_of_that_between_runs(make, folder, stderr):
    rates(make, folder, {"a": [100.0, 101.0, 99.0], "b": [50.0, 51.0, 49.0]}, stderr)
    assert ranked(folder)[1].ranks == (1, 2)


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


def measured(model: str, value: float, stderr: float, n: int, seed: int = 0) -> Found:
    value_of = Value(value, stderr, "nats", Kind.EXACT, False, n, None, None, "{}", ())
    facts = (f"{model} {seed}", "density", 1, model, "explicit-exact", "digits", seed, "", "{}", None, None, "{}")
    return Found(measurement(facts, ["nll"], [value_of]), "", 1.0, "", {}, {}, None)


def false_alarms(rounds: int = 400, models: int = 5, n: int = 40) -> int:
    """How often not all of ``models`` equally good ones share the first rank, measured on examples of their own."""
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(rounds):
        samples = enumerate(rng.normal(5.0, 1.0, (models, n)))
        found = {f"m{i} 0": measured(f"m{i}", own.mean(), own.std(ddof=1) / math.sqrt(n), n) for i, own in samples}
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


def false_alarms_with_seeds(seeds: int, spread: float, rounds: int = 200, models: int = 5, n: int = 300) -> int:
    """How often not all of ``models`` equally good ones share the first rank, with so many seeds of each, paired."""
    rng = np.random.default_rng(9)
    alarms = 0
    for _ in range(rounds):
        noise = rng.normal(0, 0.3, (models, seeds, n)) + rng.normal(0, spread, (models, seeds, 1))
        samples = rng.normal(0, 1, n) + noise
        each = [
            measured(f"m{i}", own.mean(), own.std(ddof=1) / math.sqrt(n), n, seed)
            for i, by_seed in enumerate(samples)
            for seed, own in enumerate(by_seed)
        ]
        found = {own.measurement.record: own for own in each}
        (block,) = blocks([own.measurement for own in each])
        values = {
            place: Values(np.arange(n), samples[int(row.model[1:])].mean(0)) for place, row in enumerate(block.rows)
        }
        alarms += set(ranking(block, values, found).ranks) != {1}
    return alarms


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("spread", [0.02, 0.2])
def test_equal_models_of_few_seeds_share_the_first_rank_as_often_as_is_said(seeds, spread):
    """At 5 % over all pairs, 200 rounds give more than 20 alarms with a probability of 0.12 %."""
    assert false_alarms_with_seeds(seeds, spread) <= 20


def test_a_spread_of_two_seeds_that_is_taken_at_its_word_would_be_caught(monkeypatch):
    """The mutant: degrees of freedom that grow without end where the spread comes out small by chance."""

    def degrees(self):
        parts = ((self.stderr, self.freedom), (self.seed_stderr or 0.0, self.seed_freedom))
        return 1 / sum((error / self.error) ** 4 / freedom for error, freedom in parts)

    monkeypatch.setattr(Difference, "degrees", property(degrees))
    assert false_alarms_with_seeds(2, 0.2) > 20
