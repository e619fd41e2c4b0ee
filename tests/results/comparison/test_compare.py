"""Comparisons: verdicts, the claims that bounds allow, seeds, and what is not comparable."""

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy import stats

from torchstone.results import Kind, Score, Store
from torchstone.results.comparison.compare import Outcome, compare
from torchstone.results.reading.groups import groups
from torchstone.results.reading.sources import source

N = 297


@pytest.fixture
def base():
    return np.random.default_rng(0).normal(85, 10, N)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def between(store, a="a", b="b"):
    return compare(source(store, a, models=[a]), source(store, b, models=[b]), by_name=False)


def outcomes(found):
    return {row.metric: row.outcome.value for row in found.rows}


def test_a_difference_is_paired_with_its_three_looks_at_it(store, measured, base):
    values = base + 1 + np.random.default_rng(1).normal(0, 2, N)
    store.write(*measured(values, model="a"))
    store.write(*measured(base, model="b"))
    nll, bits = between(store).rows
    test = stats.ttest_rel(values, base)
    assert nll.outcome is Outcome.WORSE and nll.paired and nll.n == N
    assert nll.interval == pytest.approx(tuple(test.confidence_interval()), rel=1e-9)
    assert nll.wilcoxon == pytest.approx(stats.wilcoxon(values, base).pvalue, rel=1e-9)
    assert nll.bootstrap == pytest.approx(nll.interval, abs=0.05)
    assert bits.difference == pytest.approx(nll.difference / (64 * math.log(2)), rel=1e-9)
    assert bits.interval == pytest.approx([each / (64 * math.log(2)) for each in nll.interval], rel=1e-9)
    assert outcomes(between(store, "b", "a")) == {"nll": "better", "bits_per_dim": "better"}


def test_how_many_audits_were_passed_does_not_set_two_models_apart(store, measured, base):
    """To one model fewer audits apply than to another. Of one and the same model they are shown, after the numbers."""
    for name, passed in (("a", 14.0), ("b", 9.0)):
        counts = (Score("passed", passed, "audits", Kind.EXACT, True),)
        record, _ = measured(base, model=name, scores=counts)
        store.write(dataclasses.replace(record, suite="audit", contract={}, identity=f"audit {name}"))
        store.write(*measured(base, model=name))
    assert {row.suite for row in between(store).rows} == {"density"}
    same = compare(source(store, "a", models=["a"]), source(store, "a", models=["a"]), by_name=False)
    assert [row.suite for row in same.rows] == ["density", "density", "audit"]


def test_the_same_comparison_is_the_same_to_the_last_digit(store, measured, base):
    store.write(*measured(base + np.random.default_rng(1).normal(0, 2, N), model="a"))
    store.write(*measured(base, model="b"))
    assert between(store) == between(store)


def test_what_noise_explains_is_tied_and_what_is_identical_is_said_to_be(store, measured, base):
    store.write(*measured(base + np.random.default_rng(3).normal(0, 2, N), model="a"))
    for name in "bc":
        store.write(*measured(base, model=name))
    assert outcomes(between(store)) == {"nll": "tied", "bits_per_dim": "tied"}
    same = between(store, "b", "c").rows[0]
    assert (
        same.outcome is Outcome.TIED and same.reason == "Every example has the same value." and same.interval == (0, 0)
    )


def test_one_wild_example_does_not_decide(store, measured, base):
    """Where the t interval and the bootstrap disagree nothing is claimed."""
    values = base + np.abs(np.random.default_rng(0).standard_cauchy(N)) ** 1.5 * 0.02
    store.write(*measured(values, model="a"))
    store.write(*measured(base, model="b"))
    row = between(store).rows[0]
    assert row.interval[0] < 0 < row.bootstrap[0]
    assert row.outcome is Outcome.UNDECIDED and "bootstrap disagree" in row.reason


# Bounds

BOUND = {"kind": "upper_bound", "estimator": "importance-weighted", "importance_samples": 1000}


@pytest.mark.parametrize(
    ("shift", "forward", "backward"),
    [(-5.0, "better", "worse"), (5.0, "undecided", "undecided"), (0.0, "undecided", "undecided")],
)
def test_a_bound_on_the_nll_below_an_exact_one_is_better_and_above_it_is_undecided(
    store, measured, base, shift, forward, backward
):
    noise = np.random.default_rng(3).normal(0, 1, N)
    store.write(*measured(base + shift + noise, model="a", kind=Kind.UPPER_BOUND, contract=BOUND))
    store.write(*measured(base, model="b"))
    assert outcomes(between(store)) == {"nll": forward, "bits_per_dim": forward}
    assert outcomes(between(store, "b", "a")) == {"nll": backward, "bits_per_dim": backward}
    row = between(store).rows[0]
    assert row.paired and "A's is an upper bound and B's an exact value" in row.reason


