"""The records that are shipped with Torchstone, its own models on the data that it embeds, and the page of them."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from torchstone.results.reading.frame import frame
from torchstone.results.record import Environment, RecordError, Status
from torchstone.results.references import markdown, references
from torchstone.results.scan import entries
from torchstone.results.store import Store
from torchstone.results.tables.render import render
from torchstone.results.tables.selecting import chosen
from torchstone.results.tables.table import table

__all__ = ["BEST", "COMMAND", "FOLDER", "page", "published", "with_summary"]

FOLDER = "published"
COMMAND = "python -m torchstone.harness.publish"
HEADLINE = "bits_per_dim"
BEGIN, END = "<!-- published -->\n", "<!-- end of the published -->"
BEST = 3  # models of each dataset and kind that are also measured at the standard budget


def published() -> Store:
    """The store of the published records; it is there to be read.

    Raises:
        RecordError: none are shipped with this installation, or it lies in an archive.
    """
    folder = files("torchstone.results") / FOLDER
    if not isinstance(folder, Path):
        raise RecordError(f"{folder}: published records are read from files; install Torchstone unpacked, with pip")
    if not entries(folder):
        raise RecordError(
            f"{folder}: no published records are there; install Torchstone anew, or, in a checkout, type {COMMAND}"
        )
    return Store(folder)


def page(store: Store) -> str:
    """The tables of the published records as a page of Markdown, with how they were made, and then the references."""
    return "\n".join([
        "# Results",
        "",
        "## Measured by Torchstone",
        "",
        _HOW.format(command=COMMAND, best=BEST),
        "",
        f"Made with {_machines(store)}. There are so far: {_extent(store)}.",
        "",
        render(frame(store)),
        "## Published by others",
        "",
        markdown(references()),
    ]).rstrip() + "\n"  # fmt: skip


def with_summary(readme: str, store: Store) -> str:
    """The README of the project with the headlines of the published records between the marks that it has for them.

    Raises:
        RecordError: it has no such marks.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise RecordError(f"the README has no place for the published numbers: write {BEGIN.strip()} and {END}")
    shown = replace(chosen(table(frame(store)), [HEADLINE]), absent=())
    return f"{before}{begin}\n{render(shown).strip()}\n\n{end}{after}"


_HOW = """\
To be published are every built-in model on the embedded data, with seeds 0, 1 and 2 at `budget=quick`, and then
the best of them at `budget=standard`, with seed 0. The best are, on each dataset, the {best} with the lowest mean of
the headline over the seeds among the exact numbers, and the {best} with the lowest among the bounds, for a bound and an
exact number have no order between them. They are chosen on the split that is measured: it says which models are worth
the longer training, and nothing more. What was measured on digits has its certificate. The records are in `published/`
beside this page, with their per-example values and without their pictures, and ship with the package.

This page is written by `{command}`, which makes anew only what has changed: a record whose
suite has another version, whose model has another source, or that is not there. It may be interrupted, and goes on
where it stopped."""


def _machines(store: Store) -> str:
    """What the records were made with, each combination once."""
    return "; ".join(sorted({_machine(record.environment) for record in store.records()})) or "nothing so far"


def _extent(store: Store) -> str:
    """How many models and numbers of each dataset and budget there are."""
    found: dict[tuple[str, str], list[str]] = {}
    for record in store.records():
        if record.status is Status.COMPLETED:
            found.setdefault((record.dataset, str(record.settings.get("budget"))), []).append(record.model)
    words = (
        f"{len(set(models))} models on {dataset} at {budget}, {len(models)} records"
        for (dataset, budget), models in sorted(found.items())
    )
    return "; ".join(words) or "none"


def _machine(environment: Environment) -> str:
    torch = environment.versions.get("torch", "of unknown version")
    return f"torch {torch}, Python {environment.python}, {environment.device_name}"
