"""How a metric moved: per model, over its code, and never across contracts."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math

import pytest

from torchstone.results import Kind, RecordError, Score
from torchstone.results.reading.frame import frame_of
from torchstone.results.tables.history import histories, render_history
from torchstone.results.tables.render import Format


@pytest.fixture
def at(make):
    """``at(day, bits, ...)``: a record of that day, made in a commit of that day."""

    def record(day, bits, **changes):
        made = make(bits=bits, started=f"2026-01-{day:02d}T10:00:00+00:00", **changes)
        return dataclasses.replace(
            made, environment=dataclasses.replace(made.environment, git_commit=f"{day:02d}" * 20)
        )

    return record


def test_a_history_follows_a_model_through_its_code_and_tells_the_change(at):
    records = [at(3, 1.7, fingerprints={"code": "b"}), at(1, 1.9, fingerprints={"code": "a"}), at(2, 1.8)]
    (history,) = histories(frame_of(records), "bits_per_dim")
    assert (history.model, history.label, history.column) == ("mixture", "", "bits_per_dim")
    assert [moment.value.value for moment in history.moments] == [1.9, 1.8, 1.7]
    assert history.moments[0].change is None
    assert [moment.change for moment in history.moments[1:]] == pytest.approx([-0.1, -0.1])
    assert [moment.commit[:4] for moment in history.moments] == ["0101", "0202", "0303"]


def test_superseded_records_are_history(at):
    records = [at(1, 1.9, identity="same"), at(2, 1.8, identity="same")]
    (history,) = histories(frame_of(records), "bits_per_dim")
    assert len(history.moments) == 2


@pytest.mark.parametrize(
    "changes",
    [{"suite_version": 2}, {"contract": {"split": "validation"}}, {"kind": Kind.UPPER_BOUND}, {"seed": 1}],
)
def test_a_change_is_never_taken_between_numbers_that_mean_different_things(at, changes):
    records = [at(1, 1.9), at(2, 1.9), at(3, 1.5, **changes)]
    (history,) = histories(frame_of(records), "bits_per_dim")
    assert [moment.change for moment in history.moments] == [None, 0.0, None]


def test_seeds_of_one_run_are_no_history(at):
    assert histories(frame_of([at(1, 1.9, seed=seed) for seed in range(3)]), "bits_per_dim") == ()


def test_models_of_other_settings_have_histories_of_their_own(at):
    records = [at(day, 1.9, settings={"model": {"width": width}}) for day in (1, 2) for width in (8, 16)]
    assert [history.label for history in histories(frame_of(records), "nll")] == ["width=16", "width=8"]


def test_objects_of_one_class_are_one_model_whatever_their_weights(at):
    records = [at(day, 1.9, settings={"model": {}, "state": str(day)}) for day in (1, 2)]
    (history,) = histories(frame_of(records), "nll")
    assert history.label == ""


def test_a_misspelt_metric_is_answered_with_the_nearest(at):
    with pytest.raises(RecordError, match=r"no record has a metric 'nl'; did you mean 'nll'\?"):
        histories(frame_of([at(1, 1.9)]), "nl")


def test_it_is_rendered_in_every_format(at):
    infinite = (Score("nll", math.inf, "nats", Kind.UPPER_BOUND, False),)
    records = [at(1, 1.9, model="<b>"), at(2, 1.8, model="<b>")]
    found = histories(frame_of([*records, at(1, 0, scores=infinite), at(2, 0, scores=infinite)]), "nll")
    text = render_history(found, "nll")
    assert "**nll of \\<b> · density on digits**" in text
    assert "| 2026-01-02 10:00 | 0202020 " in text and "-4.44 |" in text and "≤ inf" in text
    assert "&lt;b&gt;" in render_history(found, "nll", Format.HTML)
    assert r"\toprule" in render_history(found, "nll", "latex")
    read = json.loads(render_history(found, "nll", "json"))
    assert read["metric"] == "nll" and len(read["histories"]) == 2
    assert read["histories"][1]["moments"][1]["value"] == "Infinity"
    rows = list(csv.DictReader(io.StringIO(render_history(found, "nll", "csv"))))
    assert [float(row["value"]) for row in rows] == pytest.approx([84.2859, 79.8498, math.inf, math.inf])
    assert [row["change"] == "" for row in rows] == [True, False, True, True]
    assert float(rows[1]["change"]) == pytest.approx(-4.4361)


@pytest.mark.parametrize("form", list(Format))
def test_where_there_is_no_history_that_is_said(at, form):
    text = render_history(histories(frame_of([at(1, 1.9)]), "nll"), "nll", form)
    assert form in ("csv", "json") or "No model has several records of one seed with nll." in text
