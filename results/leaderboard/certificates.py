"""The certificates that a page links to, as pages of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from torchstone.results.leaderboard.reading import Found
from torchstone.results.reading.grades import CERTIFICATE
from torchstone.results.record import Record, RecordError
from torchstone.results.sheets.certificate import certificate
from torchstone.results.store import Store

__all__ = ["certificate_pages"]


def certificate_pages(folder: Path, wanted: Iterable[str], found: Mapping[str, Found]) -> dict[str, bytes]:
    """A page for each of the certificates, by file name; it shows its own pictures and those of its model's records.

    Args:
        folder: of the records.
        wanted: ids of records of audits.
        found: the records by id.

    Raises:
        RecordError: a record has been changed since it was read.
    """
    store = Store(folder)
    pictured: dict[object, list[Found]] = {}
    for each in found.values():
        if each.figures and each.measurement.suite != CERTIFICATE:
            pictured.setdefault(each.content, []).append(each)
    pages = {}
    for id in wanted:
        record = store.read(folder / found[id].file)
        others = sorted(pictured.get(found[id].content, ()), key=lambda each: each.measurement.started)
        pictures: dict[str, bytes] = {}
        for file in (*(each.file for each in others), found[id].file):
            pictures |= _pictures(store, store.read(folder / file))
        pages[f"{id}.html"] = certificate(record, pictures, "html").encode()
    return pages


def _pictures(store: Store, record: Record) -> dict[str, bytes]:
    """Those of a record; none where one is missing or altered, as they are no part of what is certified."""
    try:
        return store.figures(record)
    except RecordError:
        return {}
