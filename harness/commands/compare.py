"""``bench compare``: two models, records or stores side by side."""

from __future__ import annotations

from pathlib import Path

import click

from torchstone.harness.options import debug_option, print_result, results_option, text_format_option

__all__ = ["compare"]


@click.command(short_help="Compare two models, records or stores.")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@results_option
@text_format_option
@debug_option
def compare(a: str, b: str, results: Path, form: str, debug: bool) -> None:
    """Compare A with B: differences example by example, with intervals.

    A and B are each the name of a model, a record (its file, its id, or the beginning of its id), the folder of a
    store, or the word published: the records that ship with Torchstone. A model or a record is compared with every
    model of a store; two stores are compared model by model.
    """
    from torchstone.harness.verdicts import compare as compare_named
    from torchstone.results.text.numbers import readable

    found = compare_named(a, b, results=results)
    for problem in found.problems:
        click.echo(readable(problem), err=True)
    print_result(found.text(form))
