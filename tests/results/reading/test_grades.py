"""The grade beside a number is that of the newest certificate of the very model that gave it, and of no other."""

from __future__ import annotations

import csv
import io
import json

import pytest

from torchstone.results import Status, Store
from torchstone.results.reading.frame import frame, frame_of
from torchstone.results.reading.grades import BACKING, grade, promises_none, worst
from torchstone.results.record import NO_DENSITY
from torchstone.results.tables.render import WIDTH, render
from torchstone.results.tables.table import table


def beside(*records, store=None) -> dict[str, str | None]:
    """The grade of each row by model, as a table shows it."""
    blocks = table(frame_of(records, store)).blocks
    return {row.model: row.audit for block in blocks for row in block.rows if block.suite != "audit"}


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ([], "D"),
        ([("enumeration", "pass", "A"), ("entropy floors", "pass", "B")], "A"),
        ([("enumeration", "inconclusive", "D"), ("entropy floors", "pass", "B")], "B"),
        ([("super-unity", "pass", "C"), ("importance mass", "not-applicable", "D")], "C"),
        ([("causality", "pass", "A"), ("purity", "pass", "C")], "D"),  # true of the code, and nothing of the density
        ([("enumeration", "pass", "A"), ("purity", "flag", "C")], "A, 1 flag"),
        ([("known source", "pass", "B"), ("purity", "flag", "C"), ("support", "flag", "C")], "B, 2 flags"),
        ([("enumeration", "flag", "A")], "D, 1 flag"),
        ([("enumeration", "pass", "A"), ("purity", "fail", "C"), ("support", "flag", "C")], "fail"),
        ([("enumeration", "pass", "?")], "D"),
    ],
)
def test_a_certificate_is_as_good_as_the_best_claim_behind_the_number_that_was_passed(verdict, entries, word):
    assert grade([verdict(*entry) for entry in entries]) == word


def test_no_density_is_promised_where_no_audit_of_one_applies_and_one_says_why(verdict):
    none = [verdict(name, "not-applicable", "D") for name in sorted(BACKING)]
    said = [verdict(name, "not-applicable", "D", witness=NO_DENSITY) for name in sorted(BACKING)]
    assert promises_none([*said, verdict("purity")])
    assert promises_none([*none[1:], said[0]])
    assert not promises_none(none)  # a density of data for which there is no audit
    assert not promises_none([*said[1:], verdict(said[0]["audit"], "inconclusive", "D")])
    assert not promises_none([]) and not promises_none([verdict("purity")])


def test_several_certificates_are_as_good_as_the_worst():
    words = ["A", "A, 2 flags", "B", "C, 1 flag", "D", "unaudited", "fail"]
    for place, word in enumerate(words):
        assert worst(words[: place + 1]) == worst([word, *words[:place]]) == word
    assert worst(["A, 10 flags", "A, 9 flags"]) == "A, 10 flags"


def test_it_stands_beside_the_number(make, certify, verdict):
    certificate = certify(verdict("enumeration", grade="A"), verdict("purity", "flag"), model="vae")
    assert beside(make(model="vae"), make(model="flow"), certificate) == {"vae": "A, 1 flag", "flow": "unaudited"}


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "other"},
        {"dataset": "ising"},
        {"fingerprints": {"data": "e" * 64, "weights": "w" * 64, "code": "c" * 64}},
        {"fingerprints": {"data": "d" * 64, "weights": "v" * 64, "code": "c" * 64}},
        {"fingerprints": {"data": "d" * 64, "weights": "w" * 64, "code": "b" * 64}},
        {"fingerprints": {"data": "d" * 64, "weights": "w" * 64}},
        {"fingerprints": {"data": "d" * 64, "code": "c" * 64}},
        {"fingerprints": {}},
        {"settings": {"model": {"components": 8, "temperature": 0.8}}},  # moves numbers, and no weight
        {"settings": {"model": {"components": 8}, "state": "abc"}},  # another live object
        {"status": Status.FAILED},
        {"status": Status.SKIPPED},
    ],
)
def test_a_certificate_of_anything_else_does_not_count(make, certify, verdict, changed):
    passed = verdict("enumeration", grade="A")
    assert beside(make(), certify(passed)) == {"mixture": "A"}
    assert beside(make(), certify(passed, **changed)) == {"mixture": "unaudited"}


