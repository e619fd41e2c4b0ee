"""The command line ``bench``.

Exit codes, of every command: 0 done, skips with reasons included; 1 a check says no; 2 bad input, one sentence; 3 some
cells failed, the others are written; 130 interrupted, what was finished is kept. Results go to standard output,
progress and messages to standard error. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import io
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from torchstone.harness.commands.check import check
from torchstone.harness.commands.compare import compare
from torchstone.harness.commands.doctor import doctor
from torchstone.harness.commands.leaderboard import leaderboard
from torchstone.harness.commands.list import list_
from torchstone.harness.commands.report import report
from torchstone.harness.commands.show import show
from torchstone.harness.errors import BenchError, InputError, nearest
from torchstone.harness.options import (
    BAD_INPUT,
    DONE,
    INTERRUPTED,
    SAYS_NO,
    SOME_FAILED,
    debug_option,
    form_of,
    format_option,
    print_result,
    results_option,
)

if TYPE_CHECKING:
    from torchstone.harness.request import Request
    from torchstone.results.record import Record

__all__ = ["main", "report_error"]


class _Commands(click.Group):
    """A group that offers the nearest command to a misspelt one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise InputError(
                f"There is no command {args[0]!r}; {nearest(args[0], self.commands)} `bench --help` shows them all."
            )
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.version_option(package_name="torchstone", prog_name="torchstone")
def bench() -> None:
    """Torchstone, the touchstone for generative models: numbers that mean what they say.

    Arguments of run, fit and audit are key=value, with a comma between several values, for example

    \b
      bench run suite=density
      bench run suite=density data=patches model=pixelcnn,transformer seed=0,1,2
      bench run suite=density model=my_model.py:build suite.importance_samples=5000
    """  # noqa: D301


@bench.command(short_help="Measure models on data, and print the table.")
@click.argument("arguments", nargs=-1, metavar="[key=value]...")
@results_option
@format_option
@click.option("--fresh", is_flag=True, help="Compute again what the store has already.")
@click.option("--from", "source", type=click.Path(path_type=Path), help="Repeat what a record says was done.")
@debug_option
def run(arguments: tuple[str, ...], results: Path, form: str, fresh: bool, source: Path | None, debug: bool) -> None:
    """Measure models on data: every cell of suite, model, data and seed.

    \b
    suite=density        what is measured
    model=NAME,...       registered name, package.module:factory or file.py:factory;
                         all: every built-in one; default: the suite's own list
    data=digits          registered name, folder:PATH, npz:PATH or text:PATH
    budget=quick         smoke, quick, standard, or optimiser steps
    seed=0               of training and of every draw
    device=auto          auto, cpu, cuda
    executor=process     process (isolated worker) or inline
    timeout=3600         seconds that a cell may take
    batch_size=256       examples per question, to begin with
    checkpoint=FILE      weights of the model, safetensors
    suite.X= model.X= data.X=   settings; `bench list` shows them
    """  # noqa: D301
    asked = _request(arguments, source)
    sys.exit(_run(asked, results, form, fresh or source is not None))


@bench.command(short_help="Fit models, and keep their weights.")
@click.argument("arguments", nargs=-1, metavar="[key=value]...")
@results_option
@click.option("--output", type=click.Path(path_type=Path), help="Also save the weights here, as safetensors.")
@debug_option
def fit(arguments: tuple[str, ...], results: Path, output: Path | None, debug: bool) -> None:
    """Fit models, and keep their weights, for runs to come and, with --output, in a file.

    \b
    model=NAME,...       registered name, package.module:factory or file.py:factory
    data=digits          registered name, folder:PATH, npz:PATH or text:PATH
    budget=quick         smoke, quick, standard, or optimiser steps
    seed=0               of training
    device=auto          auto, cpu, cuda
    timeout=3600         seconds that a fit may take
    model.X= data.X=     settings; `bench list` shows them

    The exit code is 3 where some could not be fitted; the others are kept.
    """  # noqa: D301
    from torchstone.harness.request import parse

    asked = parse(arguments)
    if not asked.model:
        raise InputError("model= is missing; type for example bench fit model=vae data=digits.")
    if asked.checkpoint is not None:
        raise InputError(f"checkpoint={asked.checkpoint}: fit begins from scratch; leave it out, or use it with run.")
    sys.exit(_fit(asked, results, output))


@bench.command(short_help="Test what a model claims, and certify it.")
@click.argument("arguments", nargs=-1, metavar="[key=value]...")
@results_option
@click.option(
    "--format",
    "form",
    type=click.Choice(("markdown", "html", "json")),
    help="How the certificate is written; default: by the ending of --output, or markdown.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Write it to this file, and not to standard output.")
@click.option("--fresh", is_flag=True, help="Audit again what the store has already.")
@debug_option
def audit(
    arguments: tuple[str, ...], results: Path, form: str | None, output: Path | None, fresh: bool, debug: bool
) -> None:
    """Test what a model claims, and certify it: model=transformer data=digits.

    The arguments are those of run, without suite. The certificate is also kept, with its pictures, as a web page in the
    folder certificates of the records. The exit code is 1 where an audit was failed, and else 3 where a cell failed and
    has no certificate.
    """
    from torchstone.harness.certify import FORMS, asked_of

    sys.exit(_audit(asked_of(arguments), results, form_of(FORMS, form, output), output, fresh))


