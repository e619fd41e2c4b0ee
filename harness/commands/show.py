"""``bench show``: one record, readable."""

from __future__ import annotations

from pathlib import Path

import click

from torchstone.harness.options import debug_option, print_result, results_option

__all__ = ["show"]


@click.command(short_help="Print one record, readable.")
@click.argument("record")
@results_option
@debug_option
def show(record: str, results: Path, debug: bool) -> None:
    """One record, named by its file, its id, or the beginning of its id."""
    from torchstone.results.sheets.describe import describe
    from torchstone.results.store import Store

    print_result(describe(Store(results).read(record)))
