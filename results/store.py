"""A folder of records: one JSON file each, per-example values beside it."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from torchstone.results import arrays as per_example
from torchstone.results import files
from torchstone.results.record import Record, RecordError, Status, build
from torchstone.results.scan import Problem, entries, load, scan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

__all__ = ["Store", "age"]

SHOWN = 12  # digits of an id that messages and tables print


@final
class Store:
    """Records in one folder, ``<id>.json``, with their per-example values in ``<id>.parquet``.

    Any number of processes may write at once. Records are never edited and never deleted. A file that is not a valid
    record is passed over; `problems` then names it.

    Args:
        folder: Where the records are. It is created by the first write, or by `check_writable`.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.problems: list[Problem] = []
        """The files passed over by the latest reading of the whole folder; ``str(problem)`` is a sentence."""

    def __repr__(self) -> str:
        return f"Store({str(self.folder)!r})"

    def check_writable(self) -> None:
        """Raises RecordError, saying why, where records could not be written; to be asked before hours of work."""
        files.check_writable(self.folder)

    def write(
        self,
        record: Record,
        arrays: Mapping[str, ArrayLike] | None = None,
        figures: Mapping[str, bytes] | None = None,
    ) -> Record:
        """Keeps ``record``, and returns it as it was kept: with ``arrays`` and ``figures`` naming its siblings.

        Args:
            record: What was measured. Its own ``arrays`` and ``figures`` are replaced where siblings are given.
            arrays: Per-example values by name, ``id`` among them; they are on the disk before the record is.
            figures: PNG files by name; they are on the disk before the record is.

        Raises:
            RecordError: The disk is full, the folder cannot be written, or a value cannot be kept.
        """
        siblings: dict[str, bytes] = {}
        if arrays:
            content, facts = per_example.pack(arrays)
            record = dataclasses.replace(record, arrays=facts)
            siblings[".parquet"] = content
        if figures:
            hashes = {name: hashlib.sha256(content).hexdigest() for name, content in figures.items()}
            record = dataclasses.replace(record, figures=hashes)
            siblings |= {f".{name}.png": content for name, content in figures.items()}
        text, path = record.to_json().encode(), self._path(record.id)
        files.make_folder(self.folder)
        try:
            for ending, content in siblings.items():
                files.write_whole(path.with_suffix(ending), content)
            files.write_whole(path, text)
        except RecordError:
            if not path.exists():
                for ending in siblings:
                    files.remove(path.with_suffix(ending))
            raise
        return record

    def read(self, reference: Path | str) -> Record:
        """The record that a path, an id or the unique beginning of an id names.

        Raises:
            RecordError: None or several are named so, or the file is not a valid record.
        """
        path = Path(reference)
        if path.suffix != ".json" and not path.is_file():
            path = self._resolve(str(reference))
        try:
            return build(load(path)[1])
        except RecordError as error:
            raise RecordError(f"{path} cannot be read as a record: {error}") from error

    def records(self) -> Iterator[Record]:
        """Every valid record, each once, in the order of their file names."""
        self.problems = []
        for name, _, content in scan(self.folder, self.problems):
            try:
                yield build(content)
            except RecordError as error:
                self.problems.append(Problem(self.folder / name, str(error)))

    def index(self) -> dict[str, Record]:
        """The newest completed or skipped record of each identity: what a run need not compute again."""
        newest: dict[str, Record] = {}
        for record in self.records():
            if record.status is Status.FAILED:
                continue
            known = newest.get(record.identity)
            if known is None or age(record.started) > age(known.started):
                newest[record.identity] = record
        return newest

    def find(self, identity: str) -> Record | None:
        """The newest completed or skipped record with that identity. It reads the folder: for many, keep an `index`."""
        return self.index().get(identity)

    def arrays(self, record: Record) -> dict[str, np.ndarray[Any, Any]]:
        """The per-example values of ``record`` by name, ``id`` among them; empty where it has none.

        Raises:
            RecordError: The file is missing, or is not the one the record was written with.
        """
        if not record.arrays:
            return {}
        path = self._path(record.id).with_suffix(".parquet")
        try:
            return per_example.unpack(path.read_bytes(), record.arrays)
        except OSError as error:
            raise RecordError(f"{path}: the per-example values cannot be read: {error.strerror}") from error
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from error

    def figures(self, record: Record) -> dict[str, bytes]:
        """The pictures of ``record`` by name, as PNG; empty where it has none.

        Raises:
            RecordError: A file is missing, or is not the one the record was written with.
        """
        found = {}
        for name, stated in record.figures.items():
            path = self._path(record.id).with_suffix(f".{name}.png")
            try:
                found[name] = path.read_bytes()
            except OSError as error:
                raise RecordError(f"{path}: the picture cannot be read: {error.strerror}") from error
            if hashlib.sha256(found[name]).hexdigest() != stated:
                raise RecordError(f"{path}: it is not the picture that the record was written with")
        return found

    def _path(self, id: str) -> Path:
        return self.folder / f"{id}.json"

    def _resolve(self, prefix: str) -> Path:
        ids = [name.removesuffix(".json") for name in entries(self.folder)]
        fitting = [id for id in ids if id.startswith(prefix)] if prefix else ids
        if len(fitting) == 1:
            return self._path(fitting[0])
        if fitting:
            shown = ", ".join(id[:SHOWN] for id in fitting[:4]) + (", …" if len(fitting) > 4 else "")
            raise RecordError(f"{prefix!r} begins {len(fitting)} records in {self.folder} ({shown}); give more of it")
        raise RecordError(f"no record in {self.folder} has an id that begins with {prefix!r}; {_nearest(prefix, ids)}")


def age(started: str) -> datetime:
    """When a record was started, for putting records in order; one that does not say is older than all others."""
    try:
        when = datetime.fromisoformat(started)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _nearest(prefix: str, ids: list[str]) -> str:
    if not ids:
        return "there are no records; make some with `bench run suite=density`, or name another folder with --results"
    beginnings = sorted({id[: max(len(prefix), SHOWN)] for id in ids})
    near = difflib.get_close_matches(prefix, beginnings, n=3, cutoff=0.0)
    return f"the nearest are {', '.join(near)}" if len(near) > 1 else f"the nearest is {near[0]}"
