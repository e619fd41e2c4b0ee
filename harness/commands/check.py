"""``bench check``: the gate of continuous integration."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from torchstone.harness.errors import InputError
from torchstone.harness.options import (
    DONE,
    SAYS_NO,
    check_output,
    debug_option,
    form_of,
    print_result,
    results_option,
)

__all__ = ["check"]

FORMS = {".md": "markdown", ".json": "json", ".xml": "junit"}


@click.command(short_help="Say whether a model became worse, for CI.")
@click.option("--baseline", required=True, metavar="DIR|published", help="Store of the records to compare with.")
@results_option
@click.option("--model", "models", multiple=True, help="Judge this model; may be given several times.  [default: all]")
@click.option(
    "--margin", "margins", multiple=True, metavar="METRIC=VALUE|N%", help="How much worse it may be; several times."
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    help="Chance of any false alarm, at most.",
)
@click.option("--strict", is_flag=True, help="Say no also where a metric is inconclusive.")
@click.option(
    "--format",
    "form",
    type=click.Choice(("markdown", "json", "junit", "summary")),
    help="How it is written; default: by the ending of --output, or markdown.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Write it to this file, and not to standard output.")
@debug_option
def check(
    baseline: str,
    results: Path,
    models: tuple[str, ...],
    margins: tuple[str, ...],
    alpha: float,
    strict: bool,
    form: str | None,
    output: Path | None,
    debug: bool,
) -> None:
    """Say whether a model became worse than a baseline, and not merely noisy: exit code 1 where it did.

    A metric fails where it is worse by more than its margin beyond the noise, passes where the noise leaves no room for
    that, and is inconclusive otherwise. Only numbers under one contract are compared; what was not is listed.

    \b
      bench run model=vae seed=0,1,2 --results baseline      at the commit that is good
      bench run model=vae seed=0,1,2                         at the commit in question
      bench check --baseline baseline --margin bits_per_dim=0.01
    """  # noqa: D301
    from torchstone.harness.verdicts import check as check_named
    from torchstone.results.files import write_whole
    from torchstone.results.gate.written import headline
    from torchstone.results.text.numbers import readable

    if output is not None:
        check_output(output)
    chosen, asked = form_of(FORMS, form, output), _margins(margins)
    found = check_named(baseline, results=results, model=models, margins=asked, alpha=alpha)
    for problem in found.problems:
        click.echo(readable(problem), err=True)
    text = found.text(chosen, strict=strict)
    if output is None:
        print_result(text)
    else:
        write_whole(output, text.encode())
        click.echo(f"{headline(found, strict=strict)}; written to {output}.", err=True)
    sys.exit(SAYS_NO if found.says_no(strict=strict) else DONE)


def _margins(texts: Sequence[str]) -> dict[str, str]:
    """Margins by metric. Raises InputError where one has no value, or is given twice."""
    found: dict[str, str] = {}
    for text in texts:
        metric, equals, value = text.rpartition("=")
        if not (metric and equals):
            raise InputError(f"--margin {text}: write METRIC=VALUE, for example bits_per_dim=0.01 or sample_rate=10%.")
        if metric in found:
            raise InputError(f"--margin {text}: {metric} has the margin {found[metric]} already; give it one.")
        found[metric] = value
    return found
