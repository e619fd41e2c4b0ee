"""Files of weights: what they are, by content."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

__all__ = ["file_hash"]


def file_hash(path: Path) -> str:
    """sha256 of a file, read once for each of its states."""
    facts = path.stat()
    return _hash(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=16)
def _hash(path: Path, modified: int, size: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
