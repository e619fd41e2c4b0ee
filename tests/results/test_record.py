from __future__ import annotations

import dataclasses
import json
import math
import os
from enum import Enum
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchstone.results import Kind, Record, RecordError, Score, Status
from torchstone.results import record as module
from torchstone.results.record import SCHEMA, canonical, content_id, digest, number
from torchstone.results.scan import verified

texts = st.text(max_size=12)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), texts
)
flats = st.dictionaries(texts, scalars, max_size=4)
nested = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
numbers = st.floats(allow_nan=True, allow_infinity=True)
scores = st.builds(
    Score,
    metric=texts,
    value=numbers,
    unit=texts,
    kind=st.sampled_from(Kind),
    higher_is_better=st.booleans(),
    stderr=st.none() | numbers,
    ci95=st.none() | st.tuples(numbers, numbers),
    n=st.none() | st.integers(0, 10**9),
    parameters=flats,
    contract=flats,
)
reals = (
    st.sampled_from([None, "Infinity", "-Infinity", "NaN"])
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
audits = st.builds(
    lambda more, known: more | known,
    flats,
    st.fixed_dictionaries(
        {
            "audit": texts,
            "verdict": st.sampled_from(["pass", "fail", "flag", "inconclusive", "not-applicable"]),
            "grade": st.sampled_from("ABCD"),
            **dict.fromkeys(("statistic", "p_value", "level"), reals),
        }
    ),
)


def without_nan(value):
    """``value`` with lists for tuples and a word for NaN, which is not equal to itself."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return "not a number" if isinstance(value, float) and math.isnan(value) else value


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    scores=st.lists(scores, max_size=3).map(tuple),
    contract=flats,
    nest=st.dictionaries(texts, nested, max_size=4),
    audit=audits,
    text=texts,
)
def test_round_trip(make, scores, contract, nest, audit, text):
    record = make(model=text, reason=text, scores=scores, settings=nest, audits=(audit,), status=Status.SKIPPED)
    record = dataclasses.replace(record, contract=contract)
    written = record.to_json()
    again = Record.from_dict(json.loads(written, parse_constant=pytest.fail))
    assert again.to_json() == written
    assert again.id == record.id
    assert without_nan(dataclasses.asdict(again)) == without_nan(dataclasses.asdict(record))
    assert verified(written.encode()) == (record.id, {k: v for k, v in json.loads(written).items() if k != "id"})


def test_the_id_does_not_depend_on_layout(make):
    raw = make(settings={"rate": 1e-5, "big": 2**63, "é": "ü"}).to_dict()
    for text in (json.dumps(raw), json.dumps(raw, indent=4, sort_keys=True), json.dumps(raw, ensure_ascii=False)):
        assert verified(text.encode())[0] == raw["id"]
        assert Record.from_dict(json.loads(text)).id == raw["id"]


def test_one_line_for_each_field_and_score(make):
    record = make()
    lines = record.to_json().splitlines()
    assert lines[1:3] == [f' "schema": {SCHEMA},', f' "id": "{record.id}",']
    assert sum(line.startswith('  {"ci95"') for line in lines) == len(record.scores)


@pytest.mark.parametrize(("value", "text"), [(math.inf, "Infinity"), (-math.inf, "-Infinity"), (math.nan, "NaN")])
def test_numbers_that_json_has_not_are_strings(make, value, text):
    score = Score("nll", value, "nats", Kind.EXACT, False, value, (value, value))
    record = make(scores=(score,), settings={"limit": value})
    raw = json.loads(record.to_json(), parse_constant=pytest.fail)
    assert raw["scores"][0]["value"] == raw["scores"][0]["stderr"] == raw["settings"]["limit"] == text
    again = Record.from_dict(raw).score("nll")
    assert repr(again) == repr(score)
    assert repr(number(text)) == repr(value)


def test_equal_contents_have_equal_digests():
    assert canonical({"b": 1, "a": [1.0, None]}) == canonical({"a": (1.0, None), "b": 1})
    assert digest({"a": 1}) != digest({"a": 2})


class Colour(Enum):
    RED = "red"


def test_values_of_other_libraries_are_converted(make):
    given = {"a": np.float32(0.5), "b": np.int64(3), "c": PurePosixPath("x/y"), "d": Colour.RED, "e": (1, 2), 5: True}
    record = make(settings=given)
    assert record.to_dict()["settings"] == {"a": 0.5, "b": 3, "c": "x/y", "d": "red", "e": [1, 2], "5": True}


def test_integers_over_64_bits_are_strings(make):
    record = make(settings={"seed": 2**64, "other": 2**64 - 1})
    assert verified(record.to_json().encode())[1]["settings"] == {"seed": str(2**64), "other": 2**64 - 1}


def test_bytes_that_are_no_text_are_written_out(make):
    name = os.fsdecode(b"folder-\xff")
    record = make(model=name, settings={name: name})
    again = Record.from_dict(json.loads(record.to_json().encode()))
    assert again.model == "folder-\\udcff"
    assert again.id == record.id


def test_what_cannot_be_kept_is_named(make):
    with pytest.raises(RecordError, match="is a set, which a record cannot hold"):
        make(settings={"things": {1}}).to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 99}, "schema 99 is not 1"),
        ({"seed": 7}, "edited or damaged"),
        ({"id": "0"}, "edited or damaged"),
        ({"extra": 1}, "edited or damaged"),
    ],
)
def test_other_contents_are_refused(make, change, message):
    with pytest.raises(RecordError, match=message):
        Record.from_dict(make().to_dict() | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "unexpected keyword argument 'extra'"),
        ({"model": 3}, "'model' is a int"),
        ({"contract": []}, "'contract' is a list"),
        ({"status": "odd"}, "'odd' is not a valid Status"),
        ({"scores": [{"metric": "nll"}]}, "ci95"),
        ({"environment": {}}, "missing"),
        ({"audits": None}, "'audits' is a NoneType"),
    ],
)
def test_fields_of_the_wrong_type_are_named(make, change, message):
    content = make().to_dict() | change
    del content["id"]
    with pytest.raises(RecordError, match=message):
        Record.from_dict(content | {"id": content_id(content)})


HELD = {"audit": "purity", "verdict": "pass", "grade": "C", "statistic": None, "p_value": None, "level": None}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (None, "its audit 2 is a NoneType, not an object"),
        (["purity"], "its audit 2 is a list, not an object"),
        (HELD | {"audit": 3}, "its audit 2 has the name 3, which is no text"),
        ({}, "its audit 2 has the name None"),
        (HELD | {"verdict": "passed"}, "'purity', has the verdict 'passed', which is none of pass, fail, flag"),
        (HELD | {"verdict": ["pass"]}, "has the verdict .'pass'."),
        (HELD | {"grade": "E"}, "has the grade 'E', which is none of A, B, C, D"),
        (HELD | {"grade": "AB"}, "has the grade 'AB'"),
        (HELD | {"statistic": "large"}, "has the statistic 'large', which is no number"),
        (HELD | {"p_value": True}, "has the p_value True, which is no number"),
        (HELD | {"level": [0.1]}, "has the level .0.1., which is no number"),
    ],
)
def test_an_audit_that_is_none_is_named(make, entry, message):
    content = make(audits=(HELD, entry)).to_dict()
    with pytest.raises(RecordError, match=message):
        Record.from_dict(content)


@pytest.mark.parametrize("value", [None, 3, 0.5, math.inf, -math.inf, math.nan])
def test_an_audit_has_numbers_or_none(make, value):
    record = make(audits=(HELD | dict.fromkeys(("statistic", "p_value", "level"), value),))
    assert Record.from_dict(record.to_dict()).to_json() == record.to_json()


@pytest.mark.parametrize("raw", [[], "text", 3, None])
def test_other_json_is_no_record(raw):
    with pytest.raises(RecordError, match="not a record"):
        Record.from_dict(raw)


def test_score_by_name(make):
    assert make(bits=2.0).score("bits_per_dim").value == 2.0
    with pytest.raises(KeyError, match="no score 'fid' in this record; it has nll, bits_per_dim"):
        make().score("fid")
    with pytest.raises(KeyError, match="it has none"):
        make(scores=()).score("fid")


@pytest.mark.parametrize(
    ("kind", "sign"), [("exact", ""), ("lower_bound", "≥"), ("upper_bound", "≤"), ("estimate", "≈")]
)
def test_signs(kind, sign):
    assert Kind(kind).sign == sign


def test_all_names_exist():
    assert all(name in vars(module) for name in module.__all__)
