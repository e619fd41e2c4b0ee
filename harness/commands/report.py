"""``bench report``: tables of all records, of some of them, or of how a metric moved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from torchstone.harness.errors import InputError
from torchstone.harness.options import (
    check_results,
    debug_option,
    format_option,
    print_result,
    results_option,
    uncollected,
)

__all__ = ["report"]


@click.command(short_help="Print tables of all records.")
@results_option
@format_option
@click.option(
    "--since",
    "when",
    metavar="WHEN",
    help="Only records started since then: a date (2026-01-31), a span (7d, 12h, 2w), or a git commit of the records.",
)
@click.option("--columns", metavar="METRIC,...", help="Only these metrics, in this order; rows by the first of them.")
@click.option("--history", "metric", metavar="METRIC", help="How METRIC moved, where a seed has several records.")
@debug_option
def report(results: Path, form: str, when: str | None, columns: str | None, metric: str | None, debug: bool) -> None:
    """Tables of all records; numbers whose contracts differ stand in different blocks."""
    from torchstone.results.text.numbers import readable

    if metric is not None and columns is not None:
        raise InputError(f"--columns {columns}: a history is of one metric, that of --history; give one of the two.")
    check_results(results)
    with uncollected():
        text, problems = _text(results, form, when, columns, metric)
    for problem in problems:
        click.echo(readable(problem), err=True)
    print_result(text)


def _text(
    results: Path, form: str, when: str | None, columns: str | None, metric: str | None
) -> tuple[str, tuple[str, ...]]:
    """What was asked for; and the files that were passed over, and how many records there are since then."""
    from torchstone.results.reading.frame import frame
    from torchstone.results.tables.history import histories, render_history
    from torchstone.results.tables.render import render
    from torchstone.results.tables.selecting import chosen, since
    from torchstone.results.tables.table import table

    found = frame(results)
    problems: tuple[str, ...] = tuple(found.attrs["problems"])
    if when is not None:
        with _of("--since"):
            known, found = found["record"].nunique(), since(found, when)
        problems += (f"{found['record'].nunique()} of {known} records were started since {when}.",)
    if metric is not None:
        with _of("--history"):
            return render_history(histories(found, metric), metric, form), problems
    made = table(found)
    if columns is not None:
        with _of("--columns"):
            made = chosen(made, [name.strip() for name in columns.split(",")])
    return render(made, form), problems


@contextmanager
def _of(option: str) -> Iterator[None]:
    """What is wrong meanwhile is wrong with the value of ``option``: its message names it."""
    from torchstone.results.record import RecordError

    try:
        yield
    except RecordError as error:
        raise InputError(f"{option}: {error}") from error
