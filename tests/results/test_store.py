from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from torchstone.results import RecordError, Status, Store
from torchstone.results import files as files_module

COLUMNS = {"id": [3, 1, 2], "nll": [0.1, float("inf"), 1e-300]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "deep" / "results")


def names(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


def test_round_trip(store, make):
    kept = store.write(make(), COLUMNS)
    assert store.read(kept.id) == kept
    assert names(store.folder) == [".json", ".parquet"]
    assert kept.arrays["columns"] == ["id", "nll"]
    assert kept.arrays["rows"] == 3
    arrays = store.arrays(kept)
    assert arrays["id"].dtype == np.int64
    assert arrays["nll"].dtype == np.float64
    assert arrays["id"].tolist() == COLUMNS["id"]
    assert arrays["nll"].tolist() == COLUMNS["nll"]


def test_a_record_without_arrays_has_no_second_file(store, make):
    record = make()
    assert store.write(record) == record
    assert names(store.folder) == [".json"]
    assert store.arrays(record) == {}


FIGURES = {"enumeration": b"\x89PNG one", "entropy-floors": b"\x89PNG two"}


def test_figures_are_kept_beside_the_record(store, make):
    kept = store.write(make(), COLUMNS, FIGURES)
    assert set(kept.figures) == set(FIGURES) and all(len(sha) == 64 for sha in kept.figures.values())
    assert store.read(kept.id) == kept
    assert store.figures(kept) == FIGURES
    assert {path.name for path in store.folder.iterdir()} == {
        f"{kept.id}{ending}" for ending in (".json", ".parquet", ".enumeration.png", ".entropy-floors.png")
    }
    assert [record.id for record in store.records()] == [kept.id] and store.problems == []


def test_a_record_without_figures_has_none(store, make):
    assert store.figures(store.write(make(), COLUMNS)) == {}


def test_a_figure_that_is_missing_or_altered_is_named(store, make):
    kept = store.write(make(), figures=FIGURES)
    path = store.folder / f"{kept.id}.enumeration.png"
    path.write_bytes(b"\x89PNG another")
    with pytest.raises(RecordError, match=r"enumeration.png: it is not the picture that the record was written with"):
        store.figures(kept)
    path.unlink()
    with pytest.raises(RecordError, match=r"enumeration.png: the picture cannot be read: No such file"):
        store.figures(kept)


def test_other_figures_make_another_record(store, make):
    record = make()
    first, second = (store.write(record, figures={"enumeration": content}) for content in (b"one", b"two"))
    assert first.id != second.id
    assert [store.figures(each)["enumeration"] for each in (first, second)] == [b"one", b"two"]


@pytest.mark.parametrize("lost", [".parquet", ".png", ".json"])
def test_siblings_go_with_a_record_that_could_not_be_written(store, make, monkeypatch, lost):
    replace = os.replace

    def all_but(source, target):
        if Path(target).suffix == lost:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(files_module.os, "replace", all_but)
    with pytest.raises(RecordError, match="No space left"):
        store.write(make(), COLUMNS, FIGURES)
    assert list(store.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"nll": [1.0]}, "need a column 'id'"),
        ({"id": [0, 1], "nll": [1.0]}, "1 per-example values 'nll' for 2 example ids"),
        ({"id": [0, 0], "nll": [1.0, 2.0]}, "occurs twice"),
        ({"id": [0], "nll": [[1.0, 2.0]]}, r"shape \(1, 2\)"),
        ({"id": [0], "nll": ["high"]}, "'nll' are not numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(store, make, columns, message):
    with pytest.raises(RecordError, match=message):
        store.write(make(), columns)
    assert not store.folder.exists()


def test_altered_and_missing_arrays_are_named(store, make):
    kept = store.write(make(), COLUMNS)
    path = store.folder / f"{kept.id}.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(RecordError, match=f"{kept.id}.parquet: its sha256 is not"):
        store.arrays(kept)
    path.unlink()
    with pytest.raises(RecordError, match=f"{kept.id}.parquet: the per-example values cannot be read: No such file"):
        store.arrays(kept)


def test_a_record_by_the_beginning_of_its_id_or_by_its_path(store, make):
    records = [store.write(make()) for _ in range(40)]  # of 40, some share their first digit
    for record in records:
        assert store.read(record.id[:12]) == store.read(store.folder / f"{record.id}.json") == record
    shared = next(first for first in "0123456789abcdef" if sum(each.id[0] == first for each in records) > 1)
    with pytest.raises(RecordError, match=rf"'{shared}' begins \d+ records in .* \(.*\); give more of it"):
        store.read(shared)
    with pytest.raises(
        RecordError, match=rf"begins with '{records[0].id[:11]}x'; the nearest are {records[0].id[:12]}"
    ):
        store.read(records[0].id[:11] + "x")
    with pytest.raises(RecordError, match="'' begins 40 records"):
        store.read("")


def test_a_path_that_is_not_there(store):
    with pytest.raises(RecordError, match=r"nowhere.json cannot be read as a record: .*No such file"):
        store.read("nowhere.json")
    with pytest.raises(RecordError, match="there are no records; make some with `bench run suite=density`"):
        store.read("abc")


REASONS = (
    "strict JSON",
    "edited or damaged",
    "schema 2 is not 1",
    "strict JSON",
    "a list",
    "empty",
    "strict JSON",
    "strict JSON",
    "edited or damaged",
    "strict JSON",
    "Is a directory",
    "No such file",
    "empty",
)


def test_what_is_not_a_record_is_named_and_passed_over(store, make):
    kept = store.write(make())
    text = (store.folder / f"{kept.id}.json").read_text()
    other = json.loads(text) | {"schema": 2}
    damaged = {
        "a-half.json": text[: len(text) // 2].encode(),
        "b-edited.json": text.replace('"seed": 0', '"seed": 1').encode(),
        "c-other.json": json.dumps(other).encode(),
        "d-not-json.json": b"hello",
        "e-list.json": b"[1, 2]",
        "f-empty.json": b"",
        "g-encoding.json": text.replace("mixture", "mixtüre").encode("utf-16"),
        "h-nan.json": b'{"schema": 1, "value": NaN}',
        "i-no-id.json": b'{"schema": 1}',
        "j-deep.json": b"[" * 100_000,
    }
    for name, content in damaged.items():
        (store.folder / name).write_bytes(content)
    (store.folder / "k-folder.json").mkdir()
    os.symlink("nowhere", store.folder / "l-link.json")
    os.mkfifo(store.folder / "m-pipe.json")
    (store.folder / ".half.json-0123.tmp").write_bytes(b"ignored")
    (store.folder / "notes.txt").write_bytes(b"ignored")
    assert list(store.records()) == [kept]
    assert [problem.path.name for problem in store.problems] == [
        *damaged,
        "k-folder.json",
        "l-link.json",
        "m-pipe.json",
    ]
    reasons = [problem.reason for problem in store.problems]
    assert [part in reason for part, reason in zip(REASONS, reasons, strict=True)] == [True] * len(REASONS), reasons
    assert str(store.problems[0]) == f"{store.folder / 'a-half.json'} is passed over: {reasons[0]}"
    assert len(list(store.folder.iterdir())) == 16


def test_a_copied_file_is_one_record(store, make):
    kept = store.write(make())
    (store.folder / "copy.json").write_bytes((store.folder / f"{kept.id}.json").read_bytes())
    assert list(store.records()) == [kept]
    assert store.problems == []


def test_a_folder_that_is_not_there_is_empty(store):
    assert list(store.records()) == []
    assert store.index() == {}


def test_the_newest_of_an_identity_that_did_not_fail(store, make):
    for started, status in [
        ("2026-01-02T00:00:00+02:00", Status.COMPLETED),
        ("2026-01-01T23:00:00+00:00", Status.SKIPPED),  # an hour later, in another zone
        ("2026-01-03T00:00:00+00:00", Status.FAILED),
        ("yesterday", Status.COMPLETED),
    ]:
        store.write(make(identity="same", started=started, status=status))
    store.write(make(identity="failed", status=Status.FAILED))
    assert store.find("same").status is Status.SKIPPED
    assert store.find("failed") is None
    assert store.find("unknown") is None
    assert set(store.index()) == {"same"}


WRITER = """
import sys
from pathlib import Path
from torchstone.results import Record, Store
import dataclasses, json
folder, worker = sys.argv[1], int(sys.argv[2])
record = Record.from_dict(json.loads(sys.stdin.read()))
for i in range(30):
    model = f"worker-{worker if i % 2 else 'shared'}"
    Store(folder).write(dataclasses.replace(record, seed=i, model=model), {"id": range(5), "nll": [i] * 5})
"""


def test_processes_that_write_at_once(store, make):
    text = make().to_json()
    workers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(store.folder), str(n)], stdin=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    for worker in workers:
        worker.stdin.write(text)
        worker.stdin.close()
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    found = list(store.records())
    assert len(found) == 3 * 15 + 15  # every other record is the same for all of them
    assert store.problems == []
    assert all(store.arrays(record)["nll"].tolist() == [record.seed] * 5 for record in found)
    assert set(names(store.folder)) == {".json", ".parquet"}


def refuse(code: int):
    def call(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "No space left on device"), (errno.EROFS, "Read-only file system")]
)
def test_a_full_disk_leaves_nothing_behind(store, make, monkeypatch, call, code, words):
    store.check_writable()
    monkeypatch.setattr(files_module.os, call, refuse(code))
    with pytest.raises(RecordError, match=f"cannot be written: {words}. Make room") as caught:
        store.write(make(), COLUMNS)
    assert len(str(caught.value).splitlines()) == 1
    if call != "replace":
        with pytest.raises(RecordError, match=f"records cannot be written there: {words}"):
            store.check_writable()
    monkeypatch.undo()
    assert list(store.folder.iterdir()) == []


