"""A folder of records, read and verified file by file; what is not a record is named and passed over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from torchstone.results.record import EDITED, RecordError, check_schema, content_id, text_id

__all__ = ["Problem", "entries", "load", "scan", "verified"]


class Problem(NamedTuple):
    """A file that is not a valid record, and why not."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path} is passed over: {self.reason}"


def entries(folder: Path) -> list[str]:
    """The names of the files of ``folder`` that should be records; none where there is no such folder."""
    try:
        with os.scandir(folder) as found:
            names = [entry.name for entry in found if entry.name.endswith(".json") and not entry.name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RecordError(f"{folder}: records cannot be read there: {error.strerror}") from error
    return sorted(names)


def load(path: Path | str) -> tuple[str, dict[str, Any]]:
    """The id and the verified content of the record in ``path``; RecordError says, without the path, what is wrong."""
    return verified(_bytes(path))


def verified(text: bytes) -> tuple[str, dict[str, Any]]:
    """The id and the content of a record's JSON. Raises RecordError where they do not belong together.

    A file as it was written is hashed as it is; one that was laid out anew, which is no edit, is first laid out again.
    """
    import orjson

    try:
        raw = orjson.loads(text)
    except ValueError as error:
        raise RecordError(f"it is not strict JSON ({error})") from error
    if not isinstance(raw, dict):
        raise RecordError(f"it holds a {type(raw).__name__}, not a record")
    stated = raw.pop("id", None)
    check_schema(raw)
    if stated != text_id(text, stated) and stated != content_id(raw):
        raise RecordError(EDITED)
    return stated, raw


def _bytes(path: Path | str) -> bytes:
    """The content of a file, by as few system calls as will do."""
    try:
        descriptor = os.open(path, _FLAGS)
        try:
            text = os.read(descriptor, _CHUNK)
            while more := os.read(descriptor, _CHUNK):
                text += more
        finally:
            os.close(descriptor)
    except OSError as error:
        raise RecordError(f"it cannot be read: {error.strerror}") from error
    if not text:
        raise RecordError("it is empty")
    return text


_CHUNK = 1 << 16
# A pipe must not be waited for, and Windows must not translate line ends.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def scan(folder: Path, problems: list[Problem]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """File name, id and content of each record in ``folder``, each id once; the other files go to ``problems``."""
    seen, beginning = set(), os.path.join(folder, "")
    for name in entries(folder):
        try:
            id, content = load(beginning + name)
        except RecordError as error:
            problems.append(Problem(folder / name, str(error)))
            continue
        if id not in seen:
            seen.add(id)
            yield name, id, content
