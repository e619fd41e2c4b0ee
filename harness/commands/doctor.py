"""``bench doctor``: whether this installation computes what it should."""

from __future__ import annotations

import sys

import click

from torchstone.harness.options import DONE, SAYS_NO, debug_option, print_result

__all__ = ["doctor"]


@click.command()
@debug_option
def doctor(debug: bool) -> None:
    """Versions, device, and a self-test against known answers."""
    from torchstone.harness.doctor import examine

    findings = examine()
    for line in findings.lines:
        print_result(line)
    sys.exit(DONE if findings.healthy else SAYS_NO)
