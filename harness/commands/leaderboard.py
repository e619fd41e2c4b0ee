"""``bench leaderboard``: the records as a web page that stands on its own."""

from __future__ import annotations

from pathlib import Path

import click

from torchstone.harness.errors import InputError
from torchstone.harness.options import check_results, debug_option, print_result, results_option, uncollected

__all__ = ["leaderboard"]


@click.command(short_help="Make a static web page of all records.")
@results_option
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder of the page: not there yet, empty, or one that holds a leaderboard.",
)
@click.option("--title", default="Leaderboard", show_default=True, help="Title of the page.")
@click.option(
    "--references/--no-references",
    default=True,
    show_default=True,
    help="Show published numbers too, in a section of their own.",
)
@debug_option
def leaderboard(results: Path, output: Path | None, title: str, references: bool, debug: bool) -> None:
    """A static web page of all records: one folder, to be opened in a browser or put on any server.

    It needs no network. index.html has the tables, with ranks that ties share, uncertainties, audits and pictures;
    beside it lie the records and certificates that it links to. A folder that holds anything else is left alone.
    """
    from torchstone.results.leaderboard.folder import check_apart, check_free
    from torchstone.results.leaderboard.names import counted
    from torchstone.results.leaderboard.page import leaderboard as make
    from torchstone.results.record import RecordError
    from torchstone.results.references import references as published

    if output is None:
        raise InputError("--output is missing; type for example bench leaderboard --output leaderboard.")
    check_results(results)
    try:
        check_free(output)
    except RecordError as error:
        raise InputError(f"--output {error}.") from error
    try:
        check_apart(results, output)
    except RecordError as error:
        raise InputError(f"--results {error}.") from error
    with uncollected():
        made = make(results, output, title=title, references=published() if references else ())
    for problem in made.problems:
        click.echo(problem, err=True)
    print_result(f"{made.index}: {counted(made.tables, 'table')} of {counted(made.records, 'record')}")