def test_two_bounds_by_other_means_decide_nothing_and_by_the_same_are_compared_as_bounds(store, measured, base):
    looser = BOUND | {"importance_samples": 10}
    for name, worse, contract in (("a", -9, BOUND), ("b", 0, looser), ("c", 0, BOUND)):
        store.write(*measured(base + worse, model=name, kind=Kind.UPPER_BOUND, contract=contract))
    assert set(outcomes(between(store)).values()) == {"undecided"}
    alike = between(store, "a", "c")
    assert set(outcomes(alike).values()) == {"better"}
    assert any("Bounds of one estimator are compared as bounds" in note for note in alike.notes)


def test_a_bound_claims_nothing_of_another_quantity(store, measured, base):
    for name, kind, of in (("a", Kind.UPPER_BOUND, "first"), ("b", Kind.EXACT, "second"), ("c", Kind.EXACT, "first")):
        score = Score("nll", base.mean(), "nats/example", kind, False, 0.5, None, N, {"labels": of})
        record, arrays = measured(base + 5 * (kind is Kind.EXACT), model=name, contract={"kind": kind.value})
        value = score.value + 5 * (kind is Kind.EXACT)
        store.write(dataclasses.replace(record, scores=(dataclasses.replace(score, value=value),)), arrays)
    assert outcomes(between(store)) == {"nll": "not comparable"}
    assert "labels first and second" in between(store).rows[0].reason
    assert outcomes(between(store, "a", "c")) == {"nll": "better"}


def test_a_mean_that_is_infinitely_good_wins_nothing(store, measured, base):
    for name, value, up in (("a", -math.inf, False), ("b", 80.0, False), ("c", math.inf, True), ("d", 80.0, True)):
        scores = (Score("nll", value, "nats/example", Kind.EXACT, up, 0.5, None, N),)
        store.write(measured(base, model=name, scores=scores)[0])
    for pair in (("a", "b"), ("b", "a"), ("c", "d")):
        (row,) = between(store, *pair).rows
        assert row.outcome is Outcome.UNDECIDED and "infinitely good" in row.reason


def test_a_lower_bound_on_what_should_be_high_claims_the_same_way(store, measured, base):
    for name, value, kind in (("a", -80.0, Kind.LOWER_BOUND), ("b", -90.0, Kind.EXACT), ("c", -70.0, Kind.EXACT)):
        score = Score("log_p", value, "nats/example", kind, True, 0.5, None, N)
        store.write(*measured(base, model=name, scores=(score,), contract={"kind": kind.value}))
    assert outcomes(between(store, "a", "b")) == {"log_p": "better"}
    assert outcomes(between(store, "a", "c")) == {"log_p": "undecided"}
    assert outcomes(between(store, "c", "a")) == {"log_p": "undecided"}


def test_an_infinite_mean_is_worse_and_no_example_is_dropped(store, measured, base):
    store.write(*measured(np.where(np.arange(N) == 3, math.nan, base - 20), model="a"))
    store.write(*measured(base, model="b"))
    row = between(store).rows[0]
    assert row.outcome is Outcome.WORSE and row.difference == math.inf and "mean is infinite" in row.reason
    assert outcomes(between(store, "b", "a"))["nll"] == "better"
    assert "inf" in between(store).text() and "Infinity" in between(store).text("json")


# What is not comparable


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"contract": {"data": "e" * 64}}, "data dddddddddddd… and eeeeeeeeeeee…"),
        ({"contract": {"conditional": True}}, "conditional no and yes"),
        ({"contract": {"split": "train"}}, "split test and train"),
        ({"suite_version": 2}, "version is 1 and 2"),
    ],
)
def test_what_differs_in_more_than_the_estimator_is_not_comparable(store, measured, base, change, words):
    store.write(*measured(base, model="a"))
    store.write(*measured(base, model="b", **change))
    found = between(store)
    assert {row.outcome for row in found.rows} == {Outcome.NOT_COMPARABLE}
    assert words in found.rows[0].reason and words in found.text()


def test_models_of_other_data_are_not_comparable(store, measured, base):
    store.write(*measured(base, model="a"))
    store.write(*measured(base, model="b", dataset="patches"))
    (row,) = between(store).rows
    assert row.outcome is Outcome.NOT_COMPARABLE and "dataset digits and patches" in row.reason