def test_arrays_go_with_a_record_that_could_not_be_written(store, make, monkeypatch):
    replace = os.replace
    order = []

    def only_arrays(source, target):
        order.append(Path(target).suffix)
        if order[-1] == ".json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(files_module.os, "replace", only_arrays)
    with pytest.raises(RecordError, match="No space left"):
        store.write(make(), COLUMNS)
    assert order == [".parquet", ".json"]  # a record is never there before its arrays are
    assert list(store.folder.iterdir()) == []


def test_an_interruption_leaves_nothing_half_written(store, make, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    store.check_writable()
    monkeypatch.setattr(files_module.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.write(make(), COLUMNS)
    assert list(store.folder.iterdir()) == []


def test_a_file_system_that_does_not_sync_folders(store, make, monkeypatch):
    sync = os.fsync
    monkeypatch.setattr(
        files_module.os,
        "fsync",
        lambda fd: refuse(errno.EINVAL)() if os.path.isdir(f"/proc/self/fd/{fd}") else sync(fd),
    )
    assert store.read(store.write(make()).id)


def test_a_file_in_the_place_of_the_folder(tmp_path, make):
    (tmp_path / "file").write_text("mine")
    for store in (Store(tmp_path / "file"), Store(tmp_path / "file" / "below")):
        with pytest.raises(RecordError, match="records cannot be written there"):
            store.check_writable()
        with pytest.raises(RecordError, match="records cannot be written there"):
            store.write(make(), COLUMNS)
        with pytest.raises(RecordError, match="records cannot be read there: Not a directory"):
            list(store.records())
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_write_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RecordError, match="records cannot be written there: Permission denied"):
        Store(tmp_path).check_writable()
    tmp_path.chmod(0o700)


def test_files_have_the_permissions_of_others(store, make):
    kept = store.write(make())
    mask = os.umask(0)
    os.umask(mask)
    assert (store.folder / f"{kept.id}.json").stat().st_mode & 0o777 == 0o666 & ~mask
