"""``bench list``: what there is to run."""

from __future__ import annotations

import click

from torchstone.harness.options import debug_option, print_result, text_format_option

__all__ = ["list_"]


@click.command(name="list", short_help="List models, suites, data and metrics.")
@click.argument("what", type=click.Choice(("models", "suites", "data", "metrics")), required=False)
@text_format_option
@debug_option
def list_(what: str | None, form: str, debug: bool) -> None:
    """What there is: models, suites, data and metrics, with families, capabilities and settings."""
    from torchstone.harness.catalogue import catalogue

    print_result(catalogue(what, form))