def test_without_per_example_values_it_is_unpaired_and_says_so(store, measured, base):
    record, _ = measured(base, model="a")
    store.write(record)
    store.write(*measured(base - 5, model="b"))
    row = between(store).rows[0]
    assert not row.paired and row.bootstrap is None and row.notes[0].startswith("Unpaired: Record ")
    assert row.stderr == pytest.approx(math.sqrt(2) * stats.sem(base), rel=1e-9)
    assert row.outcome is Outcome.WORSE and row.notes[0] in between(store).text().replace("\\", "")


def test_values_that_were_not_asked_for_are_no_part_of_the_comparison(store, measured, base):
    """Annealed bounds of twenty of the examples: the others are NaN in the file, and no infinity."""
    few = np.where(np.arange(N) < 20, -base, math.nan)
    for name, more in (("a", 1.0), ("b", 0.0)):
        score = Score("ais", float((few + more)[:20].mean()), "nats/example", Kind.LOWER_BOUND, True, 2.0, None, 20)
        record, arrays = measured(base, model=name, scores=(score,))
        store.write(record, {"id": arrays["id"], "ais": few + more})
    (row,) = between(store).rows
    assert row.paired and row.n == 20 and row.difference == pytest.approx(1.0, rel=1e-9)
    assert row.outcome is Outcome.BETTER


# Seeds and groups


def test_seeds_are_averaged_per_example_and_their_spread_stands_apart(store, measured, base):
    rng = np.random.default_rng(4)
    for seed, more in enumerate((-3.0, 3.0, 0.3)):
        store.write(*measured(base + more + rng.normal(0, 0.5, N), model="a", seed=seed))
        store.write(*measured(base + rng.normal(0, 0.5, N), model="b", seed=seed))
    row = between(store).rows[0]
    assert row.seeds == (3, 3) and row.seed_sd == pytest.approx(3.0, abs=0.1)
    assert row.stderr == pytest.approx(0.5 * math.sqrt(2 / 3 / N), rel=0.1)
    assert row.outcome is Outcome.TIED and "training seeds" in row.reason
    assert "seed sd" in between(store).text() and not between(store).notes


def test_a_single_seed_is_said_to_be_one(store, measured, base):
    for name, more in (("a", 0.0), ("b", 5.0)):
        store.write(*measured(base + more, model=name))
    assert any("single training seed" in note for note in between(store).notes)


def test_two_stores_are_compared_model_by_model_and_a_model_with_every_other(tmp_path, store, measured, base):
    other = Store(tmp_path / "other")
    for name in ("a", "b", "c"):
        store.write(*measured(base, model=name))
        other.write(*measured(base + 1, model=name))
    both = compare(source(store, "1"), source(other, "2"), by_name=True)
    assert [(row.a, row.b) for row in both.rows if row.metric == "nll"] == [("a", "a"), ("b", "b"), ("c", "c")]
    one = compare(source(store, "1", models=["a"]), source(store, "2"), by_name=False)
    assert [(row.a, row.b) for row in one.rows if row.metric == "nll"] == [("a", "b"), ("a", "c")]


def test_variants_of_one_model_are_told_apart_by_their_settings(store, measured, base):
    for width in (16, 32):
        store.write(*measured(base + width, model="a", settings={"model": {"width": width}}))
    store.write(*measured(base, model="b"))
    assert [row.a for row in between(store).rows if row.metric == "nll"] == ["a width=16", "a width=32"]
    found = source(store, "x", models=["a"]).groups
    assert [each.label for each in found] == ["width=16", "width=32"]
    assert groups([]) == []


# Outputs


def test_the_text_fits_a_hundred_columns_and_json_has_every_digit(store, measured, base):
    rng = np.random.default_rng(4)
    for seed in range(3):
        store.write(*measured(base + rng.normal(1, 2, N), model="a", seed=seed))
        store.write(*measured(base + rng.normal(0, 2, N), model="b", seed=seed))
    found = between(store)
    text = found.text()
    assert text.startswith("**density on digits · A: a · B: b**  \n")
    assert all(len(line) <= 100 for line in text.splitlines() if line.startswith("|"))
    rows = json.loads(found.text("json"))["rows"]
    assert rows[0]["difference"] == found.rows[0].difference and rows[0]["kinds"] == ["exact", "exact"]
    with pytest.raises(ValueError, match="csv"):
        found.text("csv")


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a|b`*[", "\x1b[31m\u202e", "n" * 10_000])
def test_hostile_names_are_shown_as_text(store, measured, base, name):
    for model, more in ((name, 0.0), ("b", 1.0)):
        store.write(*measured(base + more, model=model))
    found = between(store, name)
    text = found.text()
    assert "<script" not in text.replace("\\<script", "") and "\x1b" not in text and "\u202e" not in text
    assert len(text) < 4000 and json.loads(found.text("json"))["rows"][0]["a"] == name
