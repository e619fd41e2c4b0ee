from __future__ import annotations

import json
import math

import pandas as pd
import pytest

from torchstone.results import Kind, Score, Status, Store
from torchstone.results.reading.frame import frame, frame_of
from torchstone.results.record import content_id


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_a_row_for_each_score_and_each_record_without(store, make):
    done = store.write(make(bits=1.9, settings={"model": {"width": 3}}))
    failed = store.write(make(status=Status.FAILED, reason="it broke", scores=()))
    table = frame(store)
    assert len(table) == 3
    assert sorted(table["record"]) == sorted([done.id, done.id, failed.id])
    row = table[table["metric"] == "bits_per_dim"].iloc[0]
    assert (row["value"], row["stderr"], row["n"], row["unit"], row["kind"]) == (1.9, 0.012, 297, "bits/dim", "exact")
    assert (row["ci_low"], row["ci_high"], row["position"]) == (1.88, 1.92, 1)
    assert (row["suite"], row["model"], row["dataset"], row["seed"], row["status"]) == (
        "density",
        "mixture",
        "digits",
        0,
        "completed",
    )
    assert json.loads(row["settings"]) == {"model": {"width": 3}}
    assert json.loads(row["contract"]) == done.contract
    assert row["contract.examples"] == 297
    assert not row["contract.conditional"]
    lost = table[table["record"] == failed.id].iloc[0]
    assert lost["reason"] == "it broke"
    assert math.isnan(lost["value"])
    assert pd.isna(lost["metric"])


def test_it_is_the_same_from_files_and_from_records(store, make):
    records = [store.write(make(bits=bits, scores=scores)) for bits, scores in [(1.9, ()), (1.8, scores_of(math.inf))]]
    records.sort(key=lambda record: record.id)
    pd.testing.assert_frame_equal(frame(store), frame_of(records))
    pd.testing.assert_frame_equal(frame(store.folder), frame(store, str(store.folder)))


def scores_of(value):
    return (
        Score(
            "nll",
            value,
            "nats",
            Kind.ESTIMATE,
            False,
            -value,
            (-value, value),
            None,
            {"estimator_stderr": value, "k": 3},
        ),
        Score("auroc", 0.5, "", Kind.ESTIMATE, True, contract={"set": "noise", "conditional": True}),
        Score("kid", 1, "", Kind.ESTIMATE, False, 0),
    )


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_numbers_that_json_has_not(store, make, value):
    store.write(make(scores=scores_of(value)))
    row = frame(store).iloc[0]
    assert (
        repr(float(row["value"]))
        == repr(float(row["ci_high"]))
        == repr(float(row["parameters.estimator_stderr"]))
        == repr(value)
    )


def test_a_score_adds_to_the_contract(store, make):
    store.write(make(scores=scores_of(1.0)))
    table = frame(store).set_index("metric")
    assert json.loads(table.loc["auroc", "contract"])["set"] == table.loc["auroc", "contract.set"] == "noise"
    assert list(table["contract.conditional"]) == [False, True, False]
    assert table["record_contract"].nunique() == 1


def test_an_empty_folder_has_all_columns(store, make):
    empty = frame(store)
    assert len(empty) == 0
    assert frame_of([]).columns.equals(empty.columns)
    store.write(make())
    assert set(empty.columns) < set(frame(store).columns)


def forge(store, record, **changes) -> None:
    """A file whose id is right and whose fields are not."""
    content = record.to_dict() | changes
    del content["id"]
    (store.folder / "forged.json").write_text(json.dumps(content | {"id": content_id(content)}))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": None},
        {"contract": [1]},
        {"seed": "0"},
        {"fingerprints": "none"},
        {"scores": [3]},
        {"scores": {"metric": "nll"}},
    ],
)
def test_a_strange_record_is_passed_over(store, make, changes):
    forge(store, make(), **changes)
    assert [len(frame(store)), len(frame(store).attrs["problems"])] == [0, 1]


@pytest.mark.parametrize(
    "changes", [{"value": "high"}, {"kind": "odd"}, {"n": "many"}, {"parameters": []}, {"contract": [1]}, {"ci95": 3}]
)
def test_a_strange_score_is_passed_over(store, make, changes):
    record = make()
    forge(store, record, scores=[record.to_dict()["scores"][0] | changes])
    assert [len(frame(store)), len(frame(store).attrs["problems"])] == [0, 1]


def test_problems_are_told(store, make):
    (store.folder / "half.json").write_text(make().to_json()[:100])
    forge(store, make(), scores=[{"metric": "nll"}])
    table = frame(store, "nowhere")
    assert len(table) == 0
    odd, half, nowhere = table.attrs["problems"]
    assert "half.json is passed over: it is not strict JSON" in half
    assert "forged.json is passed over: a field is missing or of the wrong type: 'value'" in odd
    assert nowhere == "nowhere is passed over: there is no such folder"
