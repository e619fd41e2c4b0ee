from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchstone.results import Kind, Score, Status
from torchstone.results.reading.frame import frame_of
from torchstone.results.record import OUTCOMES
from torchstone.results.tables.table import Table, table
from torchstone.results.text.numbers import printable, quantity, small


def blocks_of(*records) -> Table:
    return table(frame_of(records))


@pytest.mark.parametrize(
    ("value", "stderr", "kind", "text"),
    [
        (1.86123, 0.012, "exact", "1.861 ± 0.012"),
        (1.86123, 0.019, "exact", "1.861 ± 0.019"),
        (1.86123, 0.021, "exact", "1.86 ± 0.02"),
        (120.432, 0.348, "upper_bound", "≤ 120.4 ± 0.3"),
        (-3.2, 1.2, "lower_bound", "≥ -3.2 ± 1.2"),
        (12345.6, 530.0, "estimate", "≈ 12346 ± 530"),
        (-0.00001, 0.012, "exact", "0.000 ± 0.012"),
        (0.5, 0.0, "exact", "0.5 ± 0"),
        (1.23456789, None, "exact", "1.23457"),
        (math.inf, 0.1, "upper_bound", "≤ inf"),
        (-math.inf, None, "exact", "-inf"),
        (math.nan, None, "exact", "nan"),
        (1.5, math.nan, "exact", "1.5"),
    ],
)
def test_a_number_has_a_sign_and_the_digits_that_its_error_leaves(value, stderr, kind, text):
    assert quantity(value, stderr, Kind(kind)) == text


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e3))
def test_rounding_costs_less_than_half_a_standard_error(value, stderr):
    printed = float(quantity(value, stderr, Kind.EXACT).split(" ± ")[0])
    assert abs(printed - value) <= max(stderr / 2, 0.5 if stderr > 2 else 0) / 2 + 1e-9


def test_small_numbers_and_names():
    assert small(0.01234) == "0.012"
    assert small(None) == small(math.nan) == "–"
    assert printable("a\nb\x1b[31mé\u202e") == "a\\nb\\x1b[31mé\\u202e"


def test_best_first_in_the_direction_of_the_metric(make):
    def one(model, value, up):
        return make(model=model, scores=(Score("auroc", value, "", Kind.ESTIMATE, up),))

    values = {"a": 0.5, "b": math.inf, "c": 0.9, "d": math.nan, "e": -math.inf}
    for up, order in ((True, "bcaed"), (False, "eacbd")):
        (block,) = blocks_of(*(one(model, value, up) for model, value in values.items())).blocks
        assert "".join(row.model for row in block.rows) == order


def test_seeds_are_one_row_with_three_uncertainties(make):
    parameters = {"estimator_stderr": 0.003}
    records = [
        make(seed=seed, scores=(Score("nll", value, "nats", Kind.UPPER_BOUND, False, stderr, None, 10, parameters),))
        for seed, value, stderr in [(2, 1.0, 0.1), (0, 2.0, 0.2), (1, 3.0, 0.3)]
    ]
    (block,) = blocks_of(*records).blocks
    (row,) = block.rows
    assert row.seeds == (0, 1, 2)
    cell = row.cells["nll"]
    assert cell.value == 2.0
    assert cell.stderr == pytest.approx(0.2)
    assert cell.seed_sd == pytest.approx(1.0)
    assert cell.estimator_stderr == pytest.approx(0.003 / math.sqrt(3))


def test_one_seed_has_no_spread(make):
    (block,) = blocks_of(make()).blocks
    assert block.rows[0].cells["nll"].seed_sd is None


def test_infinite_seeds_make_the_mean_infinite(make):
    infinite = (Score("nll", math.inf, "nats", Kind.EXACT, False, math.nan, None, 10, {"nonfinite": 3}),)
    finite = (Score("nll", 1.0, "nats", Kind.EXACT, False, 0.1, None, 10, {"nonfinite": 0}),)
    (block,) = blocks_of(make(seed=0, scores=infinite), make(seed=1, scores=finite)).blocks
    assert block.rows[0].cells["nll"].value == math.inf
    assert block.rows[0].cells["nll"].seed_sd is None
    assert block.notes == ("mixture, seed 0: 3 of 10 examples have no finite nll",)


def test_settings_that_differ_label_rows(make):
    def one(model, seed, **settings):
        return make(model=model, seed=seed, settings={"seed": seed, "model": settings, "suite": {"width": 1}})

    records = [one("vae", 0, width=8, rate=0.1), one("vae", 1, width=8, rate=0.1), one("vae", 0, width=16, rate=0.1)]
    (block,) = blocks_of(*records, one("flow", 0, width=3)).blocks
    assert sorted((row.model, row.label, row.seeds) for row in block.rows) == [
        ("flow", "", (0,)),
        ("vae", "width=16", (0,)),
        ("vae", "width=8", (0, 1)),
    ]


