"""Files that are either whole or absent, however many processes write them and whenever one is killed."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from torchstone.results.record import RecordError

__all__ = ["check_writable", "make_folder", "remove", "write_whole"]

TEMPORARY = ".tmp"


def write_whole(path: Path, content: bytes) -> None:
    """Writes ``path`` by a temporary file beside it, fsync and rename, so that no reader ever sees a part of it.

    Raises:
        RecordError: The disk is full, the folder cannot be written, or ``path`` is a device or a pipe, which a rename
            would put a file in the place of. Nothing is left behind.
    """
    if path.exists() and not path.is_file():
        raise RecordError(f"{path}: this is no plain file, and is not replaced by one; name another")
    temporary = path.with_name(f".{path.name[:16]}-{secrets.token_hex(8)}{TEMPORARY}")
    try:
        _write_synced(temporary, content)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise RecordError(f"{path}: cannot be written: {_cause(error)}. {_ADVICE}") from error
    finally:
        remove(temporary)


def make_folder(folder: Path) -> None:
    """Creates ``folder`` where it is missing; RecordError says why that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"{folder}: records cannot be written there: {_cause(error)}. {_ADVICE}") from error


def check_writable(folder: Path) -> None:
    """Creates ``folder`` where it is missing and writes a file there; RecordError says why that cannot be done."""
    make_folder(folder)
    temporary = folder / f".{secrets.token_hex(8)}{TEMPORARY}"
    try:
        _write_synced(temporary, b"torchstone\n")
    except OSError as error:
        raise RecordError(f"{folder}: records cannot be written there: {_cause(error)}. {_ADVICE}") from error
    finally:
        remove(temporary)


_ADVICE = "Make room and give it write permission, or choose another folder"


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened, and a rename is durable by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # what a file system says that has no such thing
            raise
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Removes ``path`` where it is."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass  # it never came to be: its folder is a file, or is gone


def _cause(error: OSError) -> str:
    return error.strerror or str(error)
