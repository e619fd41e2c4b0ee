"""``bench report``: of some records, of some columns, and of how a metric moved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def stored(bench):
    """Two runs of a model, the second made anew."""
    assert bench("run", "model=independent,mixture", "budget=smoke").code == 0
    assert bench("run", "model=independent", "budget=smoke", "--fresh").code == 0
    return bench


def test_columns_are_chosen(stored):
    said = stored("report", "--columns", "bits_per_dim")
    assert said.code == 0 and "bits_per_dim" in said.out and "nll" not in said.out
    assert json.loads(stored("report", "--columns", "bits_per_dim,nll", "--format", "json").out)["blocks"]


def test_a_misspelt_column_names_the_nearest(stored, sentence):
    said = sentence(stored("report", "--columns", "bits_per_dims"))
    assert said == "bench: --columns: no record has a metric 'bits_per_dims'; did you mean 'bits_per_dim'?"


def test_records_since_then(stored):
    said = stored("report", "--since", "2001-01-01")
    assert "independent" in said.out and "3 of 3 records were started since 2001-01-01." in said.err
    said = stored("report", "--since", "1h", "--columns", "nll")
    assert "| independent |" in said.out
    said = stored("report", "--since", "2999-01-01")
    assert said.code == 0 and "There are no records." in said.out and "0 of 3 records" in said.err
    for chosen in ("--columns", "--history"):
        said = stored("report", "--since", "2999-01-01", chosen, "nll")
        assert said.code == 0 and "0 of 3 records" in said.err


def test_a_moment_that_is_none_says_what_would_be(stored, sentence):
    said = sentence(stored("report", "--since", "lately"))
    assert said.startswith("bench: --since: 'lately'") and "give a date such as 2026-01-31, a span such as 7d" in said


def test_columns_may_be_parted_by_spaces_too(stored):
    said = stored("report", "--columns", "bits_per_dim, nll")
    assert said.code == 0 and said.out == stored("report", "--columns", "bits_per_dim,nll").out


def test_the_history_of_a_metric(stored):
    said = stored("report", "--history", "bits_per_dim")
    assert said.code == 0
    assert said.out.count("**bits_per_dim of ") == 1 and "**bits_per_dim of independent" in said.out
    assert "change" in said.out


def test_a_history_has_one_metric(stored, sentence):
    assert "give one of the two" in sentence(stored("report", "--history", "nll", "--columns", "nll"))


def test_the_collector_is_left_as_it_was(stored):
    import gc

    assert gc.isenabled()
    stored("report")
    assert gc.isenabled()
    gc.disable()
    try:
        stored("report")
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert Path("bench-results").is_dir()