def test_names_that_would_be_ambiguous_are_written_out(make):
    records = [make(settings={"model": {"k": k}, "suite": {"k": -k}}) for k in (1, 2)]
    (block,) = blocks_of(*records).blocks
    assert [row.label for row in block.rows] == ["model.k=1, suite.k=-1", "model.k=2, suite.k=-2"]


def test_another_code_is_another_row(make):
    records = [make(bits=bits, fingerprints={"code": code * 64}) for bits, code in [(1.8, "a"), (1.9, "b")]]
    (block,) = blocks_of(*records).blocks
    assert [row.label for row in block.rows] == ["code=aaaaaaa", "code=bbbbbbb"]


def test_a_budget_stands_for_the_sizes_that_follow_from_it_and_for_no_other(make):
    """Steps and draws come with the budget; a choice of draws beside it is told."""

    def row(budget, steps, draws, width=8):
        chosen = {"budget": budget, "steps": steps, "suite": {"draws": draws}, "model": {"width": width}}
        return make(settings=chosen)

    sizes = [row("quick", 700, 1000), row("standard", 7000, 5000)]
    (block,) = blocks_of(*sizes).blocks
    assert [each.label for each in block.rows] == ["budget=quick", "budget=standard"]
    (block,) = blocks_of(*sizes, row("quick", 700, 2000)).blocks
    assert {each.label for each in block.rows} == {
        "budget=quick, draws=1000", "budget=standard, draws=5000", "budget=quick, draws=2000",
    }  # fmt: skip
    (block,) = blocks_of(row("quick", 700, 1000, 8), row("standard", 7000, 5000, 16)).blocks
    assert [each.label for each in block.rows] == ["budget=quick, width=8", "budget=standard, width=16"]


def test_a_spread_that_is_rounding_is_none(make):
    (block,) = blocks_of(*(make(bits=1.9 + seed * 1e-15, seed=seed) for seed in range(3))).blocks
    assert block.rows[0].cells["bits_per_dim"].seed_sd == 0.0


def test_the_newest_of_an_identity_counts(make):
    old = make(bits=1.0, identity="same", started="2026-01-01T00:00:00+00:00")
    new = make(bits=2.0, identity="same", started="2026-01-02T00:00:00+00:00")
    failed = make(identity="same", started="2026-01-03T00:00:00+00:00", status=Status.FAILED, scores=())
    result = blocks_of(new, old, failed)
    assert result.absent == ()
    assert result.blocks[0].rows[0].cells["bits_per_dim"].value == 2.0
    assert set(result.scores["record"]) == {new.id}


def test_a_lost_worker_is_forgotten_after_a_later_success_of_the_same(make):
    lost = {"fingerprints": {}, "status": Status.FAILED, "reason": "It was killed.", "scores": ()}
    assert blocks_of(make(**lost), make()).absent == ()
    assert len(blocks_of(make(), make(**lost)).absent) == 1
    assert len(blocks_of(make(**lost), make(seed=1)).absent) == 1


def test_the_same_seed_twice_is_not_two_seeds(make):
    (block,) = blocks_of(make(bits=1.0), make(bits=2.0)).blocks
    assert block.rows[0].seeds == (0,)
    assert block.rows[0].cells["bits_per_dim"].value == 2.0
    assert block.notes == ("mixture: 1 older of the same settings, code and seed left out",)


def test_cells_without_numbers_are_lines(make):
    records = [
        make(seed=seed, model="vae", status=Status.SKIPPED, reason="It has no density.", scores=()) for seed in (1, 0)
    ]
    failed = make(status=Status.FAILED, reason="Out of memory.", scores=())
    result = blocks_of(*records, failed, make(scores=()))
    assert result.blocks == ()
    assert result.absent == (
        "completed: density of mixture on digits, seed 0: it has no scores",
        "failed: density of mixture on digits, seed 0: Out of memory.",
        "skipped: density of vae on digits, seeds 0, 1: It has no density.",
    )


