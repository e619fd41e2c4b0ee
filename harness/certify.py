"""Certificates of what was audited: printed, and kept as pages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torchstone.harness.errors import InputError
from torchstone.results.record import Record, Status

if TYPE_CHECKING:
    from torchstone.harness.request import Request

__all__ = ["FORMS", "asked_of", "form_of", "keep", "written"]

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


def form_of(form: str | None, output: Path | None) -> str:
    """The form that was asked for: by name, or else by the ending of ``output``, or else Markdown."""
    if form is not None or output is None:
        return form or "markdown"
    if output.suffix not in FORMS:
        raise InputError(f"--output {output}: its ending is none of {', '.join(FORMS)}; give it one, or say --format.")
    return FORMS[output.suffix]


def written(records: Sequence[Record], results: Path, form: str) -> Iterator[str]:
    """The certificate of each completed record; with the pictures of its other suites, where they are to be shown."""
    from torchstone.results.certificate import certificate
    from torchstone.results.store import Store

    store = Store(results)
    others = list(store.records()) if form == "html" else []
    for record in records:
        if record.status is Status.COMPLETED:
            related = [other for other in others if other.figures and _is_of_the_same(record, other)]
            pictures: dict[str, bytes] = {}
            for other in sorted(related, key=lambda other: other.started):
                pictures |= store.figures(other)
            yield certificate(record, pictures | store.figures(record), form)


def _is_of_the_same(audit: Record, other: Record) -> bool:
    """Whether another suite's record is of the very model and data that were audited."""
    facts = ("weights", "code", "data")
    return (
        other.suite != audit.suite
        and other.status is Status.COMPLETED
        and all(other.fingerprints.get(fact) == audit.fingerprints.get(fact) is not None for fact in facts)
        and other.settings.get("model") == audit.settings.get("model")
    )


def keep(records: Sequence[Record], results: Path) -> Iterator[Path]:
    """Write the HTML page of each completed record below ``results``, and yield where.

    Raises:
        RecordError: the folder cannot be written, or a picture is missing.
    """
    from torchstone.results.files import make_folder, write_whole

    folder = results / "certificates"
    completed = [record for record in records if record.status is Status.COMPLETED]
    for record, page in zip(completed, written(completed, results, "html"), strict=True):
        make_folder(folder)
        path = folder / f"{_plain(record.model)}-{_plain(record.dataset)}-{record.id[:12]}.html"
        write_whole(path, page.encode())
        yield path


def _plain(name: str) -> str:
    """A name as part of a file's name on any system."""
    return re.sub(r"[^A-Za-z0-9._]+", "_", name)[:60]
