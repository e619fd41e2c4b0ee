"""The records that are shipped: whole, current, of no machine's paths, and the page is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchstone.harness.publish import machine_path
from torchstone.harness.standing import stale
from torchstone.results import RecordError, Status, Store, shipped
from torchstone.results.reading.grades import CERTIFICATE
from torchstone.results.record import Record
from torchstone.results.shipped import COMMAND, FOLDER, page, published, with_summary

ROOMS = Path(__file__).parents[2]
AGAIN = f"type {COMMAND} in a checkout, which makes anew only what has changed"


@pytest.fixture(scope="module")
def store() -> Store:
    try:
        return published()
    except RecordError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def records(store: Store) -> list[Record]:
    found = list(store.records())
    assert not store.problems
    return found


def test_the_page_is_the_rendered_table_of_the_published_records(store):
    assert (ROOMS / "results" / "README.md").read_text(encoding="utf-8") == page(store), f"To mend it, {AGAIN}."


def test_the_readme_shows_their_headlines(store):
    readme = (ROOMS / "README.md").read_text(encoding="utf-8")
    assert readme == with_summary(readme, store), f"To mend it, {AGAIN}."
    assert "bits_per_dim" in with_summary("a\n<!-- published -->\nold\n<!-- end of the published -->\nb", store)


def test_a_readme_without_a_place_for_them_is_refused(store):
    with pytest.raises(RecordError, match="has no place for the published numbers: write <!-- published -->"):
        with_summary("# Mine\n", store)


def test_every_published_record_is_of_the_current_suite_model_and_data(records):
    old = {record.id: why for record in records if (why := stale(record)) is not None}
    assert not old, f"{len(old)} published records no longer stand: {old}. To mend it, {AGAIN}."


def test_no_published_record_names_a_path_of_a_machine(records):
    assert [path for record in records if (path := machine_path(record)) is not None] == []


def test_every_published_number_has_its_per_example_values(store, records):
    for record in records:
        if record.status is Status.COMPLETED and record.suite != CERTIFICATE:
            values = store.arrays(record)
            assert len(values["id"]) == record.scores[0].n


def test_no_built_in_model_fails_an_audit_in_the_published_certificates(records):
    certificates = [record for record in records if record.suite == CERTIFICATE and record.status is Status.COMPLETED]
    assert {record.model for record in certificates} >= {"transformer", "vae", "flow", "pixelcnn", "vq_transformer"}
    assert not [audit for record in certificates for audit in record.audits if audit["verdict"] == "fail"]


def test_only_records_and_what_belongs_to_them_lie_there(store, records):
    known = {record.id for record in records}
    assert {path.name.partition(".")[0] for path in store.folder.iterdir()} == known


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(shipped, "files", lambda package: tmp_path)
    return tmp_path / FOLDER


def test_where_none_are_shipped_that_is_said(elsewhere):
    with pytest.raises(
        RecordError, match=r"no published records are there; install Torchstone anew, or, in a checkout"
    ):
        published()


def test_they_are_an_ordinary_store(elsewhere, make):
    record = Store(elsewhere).write(make(), {"id": [1, 2], "nll": [1.0, 2.0]})
    assert [each.id for each in published().records()] == [record.id]
    assert list(published().arrays(record)["nll"]) == [1.0, 2.0]


def test_a_package_in_an_archive_says_that_it_must_be_unpacked(monkeypatch, tmp_path):
    import zipfile

    monkeypatch.setattr(shipped, "files", lambda package: zipfile.Path(archive))
    archive = tmp_path / "package.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(f"{FOLDER}/x.json", "{}")
    with pytest.raises(RecordError, match="install Torchstone unpacked"):
        published()


def test_the_page_shows_the_measured_and_the_quoted_apart(make, tmp_path):
    store = Store(tmp_path)
    store.write(make(bits=1.875))
    text = page(store)
    measured, _, quoted = text.partition("## Published by others")
    assert "| mixture |" in measured and "1.875" in measured and "torch 2.6.0, Python 3.11.7, cpu" in measured
    assert COMMAND in measured
    assert "VDVAE" in quoted and "VDVAE" not in measured and "mixture" not in quoted
    assert "None of these numbers was measured" in quoted
