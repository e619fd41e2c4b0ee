"""The published records: made once, made anew where they no longer stand, and never of another machine's paths."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from torchstone.harness import code, standing
from torchstone.harness import publish as publishing
from torchstone.harness.cell import Plan
from torchstone.harness.code import code_digest, source_digest
from torchstone.harness.environment import environment, resolve_device
from torchstone.harness.execution import executor
from torchstone.harness.plugins import component
from torchstone.harness.publish import Published, best, machine_path, publish
from torchstone.harness.request import BUDGETS
from torchstone.harness.runner import run_plan
from torchstone.harness.standing import SOURCE, signed, stale
from torchstone.results import Kind, Record, RecordError, Score, Status, Store
from torchstone.suites.density import Density

NAMES = {"suite": "density", "model": "independent,mixture,truth", "data": "digits", "seed": "0,1", "device": "cpu"}


class Making:
    """Makes cells in this process, counts them, and can be interrupted."""

    def __init__(self, limit=10**6):
        self.labels, self.limit = [], limit

    def __call__(self, cells) -> Iterator:
        planned = Plan(tuple(cells), environment(resolve_device("cpu"), 256, 0))
        for each in run_plan(planned, executor("inline", lambda *_: None), timeout=60.0):
            if len(self.labels) == self.limit:
                raise KeyboardInterrupt
            self.labels.append(f"{each.record.model} {each.record.seed} {each.record.settings['budget']}")
            yield each.record


@pytest.fixture
def target(tmp_path, monkeypatch):
    """A folder to publish in, with budgets of few steps."""
    monkeypatch.setitem(BUDGETS, "quick", 2)
    monkeypatch.setitem(BUDGETS, "standard", 3)
    standing._digests.cache_clear()
    yield Published(Store(tmp_path / "published"), tmp_path / "work", ((NAMES, {}),))
    standing._digests.cache_clear()


def made(target, limit=10**6):
    making, said = Making(limit), []
    failed = publish(target, making, said.append)
    assert failed == 0, said
    return making.labels


def models(target):
    return sorted({(r.model, r.settings["budget"], r.status.value) for r in target.store.records()})


def test_everything_is_made_once_the_best_at_both_budgets(target):
    assert len(made(target)) == 3 * 2 + 2
    assert models(target) == [
        ("independent", "quick", "completed"),
        ("independent", "standard", "completed"),
        ("mixture", "quick", "completed"),
        ("mixture", "standard", "completed"),
        ("truth", "quick", "skipped"),
    ]
    assert made(target) == []
    assert not list((target.store.folder).glob("fits*"))
    assert all(target.store.arrays(r) for r in target.store.records() if r.status is Status.COMPLETED)


def test_what_was_finished_before_an_interruption_is_not_made_again(target):
    with pytest.raises(KeyboardInterrupt):
        made(target, limit=3)
    assert len(list(target.store.records())) == 3
    assert len(made(target)) == 5


def test_another_version_of_the_suite_makes_all_of_it_anew_and_removes_the_old(target, monkeypatch):
    made(target)
    monkeypatch.setattr(Density, "version", Density.version + 1)
    assert len(made(target)) == 8
    assert {r.suite_version for r in target.store.records()} == {Density.version}


def test_another_source_of_a_model_makes_that_model_anew(target, monkeypatch):
    made(target)

    def changed(factory, model):
        return "changed" if "mixture" in factory.__module__ else source_digest(factory, model)

    monkeypatch.setattr(standing, "source_digest", changed)
    standing._digests.cache_clear()
    assert {label.split()[0] for label in made(target, limit=10)} == {"mixture"}
    assert sum(r.fingerprints.get(SOURCE) == "changed" for r in target.store.records()) == 3


def test_a_model_that_is_added_is_made_and_the_others_are_not(target):
    made(target)
    more = dataclasses.replace(target, asked=((NAMES | {"model": NAMES["model"] + ",linear_gaussian"}, {}),))
    assert {label.split()[0] for label in made(more)} == {"linear_gaussian"}


def test_a_model_that_is_no_longer_there_is_removed_with_its_values(target):
    made(target)
    publish(dataclasses.replace(target, asked=((NAMES | {"model": "independent"}, {}),)), Making(), lambda _: None)
    assert {r.model for r in target.store.records()} == {"independent"}
    assert len(list(target.store.folder.glob("*.parquet"))) == len(list(target.store.folder.glob("*.json")))


def test_other_versions_of_libraries_make_nothing_stale(target, monkeypatch):
    made(target)
    (record, *_) = [r for r in target.store.records() if r.model == "mixture"]
    before = code_digest(component("models", "mixture").factory, None)
    monkeypatch.setattr(code, "version", lambda name: "99.0")
    standing._digests.cache_clear()
    assert code_digest(component("models", "mixture").factory, None) != before
    assert stale(record) is None
    assert made(target) == []


def test_a_record_made_with_other_code_is_not_signed(target):
    made(target)
    (record, *_) = [r for r in target.store.records() if r.model == "mixture"]
    other = dataclasses.replace(record, fingerprints={**record.fingerprints, "code": "0" * 64})
    with pytest.raises(RecordError, match="made with other code than is here; make it anew"):
        signed(other)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"suite_version": 99}, f"is of version 99 of density, which is now at {Density.version}"),
        ({"fingerprints": {"data": "0"}}, "is of other data than digits has now"),
        ({"status": Status.FAILED}, "tells of a failure"),
        ({"status": Status.SKIPPED, "reason": "It rained."}, "was skipped for a reason that is no longer given"),
        ({"suite": "gone"}, "cannot be made any more: suites=gone"),
    ],
)
def test_a_record_that_no_longer_stands_says_why(target, changes, why):
    made(target)
    (record, *_) = [r for r in target.store.records() if r.model == "mixture"]
    assert stale(record) is None
    assert (stale(dataclasses.replace(record, **changes)) or "").startswith(why.replace("suites=", "suite="))
    unsigned = {name: value for name, value in record.fingerprints.items() if name != SOURCE}
    assert stale(dataclasses.replace(record, fingerprints=unsigned)) == "does not say of which source its model was"


def test_a_cell_that_fails_is_counted_and_nothing_is_removed(target):
    made(target)
    later = dataclasses.replace(target, asked=((NAMES | {"model": "linear_gaussian"}, {}),))
    before = {record.id for record in target.store.records()}
    assert (
        publish(later, lambda cells: iter([f"{cell.label} could not be made." for cell in cells]), lambda _: None) == 2
    )
    assert {record.id for record in target.store.records()} == before


def record_of(**changes) -> Record:
    fields = {
        **{"identity": "0", "suite": "density", "suite_version": 1, "model": "mixture", "family": "explicit-exact"},
        **{"dataset": "digits", "seed": 0, "settings": {}, "contract": {}, "status": Status.COMPLETED, "reason": ""},
        **{"scores": (), "environment": environment(resolve_device("cpu"), 256, 0), "started": "", "seconds": 1.0},
        "fingerprints": {},
    }
    return Record(**(fields | changes))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("at /home/somebody/data/x.npz", "/home/somebody/data/x.npz"),
        ("C:\\\\Users\\\\x", "C:\\"),
        ("nats/example and bits/dim", None),
        ("a/b/c is relative", None),
    ],
)
def test_a_record_that_names_a_path_of_a_machine_is_found(text, path):
    assert machine_path(record_of(reason=text)) == path


def test_such_a_record_is_not_published(target):
    with pytest.raises(RecordError, match="it names '/tmp/x/y', a path of this machine, and cannot be published"):
        target.keep(record_of(reason="see /tmp/x/y"))
    assert not list(target.store.records())


def test_the_best_are_chosen_among_exact_numbers_and_among_bounds():
    def one(model, value, kind=Kind.EXACT, seed=0, data="digits"):
        settings = {"model_spec": model, "data_spec": data}
        scores = (Score("nll", value, "nats/example", kind, False),)
        return record_of(model=model, scores=scores, settings=settings, seed=seed)

    records = [
        one("a", 5.0, seed=0), one("a", 1.0, seed=1), one("b", 2.9), one("c", 4.0), one("d", 6.0),
        one("v", 9.0, Kind.UPPER_BOUND), one("w", 0.5, Kind.UPPER_BOUND), one("x", float("inf"), Kind.UPPER_BOUND),
        one("a", 7.0, data="patches"),
    ]  # fmt: skip
    assert best(records, 2) == [("w", "digits"), ("v", "digits"), ("b", "digits"), ("a", "digits"), ("a", "patches")]
    assert ("x", "digits") not in best(records, 3)
    certificates = [dataclasses.replace(one("a", -1.0), suite="audit"), one("b", 2.9)]
    assert best(certificates, 2) == [("b", "digits")]


def test_pictures_are_left_out_and_values_are_not(target):
    made(target)
    (record, *_) = [r for r in target.store.records() if r.model == "mixture"]
    values = target.store.arrays(record)
    pictured = Store(target.work).write(record, values, {"bits": b"\x89PNG"})
    kept = target.keep(pictured)
    assert kept.figures == {} and set(target.store.arrays(kept)) == set(values)
    assert not list(target.store.folder.glob("*.png"))


def test_it_is_refused_outside_of_a_checkout(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(publishing.torchstone.results, "__path__", [str(tmp_path / "results")])
    monkeypatch.setattr("sys.argv", ["publish"])
    with pytest.raises(SystemExit) as ended:
        publishing.main()
    assert ended.value.code == 2
    assert "published records are made in a checkout of Torchstone" in capsys.readouterr().err
