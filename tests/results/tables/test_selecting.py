"""A report of some of the records, or of some of the columns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from torchstone.results import Kind, RecordError, Score
from torchstone.results.reading.frame import frame_of
from torchstone.results.tables.render import render
from torchstone.results.tables.selecting import as_shown, beginning, chosen, since
from torchstone.results.tables.table import table

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
COMMITS = [
    (datetime(2026, 1, 5, tzinfo=UTC), "abcd" * 10),
    (datetime(2026, 1, 3, tzinfo=UTC), "abcd" * 10),
    (datetime(2026, 1, 9, tzinfo=UTC), "abce" * 10),
]


@pytest.mark.parametrize(
    ("when", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T10:30", datetime(2026, 1, 31, 10, 30, tzinfo=UTC)),
        ("2026-01-31T10:30+02:00", datetime(2026, 1, 31, 8, 30, tzinfo=UTC)),
        ("7d", NOW - timedelta(days=7)),
        ("12h", NOW - timedelta(hours=12)),
        ("30m", NOW - timedelta(minutes=30)),
        ("2w", NOW - timedelta(weeks=2)),
        ("999999w", datetime.min.replace(tzinfo=UTC)),
        ("999999999999999999d", datetime.min.replace(tzinfo=UTC)),
        ("abcd", datetime(2026, 1, 3, tzinfo=UTC)),
        ("ABCE", datetime(2026, 1, 9, tzinfo=UTC)),
        ("abcd" * 10, datetime(2026, 1, 3, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_date_a_span_or_a_commit(when, moment):
    assert beginning(when, COMMITS, NOW) == moment


@pytest.mark.parametrize(
    ("when", "sentence"),
    [
        ("yesterday", "'yesterday' is no moment; give a date such as 2026-01-31, a span such as 7d"),
        ("7y", "is no moment"),
        ("٧d", "is no moment"),
        ("-1d", "is no moment"),
        ("", "is no moment"),
        ("abc", "is no moment"),
        ("dead", "no commit that a record was made in; the latest of those are abceabceabce, abcdabcdabcd"),
    ],
)
def test_what_is_no_moment_says_what_would_be_one(when, sentence):
    with pytest.raises(RecordError, match=sentence):
        beginning(when, COMMITS, NOW)


def test_an_ambiguous_commit_names_those_that_it_begins():
    made = [(NOW, "12345" * 8), (NOW, "12346" * 8)]
    with pytest.raises(RecordError, match=r"'1234' begins 2 commits .*\(123451234512, 123461234612\); give more of it"):
        beginning("1234", made)


def test_records_started_since_then_are_kept_whole(make):
    old, new = (make(started=f"2026-01-0{day}T00:00:00+00:00", model=f"m{day}") for day in (1, 2))
    unknown = make(started="", model="unknown")
    kept = since(frame_of([old, new, unknown]), "2026-01-02")
    assert set(kept["record"]) == {new.id} and len(kept) == len(new.scores)


def test_a_certificate_counts_however_old_it_is(make, certify, verdict):
    certificate = certify(verdict("enumeration", "pass", "A"), started="2026-01-01T00:00:00+00:00")
    record = make(started="2026-01-05T00:00:00+00:00")
    kept = since(frame_of([certificate, record]), "2026-01-03")
    assert set(kept["record"]) == {record.id} and set(kept["audit"]) == {"A"}


def two(make, model, nll, bits):
    scores = tuple(Score(name, value, "nats", Kind.EXACT, False) for name, value in (("nll", nll), ("bits", bits)))
    return make(model=model, scores=scores)


def test_columns_come_in_the_order_in_which_they_are_named_and_rows_by_the_first(make):
    made = table(frame_of([two(make, "a", 1.0, 9.0), two(make, "b", 2.0, 8.0)]))
    (block,) = chosen(made, ["bits", "nll"]).blocks
    assert [column.name for column in block.columns] == ["bits", "nll"]
    assert [row.model for row in block.rows] == ["b", "a"]
    (block,) = chosen(made, ["nll"]).blocks
    assert [row.model for row in block.rows] == ["a", "b"]
    assert all(row.cells.keys() == {"nll"} for row in block.rows)
    assert set(chosen(made, ["nll"]).scores["metric"]) == {"nll"}


def test_a_metric_stands_for_all_of_its_columns(make):
    scores = tuple(Score("iwae", 1.0 / k, "nats", Kind.UPPER_BOUND, False, parameters={"k": k}) for k in (1, 5))
    made = table(frame_of([make(scores=(*scores, Score("elbo", 1.0, "nats", Kind.UPPER_BOUND, False)))]))
    (block,) = chosen(made, ["iwae"]).blocks
    assert [column.name for column in block.columns] == ["iwae k=1", "iwae k=5"]
    (block,) = chosen(made, ["iwae k=5"]).blocks
    assert [column.name for column in block.columns] == ["iwae k=5"]


def test_blocks_and_rows_without_the_columns_are_left_out(make):
    alone = make(model="c", scores=(Score("nll", 3.0, "nats", Kind.EXACT, False),))
    other = make(suite="audit", scores=(Score("failed", 0.0, "audits", Kind.EXACT, False),))
    made = table(frame_of([two(make, "a", 1.0, 9.0), alone, other]))
    (block,) = chosen(made, ["bits"]).blocks
    assert [row.model for row in block.rows] == ["a"]


def test_a_misspelt_column_is_answered_with_the_nearest(make):
    made = table(frame_of([make()]))
    with pytest.raises(RecordError, match=r"no record has a metric 'bits_per_dims'; did you mean 'bits_per_dim'\?"):
        chosen(made, ["nll", "bits_per_dims"])


def test_where_there_are_no_records_no_column_is_wrong():
    assert chosen(table(frame_of([])), ["nll"]).blocks == ()


def areas(sets=("noise", "spins"), scores=("log_prob", "typicality")):
    """Scores with two choices each."""
    return tuple(
        Score("auroc", 0.5, "share", Kind.ESTIMATE, True, parameters={"score": score, "outliers": name})
        for score in scores
        for name in sets
    )


def test_a_column_may_be_named_by_one_of_its_choices(make):
    made = table(frame_of([make(suite="outliers", scores=areas())]))
    (block,) = chosen(made, ["auroc score=typicality"]).blocks
    assert [column.name for column in block.columns] == [
        "auroc outliers=noise score=typicality", "auroc outliers=spins score=typicality",
    ]  # fmt: skip
    with pytest.raises(RecordError, match="no record has a metric 'auroc score=typical'"):
        chosen(made, ["auroc score=typical"])


def test_a_suite_is_shown_by_the_columns_it_names_and_the_rest_is_counted(make):
    made = table(frame_of([make(suite="outliers", scores=areas()), make(suite="density")]))
    shown = as_shown(made, {"outliers": ("auroc score=typicality",)})
    density, outliers = shown.blocks
    assert density == made.blocks[0] and len(outliers.columns) == 2
    assert outliers.notes == ("2 more columns of these records are shown by bench report",)
    assert as_shown(made, {"outliers": ("nothing",)}).blocks == made.blocks == as_shown(made, {}).blocks


def test_columns_that_two_choices_tell_apart_stand_under_what_they_share(make):
    """The choice with most values heads the columns; a model that has none of a part is not in it."""
    sets = ("noise", "spins", "rotated", "shifted")
    narrow = make(suite="outliers", model="narrow", scores=areas(sets, ("typicality", "softmax")))
    text = render(frame_of([make(suite="outliers", model="wide", scores=areas(sets)), narrow]))
    assert "auroc outliers" not in text and "auroc in share: higher is better" in text
    first, second, third = (part.split("audit")[0] for part in text.split("auroc, score=")[1:])
    assert "log_prob:" in first and "noise |   spins |   rotated |   shifted |" in first
    assert "wide" in first and "narrow" not in first
    assert "wide" in second and "narrow" in second
    assert "wide" not in third.split("softmax:")[1].split("\n\n")[1] and "narrow" in third
