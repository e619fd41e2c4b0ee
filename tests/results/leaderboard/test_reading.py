"""The quick way to a table is the same as the slow one."""

from __future__ import annotations

import itertools
import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchstone.results import Kind, RecordError, Score, Status, Store
from torchstone.results.leaderboard.reading import Reading, read
from torchstone.results.reading.frame import frame
from torchstone.results.tables.table import absences, blocks, table

choices = st.fixed_dictionaries({
    "model": st.sampled_from(["vae", "flow"]),
    "seed": st.sampled_from([0, 1]),
    "identity": st.sampled_from(["a", "b", "c", ""]),
    "status": st.sampled_from(list(Status)),
    "suite": st.sampled_from(["density", "density", "audit"]),
    "day": st.integers(1, 3),
    "code": st.sampled_from(["c" * 64, None]),
    "kinds": st.lists(st.sampled_from(Kind), max_size=2),
    "value": st.sampled_from([1.0, 2.5, math.inf, math.nan]),
    "stderr": st.sampled_from([None, 0.1, math.nan]),
    "k": st.sampled_from([None, 1, 5.0, True, math.inf, "five"]),
    "verdict": st.sampled_from(["pass", "fail"]),
})  # fmt: skip


def record_of(make, verdict, drawn):
    scores = tuple(
        Score(metric, drawn["value"], "nats", kind, False, drawn["stderr"], None, 9, {"K": drawn["k"], "nonfinite": 1})
        for metric, kind in zip(("nll", "elbo"), drawn["kinds"], strict=False)
    )
    completed = drawn["status"] is Status.COMPLETED
    prints = {"data": "d" * 64, "weights": "w" * 64} | ({"code": drawn["code"]} if drawn["code"] else {})
    return make(
        model=drawn["model"],
        seed=drawn["seed"],
        identity=drawn["identity"],
        status=drawn["status"],
        suite=drawn["suite"],
        started=f"2026-01-0{drawn['day']}T00:00:00+00:00",
        scores=scores if completed else (),
        fingerprints=prints,
        audits=(verdict("enumeration", drawn["verdict"], "A"),) if drawn["suite"] == "audit" and completed else (),
    )


def same(folder: Path, reading: Reading) -> None:
    expected = table(frame(folder))
    assert repr(blocks([each.measurement for each in reading.current])) == repr(expected.blocks)
    assert absences(reading.without) == expected.absent
    assert list(reading.problems) == frame(folder).attrs["problems"]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(drawn=st.lists(choices, min_size=1, max_size=7))
def test_it_reads_what_a_frame_holds(make, verdict, drawn):
    with tempfile.TemporaryDirectory() as path:
        store = Store(path)
        kept = {store.write(record_of(make, verdict, each)).id for each in drawn}
        reading = read(Path(path))
        same(Path(path), reading)
        assert reading.count == len(kept)


def test_files_that_are_no_records_are_named_and_passed_over(make, folder):
    kept = Store(folder).write(make())
    (folder / "empty.json").write_text("")
    (folder / "edited.json").write_text((folder / f"{kept.id}.json").read_text().replace('"mixture"', '"better"'))
    (folder / "other.json").write_text('{"schema": 99}')
    reading = read(folder)
    same(folder, reading)
    assert [each.measurement.record for each in reading.current] == [kept.id]
    assert len(reading.problems) == 3


def test_older_records_of_an_identity_are_kept_apart(make, folder):
    store = Store(folder)
    old, new = (store.write(make(identity="same", started=f"2026-01-0{day}T00:00:00+00:00")) for day in (1, 2))
    reading = read(folder)
    assert [each.measurement.record for each in reading.older] == [old.id]
    assert [each.measurement.record for each in reading.current] == [new.id]


def test_a_commit_is_short_and_says_whether_the_tree_was_changed(make, folder, environment):
    import dataclasses

    for commit, dirty in (("a" * 40, False), ("b" * 40, True), (None, None)):
        Store(folder).write(make(environment=dataclasses.replace(environment, git_commit=commit, git_dirty=dirty)))
    assert sorted(each.commit for each in read(folder).current) == ["", "a" * 7, "b" * 7 + "+"]


def test_the_newest_certificate_counts(make, certify, verdict, folder):
    store, numbers = Store(folder), itertools.count(1)

    def certificate(outcome):
        return store.write(certify(verdict("enumeration", outcome, "A"), started=f"2026-01-0{next(numbers)}T00:00:00Z"))

    certificate("fail")
    newest = certificate("pass")
    store.write(make())
    reading = read(folder)
    (found,) = reading.certificates.values()
    assert (found.record, found.grade) == (newest.id, "A")
    assert [each.measurement.audit for each in reading.current if each.measurement.suite == "density"] == ["A"]


def test_a_folder_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot be read"):
        read(tmp_path / "file")