for _command in (check, compare, doctor, leaderboard, list_, report, show):
    bench.add_command(_command)


def main() -> NoReturn:
    """Run the command line, and turn what goes wrong into a sentence and an exit code."""
    arguments = sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what a scheduler sends is an interrupt too
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has no ≤ shows its code
    try:
        bench.main(args=arguments or ["--help"], prog_name="bench", standalone_mode=False)
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        sys.exit(report_error(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(DONE)


def report_error(error: Exception) -> int:
    """Say what went wrong, in a sentence on standard error; the exit code."""
    from torchstone.results.record import RecordError
    from torchstone.results.text.numbers import readable

    match error:
        case click.Abort():
            return INTERRUPTED
        case click.ClickException():
            said = error.format_message()
            if isinstance(error, click.UsageError) and error.ctx is not None:
                said += f" `{error.ctx.command_path} --help` shows what it takes."
        case BenchError() | RecordError():
            said = str(error)
        case OSError() if error.strerror:
            place = error.filename or "the output"
            said = f"{place} cannot be read or written: {error.strerror}. Name another, or make room."
        case _:
            said = f"{type(error).__name__}: {error}. This is a mistake of Torchstone's own; --debug shows where."
    click.echo(f"bench: {readable(said)}", err=True)
    return BAD_INPUT


def _request(arguments: Sequence[str], source: Path | None) -> Request:
    from torchstone.harness.request import parse, request_of
    from torchstone.results.store import Store

    if source is None:
        return parse(arguments)
    if arguments:
        raise InputError(f"--from {source}: a record says all that there is to say; leave out {' '.join(arguments)}.")
    return request_of(Store(source.parent).read(source))


def _run(asked: Request, results: Path, form: str, fresh: bool) -> int:
    records, code = _cells(asked, results, fresh)
    _print_table(asked, records, results, form)
    return code


def _audit(asked: Request, results: Path, form: str, output: Path | None, fresh: bool) -> int:
    from torchstone.harness.certify import Certificates, check_target, several
    from torchstone.results.files import write_whole

    check_target(asked, form, output)
    records, code = _cells(asked, results, fresh)
    certificates = Certificates(records, results)
    text = certificates.text(form, together=several(asked))
    if output is None and text:
        print_result(text)
    elif output is not None and text:
        if len(certificates.records) > 1:
            raise InputError(f"--output {output}: one file holds one certificate, and there are several.")
        write_whole(output, text.encode())
    for path in certificates.keep():
        click.echo(f"The certificate with its pictures is in {path}.", err=True)
    return code


def _cells(asked: Request, results: Path, fresh: bool) -> tuple[list[Record], int]:
    """The records of what was asked, as far as it got, and the exit code that they make."""
    from torchstone.harness.display import Display
    from torchstone.harness.execution import executor
    from torchstone.harness.runner import Finished
    from torchstone.harness.runner import run as run_cells

    finished: list[Finished] = []
    code = DONE
    with Display() as display:
        worker = executor(asked.executor, display.stage)
        try:
            for cell in run_cells(asked, results, worker, fresh=fresh, begin=display.begin):
                finished.append(cell)
                display.finished(cell)
        except KeyboardInterrupt:
            display.say(
                f"Interrupted; {len(finished)} finished cells are kept in {results}, and the same command "
                "takes up the rest."
            )
            code = INTERRUPTED
        finally:
            worker.close()
    records = [cell.record for cell in finished if cell.record is not None]
    if code == DONE and any(audit.get("verdict") == "fail" for record in records for audit in record.audits):
        code = SAYS_NO
    if code == DONE and any(cell.failed for cell in finished):
        code = SOME_FAILED
    return records, code


def _print_table(asked: Request, records: Sequence[Record], results: Path, form: str) -> None:
    """The table of what was run; as Markdown, for a person, without the columns that its suites do not show."""
    from torchstone.harness.loading import shown_columns
    from torchstone.results.reading.frame import frame_of
    from torchstone.results.store import Store
    from torchstone.results.tables.render import render
    from torchstone.results.tables.selecting import as_shown
    from torchstone.results.tables.table import table

    if records:
        made = table(frame_of(records, Store(results)))
        print_result(render(as_shown(made, shown_columns(asked.suite)) if form == "markdown" else made, form))


def _fit(asked: Request, results: Path, output: Path | None) -> int:
    from torchstone.harness.display import Display
    from torchstone.harness.execution import executor
    from torchstone.harness.runner import fit as fit_cells

    with Display() as display:
        worker = executor(asked.executor, display.stage)
        code = DONE
        try:
            for made in fit_cells(asked, results, worker, output=output, begin=display.begin):
                if isinstance(made, BenchError):
                    display.say(str(made))
                    code = SOME_FAILED
                else:
                    print_result(made)
        except KeyboardInterrupt:
            display.say("Interrupted; the weights that were fitted are kept, and the same command takes up the rest.")
            return INTERRUPTED
        finally:
            worker.close()
    return code
