"""``python -m torchstone.harness.publish``: make the published records and their tables, or what has changed of them.

It may be interrupted at any time: what is finished is kept, and the same command takes up the rest.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import NoReturn, TypeAlias, final

import click

import torchstone.results
from torchstone.harness.cell import Cell, Plan
from torchstone.harness.errors import InputError
from torchstone.harness.options import DONE, INTERRUPTED, SOME_FAILED
from torchstone.results.reading.grades import CERTIFICATE
from torchstone.results.record import Kind, Record, RecordError, Status
from torchstone.results.shipped import BEST, COMMAND, FOLDER, page, with_summary
from torchstone.results.store import Store, age

__all__ = ["ASKED", "Asked", "Published", "best", "machine_path", "main", "publish"]

Asked: TypeAlias = tuple[tuple[Mapping[str, str], Mapping[str, Mapping[str, str]]], ...]

# What is published, as typed on the command line: arguments, and settings by group. Patches are four times as many as
# digits, of three times as many dimensions and fifteen times as many levels: a bound of them has fewer draws.
DIGITS = {"suite": "density", "model": "all", "data": "digits", "seed": "0,1,2", "device": "cpu"}
ASKED: Asked = (
    (DIGITS, {}),
    (DIGITS | {"data": "patches"}, {"suite": {"importance_samples": "20"}}),
    (DIGITS | {"suite": CERTIFICATE}, {}),
)
STANDARD_SEED = "0"  # the spread over seeds is seen at quick, where a fit takes a tenth of the time
TIMEOUT = 6 * 3600.0  # seconds that a cell may take

# An absolute path of POSIX or of Windows, which tells of a machine and means nothing on another.
_PATH = re.compile(r"""(?<![\w./])/(?:[\w.-]+/)+[\w.-]*|\b[A-Za-z]:\\""")


@final
@dataclass(frozen=True, slots=True)
class Published:
    """A folder of published records, and what is to be done about it.

    Attributes:
        store: the records that are published.
        work: the folder where they are computed; it keeps fits, and records that are not published.
        asked: what is asked for, without the budget.
    """

    store: Store
    work: Path
    asked: Asked

    def quick(self) -> tuple[Cell, ...]:
        """Every cell at ``budget=quick``, with each of the seeds that are asked for."""
        return self._cells({"budget": "quick"})

    def standard(self, models: Collection[tuple[str, str]]) -> tuple[Cell, ...]:
        """The cells at ``budget=standard`` of the pairs of model and data that are given, with one seed."""
        cells = self._cells({"budget": "standard", "seed": STANDARD_SEED})
        return tuple(cell for cell in cells if (cell.model, cell.data) in models)

    def _cells(self, changes: Mapping[str, str]) -> tuple[Cell, ...]:
        from torchstone.harness.planning import plan
        from torchstone.harness.request import request

        found: list[Cell] = []
        for names, fields in self.asked:
            wanted = request({**names, **changes, "timeout": TIMEOUT}, fields)
            found += plan(wanted, self.work, False, (), lambda what, done, total: None).cells
        return tuple(found)

    def standing(self, cells: Iterable[Cell]) -> dict[Cell, Record]:
        """The published record of each cell that has one which still stands."""
        from torchstone.harness.standing import answers, stale

        records = sorted((each for each in self.store.records() if stale(each) is None), key=lambda e: age(e.started))
        return {cell: record for cell in cells for record in records if answers(record, cell)}

    def keep(self, record: Record) -> Record:
        """Publish ``record`` with its per-example values, and without pictures, which would be most of what ships.

        Raises:
            RecordError: it names a path of this machine, or was not made by the code that is here.
        """
        from torchstone.harness.standing import signed

        if found := machine_path(record):
            raise RecordError(f"{record.id}: it names {found!r}, a path of this machine, and cannot be published")
        return self.store.write(replace(signed(record), figures={}), Store(self.work).arrays(record))

    def remove(self, records: Iterable[Record]) -> int:
        """Delete records with what belongs to them; how many there were."""
        count = 0
        for record in records:
            for path in sorted(self.store.folder.glob(f"{record.id}.*"), key=lambda path: path.suffix != ".json"):
                path.unlink()
            count += 1
        return count


def machine_path(record: Record) -> str | None:
    """The first absolute path that ``record`` names anywhere; None where it names none."""
    found = _PATH.search(record.to_json())
    return found[0] if found else None


def best(records: Iterable[Record], count: int = BEST) -> list[tuple[str, str]]:
    """Model and data of the ``count`` best of each dataset, among exact numbers and among bounds.

    The lower the mean of the headline over the seeds the better. An exact number and a bound have no order between
    them, so each kind has its own best; a model that has no finite number is none of them. Certificates count nothing.
    """
    numbers: dict[tuple[str, bool], dict[str, list[float]]] = {}
    for record in records:
        if record.status is Status.COMPLETED and record.scores and record.suite != CERTIFICATE:
            headline, settings = record.scores[0], record.settings
            of_kind = numbers.setdefault((settings["data_spec"], headline.kind is Kind.EXACT), {})
            of_kind.setdefault(settings["model_spec"], []).append(
                -headline.value if headline.higher_is_better else headline.value
            )
    return [
        (model, data)
        for (data, _), models in sorted(numbers.items())
        for mean, model in sorted((fmean(values), model) for model, values in models.items())[:count]
        if mean < float("inf")
    ]


def publish(
    target: Published, make: Callable[[Sequence[Cell]], Iterator[Record | str]], say: Callable[[str], None]
) -> int:
    """Make what is missing or no longer stands, remove what is superseded; how many cells could not be made.

    Args:
        target: where.
        make: computes cells, giving for each its record, or why there is none.
        say: is told in sentences what goes on.
    """
    quick = target.quick()
    failed = _complete(target, quick, make, say)
    if failed:
        return failed
    chosen = best(target.standing(quick).values())
    standard = target.standard(chosen)
    say(f"At the standard budget: {', '.join(f'{model} on {data}' for model, data in chosen) or 'none'}.")
    failed = _complete(target, standard, make, say)
    if not failed:
        kept = {record.id for record in target.standing((*quick, *standard)).values()}
        removed = target.remove([record for record in target.store.records() if record.id not in kept])
        say(f"{len(kept)} records are published, {removed} superseded ones were removed.")
    return failed


def _complete(
    target: Published,
    cells: Sequence[Cell],
    make: Callable[[Sequence[Cell]], Iterator[Record | str]],
    say: Callable[[str], None],
) -> int:
    """Make and publish those of ``cells`` that have no record which stands; how many could not be."""
    standing = target.standing(cells)
    missing = [cell for cell in cells if cell not in standing]
    say(f"{len(cells)} cells, of which {len(missing)} are to be made.")
    failed = 0
    for made in make(missing):
        if isinstance(made, str):
            say(made)
            failed += 1
        else:
            target.keep(made)
    return failed


@click.command()
@click.option(
    "--fits",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep fits here between runs; default: a temporary folder.",
)
def command(fits: Path | None) -> None:
    """Make the published records and their tables anew, as far as something has changed."""
    folder = Path(torchstone.results.__path__[0])
    if not (folder.parent / "pyproject.toml").is_file():
        raise InputError(f"{folder}: published records are made in a checkout of Torchstone; this is an installation.")
    with nullcontext(fits) if fits is not None else tempfile.TemporaryDirectory() as work:
        sys.exit(_run(folder, Path(work)))


def _run(folder: Path, work: Path) -> int:
    from torchstone.harness.display import Display
    from torchstone.harness.environment import environment, resolve_device
    from torchstone.harness.execution import executor
    from torchstone.harness.runner import run_plan

    target = Published(Store(folder / FOLDER), work, ASKED)
    with Display() as display:
        worker = executor("process", display.stage)

        def make(cells: Sequence[Cell]) -> Iterator[Record | str]:
            planned = Plan(tuple(cells), environment(resolve_device(DIGITS["device"]), 256, 0))
            for cell in run_plan(planned, worker, timeout=TIMEOUT, begin=display.begin):
                display.finished(cell)
                usable = cell.record is not None and not cell.failed
                yield cell.record if usable and cell.record else f"{cell.label} could not be made."

        try:
            failed = publish(target, make, display.say)
        except KeyboardInterrupt:
            display.say(f"Interrupted; what was finished is kept, and {COMMAND} takes up the rest.")
            return INTERRUPTED
        finally:
            worker.close()
    (folder / "README.md").write_text(page(target.store), encoding="utf-8")
    readme = folder.parent / "README.md"
    readme.write_text(with_summary(readme.read_text(encoding="utf-8"), target.store), encoding="utf-8")
    return SOME_FAILED if failed else DONE


def main() -> NoReturn:
    """Run the command, and turn what goes wrong into a sentence and an exit code."""
    from torchstone.harness.cli import report_error

    try:
        command.main(prog_name=COMMAND, standalone_mode=False)
    except Exception as error:
        sys.exit(report_error(error))
    sys.exit(DONE)


if __name__ == "__main__":
    main()