def test_settings_of_the_suite_are_not_of_the_model(make, certify, verdict):
    other = {"model": {"components": 8}, "suite": {"alpha": 0.01}, "budget": "quick"}
    assert beside(make(), certify(verdict("enumeration", grade="A"), settings=other)) == {"mixture": "A"}


def test_the_newest_counts(make, certify, verdict):
    old = certify(verdict("enumeration", grade="A"), started="2026-01-02T00:00:00+00:00")
    new = certify(verdict("enumeration", "fail", "A"), started="2026-01-02T01:00:00+01:30")
    assert beside(make(), old, new) == {"mixture": "A"}  # half past eleven of the day before
    new = certify(verdict("enumeration", "fail", "A"), started="2026-01-03T00:00:00+00:00")
    assert beside(make(), new, old) == {"mixture": "fail"}


def test_a_row_of_several_seeds_has_the_worst_of_theirs(make, certify, verdict):
    prints = [{"data": "d" * 64, "weights": each * 64, "code": "c" * 64} for each in "xy"]
    numbers = [make(seed=seed, fingerprints=each) for seed, each in enumerate(prints)]
    certificates = [certify(verdict("enumeration", grade="A"), seed=seed, fingerprints=prints[seed]) for seed in (0, 1)]
    assert beside(*numbers, certificates[0]) == {"mixture": "unaudited"}
    assert beside(*numbers, *certificates) == {"mixture": "A"}


def test_records_at_hand_find_their_certificate_in_the_store(tmp_path, make, certify, verdict):
    store = Store(tmp_path)
    number = store.write(make())
    assert beside(number, store=store) == {"mixture": "unaudited"}
    store.write(certify(verdict("entropy floors", grade="B")))
    store.write(make(model="other"))
    assert beside(number, store=store) == {"mixture": "B"}
    assert beside(number) == {"mixture": "unaudited"}
    shown = frame_of([number], store)
    assert set(shown["model"]) == {"mixture"}  # the store adds grades, and no rows
    assert set(frame(store).loc[lambda rows: rows["suite"] == "density", "audit"]) == {"B", "unaudited"}


def test_a_store_that_does_not_exist_has_no_certificates(tmp_path, make):
    assert beside(make(), store=Store(tmp_path / "none")) == {"mixture": "unaudited"}


def test_every_format_shows_it(make, certify, verdict):
    shown = frame_of([make(), certify(verdict("enumeration", grade="A"), verdict("purity", "flag"))])
    text = render(shown, "markdown")
    assert "| mixture | 84.3 ± 0.5 |  1.900 ± 0.012 | A, 1 flag |" in text
    assert "audit: A proved, B tested, C held wherever tried, D declared" in text
    assert max(map(len, (line for line in text.splitlines() if line.startswith("|")))) <= WIDTH
    density, audit = sorted(json.loads(render(shown, "json"))["blocks"], key=lambda block: block["suite"] == "audit")
    assert [row["audit"] for row in density["rows"]] == ["A, 1 flag"]
    assert [row["audit"] for row in audit["rows"]] == [None]
    rows = csv.DictReader(io.StringIO(render(shown, "csv")))
    assert {(row["suite"], row["audit"]) for row in rows} == {("density", "A, 1 flag"), ("audit", "")}
    for form in ("html", "latex"):
        assert "A, 1 flag" in render(shown, form)


def test_a_table_of_certificates_has_no_column_for_them(certify, verdict):
    text = render(frame_of([certify(verdict("enumeration", grade="A"))]))
    heads = next(line for line in text.splitlines() if line.startswith("|"))
    assert [word.strip() for word in heads.strip("|").split("|")] == ["model", "failed"]


def test_the_claims_that_back_a_number_are_among_those_that_are_audited():
    """Kept by name in a room that knows no suite; a renamed audit would cost every model its grade."""
    from torchstone.suites.audit import AUDITS

    names = {audit.name for audit in AUDITS}
    assert BACKING <= names, BACKING - names
