"""What the commands of the command line share: options, exit codes, and printing."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = [
    "BAD_INPUT",
    "DONE",
    "INTERRUPTED",
    "SAYS_NO",
    "SOME_FAILED",
    "debug_option",
    "format_option",
    "print_result",
    "results_option",
    "uncollected",
]

DONE, SAYS_NO, BAD_INPUT, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130

FORMATS = ("markdown", "html", "csv", "latex", "json")

Command = TypeVar("Command", bound=Callable[..., Any])


def results_option(command: Command) -> Command:
    """``--results``: the folder of the records."""
    return click.option(
        "--results",
        type=click.Path(path_type=Path),
        default=Path("bench-results"),
        show_default=True,
        help="Folder of the records.",
    )(command)


def format_option(command: Command) -> Command:
    """``--format``: how a table is written."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        default="markdown",
        show_default=True,
        help="How the table is written.",
    )(command)


def debug_option(command: Command) -> Command:
    """``--debug``: show the traceback of an error."""
    return click.option("--debug", is_flag=True, help="Show the traceback of an error.")(command)


def print_result(text: str) -> None:
    """Print a result on standard output; a reader that has gone away, as ``head`` does, is no failure."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for cycles meanwhile: reading records makes millions of objects and none, and would wait for it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
