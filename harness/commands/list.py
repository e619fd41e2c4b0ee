"""``bench list``: what there is to run."""

from __future__ import annotations

import click

from torchstone.harness.options import debug_option, print_result

__all__ = ["list_"]


@click.command(name="list")
@click.argument("what", type=click.Choice(("models", "suites", "data", "metrics")), required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(("markdown", "json")),
    default="markdown",
    show_default=True,
    help="How it is written.",
)
@debug_option
def list_(what: str | None, form: str, debug: bool) -> None:
    """What there is: models, suites, data and metrics, with families, capabilities and settings."""
    from torchstone.harness.catalogue import catalogue

    print_result(catalogue(what, form))
