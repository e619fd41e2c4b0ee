"""The folder of a page: written whole, or into one that was made before, and never over anything else."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from torchstone.results.files import TEMPORARY, remove, write_whole
from torchstone.results.record import RecordError

__all__ = ["CERTIFICATES", "INDEX", "MARKER", "RECORDS", "check_apart", "check_free", "publish"]

MARKER = ".torchstone-leaderboard"
INDEX = "index.html"
RECORDS = "records"
CERTIFICATES = "certificates"

_BINARY = getattr(os, "O_BINARY", 0)  # Windows must not translate line ends
_NOTE = b"Made by `bench leaderboard`, which may write index.html, records and certificates here anew.\n"


def check_free(output: Path) -> None:
    """Raises RecordError, saying why, where a page may not be written to ``output``; nothing is touched."""
    if not os.path.lexists(output):
        return
    if not output.is_dir():
        raise RecordError(f"{output}: it is a file; name a folder that is not there yet")
    try:
        names = sorted(entry.name for entry in os.scandir(output))
    except OSError as error:
        raise RecordError(f"{output}: it cannot be read: {error.strerror}") from error
    if names and MARKER not in names:
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise RecordError(
            f"{output}: it holds other things already ({shown}), and nothing is overwritten; name a folder that is "
            "not there yet, an empty one, or one that holds a leaderboard"
        )
    for name in (RECORDS, CERTIFICATES):
        if (output / name).is_symlink():
            raise RecordError(
                f"{output}: {name} in it is a link to another folder, of which files would be removed; remove the "
                "link, or name another folder"
            )


def check_apart(results: Path, output: Path) -> None:
    """Raises RecordError where ``results`` lie in ``output``, from which records are removed; nothing is touched."""
    if results.resolve().is_relative_to(output.resolve()):
        raise RecordError(
            f"{results}: it lies in {output}, the folder of the page, from which records are removed that the page "
            "does not link to; copy the records to another folder, and name that"
        )


def publish(output: Path, page: bytes, records: Mapping[str, Path], certificates: Mapping[str, bytes]) -> None:
    """Write ``page`` with all that it links to.

    A new folder appears whole, by one rename. In one that was made before, the index is replaced last, by another, and
    only then are records and certificates removed to which it no longer links; what else lies there stays.

    Args:
        output: the folder.
        page: its index.
        records: files to copy, by the names that they get in ``records``.
        certificates: pages of ``certificates``, by name.

    Raises:
        RecordError: `check_free` raises it, or something cannot be written.
    """
    check_free(output)
    try:
        if output.is_dir():
            _fill(output, page, records, certificates)
            _remove_others(output / RECORDS, records, ".json")
            _remove_others(output / CERTIFICATES, certificates, ".html")
        else:
            _appear(output, lambda folder: _fill(folder, page, records, certificates))
    except OSError as error:
        raise RecordError(
            f"{output}: the page cannot be written: {error.strerror or error}. Make room and give write permission, or "
            "name another folder"
        ) from error


def _appear(output: Path, fill: Callable[[Path], None]) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name[:16]}-{secrets.token_hex(8)}{TEMPORARY}")
    try:
        temporary.mkdir()
        fill(temporary)
        temporary.rename(output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fill(folder: Path, page: bytes, records: Mapping[str, Path], certificates: Mapping[str, bytes]) -> None:
    (folder / MARKER).write_bytes(_NOTE)
    for name in (RECORDS, CERTIFICATES):
        (folder / name).mkdir(exist_ok=True)
    beginning = os.path.join(folder / RECORDS, "")
    for name, source in records.items():
        _copy(source, beginning + name)
    for name, content in certificates.items():
        _replace(folder / CERTIFICATES / name, content)
    write_whole(folder / INDEX, page)


def _copy(source: Path, target: str) -> None:
    """A copy, by as few system calls as will do; one that is there, as long and not older, is left as it is.

    It need not be written by a rename: a record is never changed, and no index that links to this one is there yet.
    """
    descriptor = os.open(source, os.O_RDONLY | _BINARY)
    try:
        content, facts = b"", os.fstat(descriptor)
        while len(content) < facts.st_size and (more := os.read(descriptor, facts.st_size)):
            content += more
    finally:
        os.close(descriptor)
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
    except FileExistsError:
        there = os.stat(target)
        if there.st_size == facts.st_size and there.st_mtime >= facts.st_mtime:
            return
        descriptor = os.open(target, os.O_WRONLY | os.O_TRUNC | _BINARY)
    with open(descriptor, "wb", buffering=0) as file:
        file.write(content)


def _replace(path: Path, content: bytes) -> None:
    """Writes ``path`` by a rename; without fsync, as the index that links to it is written after it."""
    temporary = path.with_name(f".{path.name[:16]}-{secrets.token_hex(8)}{TEMPORARY}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError:
        remove(temporary)
        raise


def _remove_others(folder: Path, kept: Iterable[str], ending: str) -> None:
    """Removes the files of ``folder`` that are named after a record and are not ``kept``."""
    names = set(kept)
    for name in os.listdir(folder):
        stem = name.removesuffix(ending)
        if name.endswith(ending) and name not in names and len(stem) == 64 and set(stem) <= set("0123456789abcdef"):
            remove(folder / name)
