"""What the commands of the command line share: options, exit codes, and printing."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from torchstone.harness.errors import InputError

__all__ = [
    "BAD_INPUT",
    "DONE",
    "INTERRUPTED",
    "SAYS_NO",
    "SOME_FAILED",
    "check_output",
    "check_results",
    "debug_option",
    "form_of",
    "format_option",
    "print_result",
    "results_option",
    "text_format_option",
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


def text_format_option(command: Command) -> Command:
    """``--format``: how what is no table of records is written."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(("markdown", "json")),
        default="markdown",
        show_default=True,
        help="How it is written.",
    )(command)


def debug_option(command: Command) -> Command:
    """``--debug``: show the traceback of an error."""
    return click.option("--debug", is_flag=True, help="Show the traceback of an error.")(command)


def form_of(forms: Mapping[str, str], form: str | None, output: Path | None) -> str:
    """The form that was asked for: by name, or else by the ending of ``output``, or else Markdown."""
    if form is not None or output is None:
        return form or "markdown"
    ending = output.suffix.lower()
    if ending not in forms:
        raise InputError(f"--output {output}: its ending is none of {', '.join(forms)}; give it one, or say --format.")
    return forms[ending]


def check_results(results: Path) -> None:
    """Raises InputError where ``results`` is no folder of records that could be read."""
    if results.exists() and not results.is_dir():
        raise InputError(f"--results {results}: this is a file; name the folder of the records.")
    if not results.is_dir():
        raise InputError(
            f"--results {results}: there is no such folder; run `bench run suite=density` first, or name another."
        )


def check_output(output: Path) -> None:
    """Raises InputError where ``output`` cannot be written: to be known before the work."""
    from torchstone.results.files import check_writable
    from torchstone.results.record import RecordError

    if output.is_dir():
        raise InputError(f"--output {output}: this is a folder; name a file in it.")
    if output.exists() and not output.is_file():
        raise InputError(f"--output {output}: this is no plain file; name one, or leave --output out and redirect.")
    if not output.parent.is_dir():
        raise InputError(f"--output {output}: there is no folder {output.parent}; make it, or name another.")
    try:
        check_writable(output.parent)
    except RecordError as error:
        raise InputError(f"--output {output}: {error}") from error


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