@pytest.mark.parametrize(
    ("kind", "contract", "caption"),
    [
        ("exact", {}, "density on digits (test, 297 examples, 64 dims, 17 levels) · exact · unconditional"),
        (
            "upper_bound",
            {"estimator": "importance-weighted", "importance_samples": 1000, "conditional": True},
            "density on digits (test, 297 examples, 64 dims, 17 levels) · upper bounds"
            " · importance-weighted bound, K = 1000 · conditional",
        ),
        (
            "upper_bound",
            {
                "support": "continuous",
                "dequantisation": "uniform",
                "variant.binarisation": "static",
                "augmentation": True,
            },
            "density on digits (test, 297 examples, 64 dims, continuous) · upper bounds"
            " · uniform dequantisation · unconditional · trained with augmentation · variant.binarisation static",
        ),
    ],
)
def test_captions_are_words(make, kind, contract, caption):
    (block,) = blocks_of(make(kind=Kind(kind), contract=contract)).blocks
    assert block.caption == caption


def test_captions_differ_where_blocks_do(make):
    result = blocks_of(make(), make(contract={"data": "e" * 64}), make(suite_version=2))
    captions = {block.caption for block in result.blocks}
    assert len(captions) == 3
    assert any("data eeeeeeee" in caption for caption in captions)


def test_a_metric_that_some_lack_does_not_divide(make):
    def score(metric):
        return Score(metric, 1.0, "examples/s", Kind.ESTIMATE, True)

    (block,) = blocks_of(
        make(model="a", scores=(score("log_prob_rate"), score("sample_rate"))),
        make(model="b", scores=(score("sample_rate"),)),
    ).blocks
    assert [column.name for column in block.columns] == ["log_prob_rate", "sample_rate"]
    assert [sorted(row.cells) for row in block.rows] == [["log_prob_rate", "sample_rate"], ["sample_rate"]]


def test_a_ladder_of_one_metric_is_several_columns(make):
    ladder = tuple(
        Score("iwae", -float(k), "nats", Kind.LOWER_BOUND, True, parameters={"importance_samples": k, "draws": 5})
        for k in (1, 10)
    )
    (block,) = blocks_of(make(scores=ladder)).blocks
    assert [column.name for column in block.columns] == ["iwae importance_samples=1", "iwae importance_samples=10"]


def test_outcomes_do_not_divide(make):
    def one(model, **parameters):
        return make(model=model, scores=(Score("nll", 1.0, "nats", Kind.ESTIMATE, False, parameters=parameters),))

    outcomes = [dict.fromkeys(OUTCOMES, number) for number in (1, 2)]
    assert len(blocks_of(one("a", k=1, **outcomes[0]), one("b", k=1, **outcomes[1])).blocks) == 1
    assert len(blocks_of(one("a", k=1), one("b", k=2)).blocks) == 2


choices = st.fixed_dictionaries({
    "suite_version": st.sampled_from([1, 2]),
    "dataset": st.sampled_from(["digits", "ising"]),
    "kinds": st.lists(st.sampled_from(Kind), min_size=1, max_size=2),
    "contract": st.fixed_dictionaries({"conditional": st.booleans(), "data": st.sampled_from(["a", "b"])}),
    "added": st.fixed_dictionaries({}, optional={"set": st.sampled_from(["noise", "svhn"])}),
    "k": st.sampled_from([None, 1, 5]),
    "unit": st.sampled_from(["nats", "bits"]),
    "metrics": st.permutations(["nll", "elbo"]),
})  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(drawn=st.lists(choices, min_size=1, max_size=6))
def test_blocks_never_mix_what_is_not_comparable(make, drawn):
    records = {}
    for number, each in enumerate(drawn):
        scores = tuple(
            Score(metric, 1.0, each["unit"], kind, False, parameters={"k": each["k"]}, contract=each["added"])
            for metric, kind in zip(each["metrics"], each["kinds"], strict=False)
        )
        record = make(
            model=f"m{number}",
            suite_version=each["suite_version"],
            dataset=each["dataset"],
            contract=each["contract"],
            scores=scores,
        )
        records[record.id] = record
    result = blocks_of(*records.values())
    for block in result.blocks:
        members = [records[id] for row in block.rows for id in row.records]
        assert len({(each.suite_version, each.dataset, json.dumps(each.contract)) for each in members}) == 1
        assert len({each.scores[0].kind for each in members}) == 1
        for column in block.columns:
            same = [score for each in members for score in each.scores if score.metric == column.name]
            assert len({(s.kind, s.unit, str(s.contract), str(s.parameters)) for s in same}) == 1
    shown = [id for block in result.blocks for row in block.rows for id in row.records]
    assert sorted(shown) == sorted(records)
    assert len({block.caption for block in result.blocks}) == len(result.blocks)


def test_blocks_are_values(make):
    (block,) = blocks_of(make()).blocks
    with pytest.raises(dataclasses.FrozenInstanceError):
        block.caption = "other"
