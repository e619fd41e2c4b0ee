"""Certificates of what was audited: printed, and kept as pages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, final

from torchstone.harness.errors import InputError
from torchstone.harness.options import check_output
from torchstone.results.files import make_folder, write_whole
from torchstone.results.record import Record, RecordError, Status
from torchstone.results.store import Store

if TYPE_CHECKING:
    from torchstone.harness.request import Request

__all__ = ["FORMS", "Certificates", "asked_of", "check_target", "several"]

FORMS = {".md": "markdown", ".html": "html", ".json": "json"}


def asked_of(arguments: Sequence[str]) -> Request:
    """The request for audits that ``arguments`` make. Raises InputError where they ask for more, or name no model."""
    from torchstone.harness.request import parse

    suite = [argument for argument in arguments if argument.startswith("suite=")]
    if suite:
        raise InputError(f"{suite[0]}: audit holds the audits and no other suite; leave it out.")
    asked = parse(arguments)
    if not asked.model:
        raise InputError("model= is missing; type for example bench audit model=transformer.")
    return replace(asked, suite=("audit",))


def several(asked: Request) -> bool:
    """Whether more than one certificate is asked for."""
    return asked.model == ("all",) or max(map(len, (asked.model, asked.data, asked.seed))) > 1


def check_target(asked: Request, form: str, output: Path | None) -> None:
    """Raises InputError where what is asked for could not be written as it should be: to be known before any audit."""
    if output is None:
        if form == "html" and several(asked):
            raise InputError(
                "--format html: a page holds one certificate and several are asked for; leave --format out, as every "
                "page is kept in the folder certificates of the records, or name one model, one dataset and one seed."
            )
        return
    if several(asked):
        raise InputError(
            f"--output {output}: one file holds one certificate; name one model, one dataset and one seed."
        )
    check_output(output)


@final
class Certificates:
    """The certificates of the completed ones among ``records``, whose store is the folder ``results``."""

    def __init__(self, records: Sequence[Record], results: Path) -> None:
        self.records = [record for record in records if record.status is Status.COMPLETED]
        self.results = results
        self.store = Store(results)

    def text(self, form: str, *, together: bool) -> str:
        """All of them in one ``form``; ``together`` makes a list of them in JSON, be it of one. Empty without any."""
        written = [self._written(record, form) for record in self.records]
        if together and form == "json":
            return f"[{','.join(written)}]\n"
        return "\n".join(written)

    def keep(self) -> Iterator[Path]:
        """Write the HTML page of each below the results, and yield where.

        Raises:
            RecordError: the folder cannot be written, or a picture of an audit is missing.
        """
        folder = self.results / "certificates"
        for record in self.records:
            page = self._written(record, "html")
            make_folder(folder)
            path = folder / f"{_plain(record.model)}-{_plain(record.dataset)}-{record.id[:12]}.html"
            write_whole(path, page.encode())
            yield path

    def _written(self, record: Record, form: str) -> str:
        from torchstone.results.sheets.certificate import certificate

        return certificate(record, self._pictures(record) if form == "html" else {}, form)

    def _pictures(self, record: Record) -> dict[str, bytes]:
        """Those of its model's other suites, as far as they are there and unaltered, and its own."""
        pictures: dict[str, bytes] = {}
        for other in sorted(filter(partial(_is_of_the_same, record), self._pictured), key=lambda each: each.started):
            try:
                pictures |= self.store.figures(other)
            except RecordError:
                continue  # it is no part of what is certified
        return pictures | self.store.figures(record)

    @cached_property
    def _pictured(self) -> list[Record]:
        """The records of the store that have pictures; it is read once."""
        return [record for record in self.store.records() if record.figures] if self.records else []


def _is_of_the_same(audit: Record, other: Record) -> bool:
    """Whether another suite's record is of the very model and data that were audited."""
    facts = ("weights", "code", "data")
    return (
        other.suite != audit.suite
        and other.status is Status.COMPLETED
        and all(other.fingerprints.get(fact) == audit.fingerprints.get(fact) is not None for fact in facts)
        and other.settings.get("model") == audit.settings.get("model")
    )


def _plain(name: str) -> str:
    """A name as part of a file's name on any system."""
    return re.sub(r"[^A-Za-z0-9._]+", "_", name)[:60]
