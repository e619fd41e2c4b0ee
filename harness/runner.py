"""Running the cells of a plan, one after another, whatever becomes of each.

What needs torch is imported by the tasks themselves, in the worker, and not by the process that waits for them.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from torchstone.harness.cell import Cell, Outcome, Plan, Progress
from torchstone.harness.errors import BenchError, CellError, InputError, WorkerError
from torchstone.harness.execution import Executor, Pending
from torchstone.harness.request import Request
from torchstone.results.record import Environment, Record, RecordError, Status
from torchstone.results.store import Store

if TYPE_CHECKING:
    from torchstone.models.model import Model

__all__ = ["Finished", "fit", "run", "run_plan"]


def _silent(label: str, number: int, total: int) -> None:
    """Announce nothing."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A cell that has ended.

    Attributes:
        label: what it was called while it ran.
        record: what was kept of it; None where it could not be kept.
        found: whether an earlier record answered it.
        notes: warnings, and why it could not be kept, in sentences.
    """

    label: str
    record: Record | None
    found: bool = False
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether it has no result to show."""
        return self.record is None or self.record.status is Status.FAILED


def run(
    request: Request,
    results: Path,
    executor: Executor,
    *,
    fresh: bool = False,
    live: Sequence[Model] = (),
    begin: Callable[[str, int, int], None] = _silent,
) -> Iterator[Finished]:
    """Plan ``request`` and run its cells with ``executor``, yielding each as it ends.

    Args:
        request: what was asked for.
        results: the folder of the store.
        executor: where the work is done; the caller closes it.
        fresh: compute again what the store has already.
        live: model objects to run beside the models that are named; only in this process.
        begin: called with the label of a cell, its number and how many there are, before it is waited for.

    Raises:
        InputError: for anything that cannot be done as typed, before the first cell.
        RecordError: where ``results`` cannot be written, before the first cell.
    """
    Store(results).check_writable()
    planned = executor.submit(_plan, request, results, fresh, live, timeout=request.timeout).result()
    yield from run_plan(planned, executor, timeout=request.timeout, begin=begin)


def run_plan(
    planned: Plan, executor: Executor, *, timeout: float, begin: Callable[[str, int, int], None] = _silent
) -> Iterator[Finished]:
    """Run the cells of a plan with ``executor``, yielding each as it ends; each may take ``timeout`` seconds."""
    for number, (cell, waiting) in enumerate(_submitted(planned.cells, executor, timeout)):
        begin(cell.label, number, len(planned.cells))
        started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
        try:
            outcome = waiting.result()
            yield Finished(cell.label, outcome.record, outcome.found, outcome.warnings)
        except RecordError as error:
            yield Finished(cell.label, None, notes=(str(error),))
        except WorkerError as error:
            yield _lost(cell, error, planned.machine, started, time.perf_counter() - clock)


def _submitted(cells: Sequence[Cell], executor: Executor, timeout: float) -> Iterator[tuple[Cell, Pending]]:
    """The cells with what will be their outcomes, in order: all at once, but for those that want to be alone.

    What such a cell has to fit is fitted before, by the common worker, and nothing follows it until it is done.
    """
    for alone, group in itertools.groupby(cells, lambda cell: cell.alone and executor.isolates):
        if not alone:
            together = [replace(cell, alone=False) for cell in group]
            yield from [(cell, executor.submit(_run_cell, cell, timeout=timeout)) for cell in together]
            continue
        for cell in group:
            with contextlib.suppress(WorkerError):  # the cell itself will say what is wrong
                executor.submit(_ready_cell, cell, timeout=timeout).result()
            yield cell, executor.submit_alone(_run_cell, cell, timeout=timeout)


def fit(
    request: Request, results: Path, executor: Executor, *, output: Path | None, begin: Callable[[str, int, int], None]
) -> Iterator[str | BenchError]:
    """Fit the models of ``request`` and keep their weights, yielding a sentence for each, or what went wrong with it.

    Raises:
        InputError: for anything that cannot be done as typed, and for a single model that cannot be fitted.
        RecordError: where ``results`` cannot be written.
    """
    Store(results).check_writable()
    planned = executor.submit(_plan, request, results, False, (), timeout=request.timeout).result()
    if output is not None and len(planned.cells) != 1:
        raise InputError(
            f"--output {output}: one file holds one model and {len(planned.cells)} are to be fitted; name one."
        )
    pending = [(cell, executor.submit(_fit_cell, cell, output, timeout=request.timeout)) for cell in planned.cells]
    for number, (cell, waiting) in enumerate(pending):
        begin(cell.label, number, len(pending))
        try:
            yield waiting.result()
        except WorkerError as error:
            yield WorkerError(f"{cell.label}: {error}")
        except (CellError, InputError) as error:
            if isinstance(error, InputError) and len(pending) == 1:
                raise
            yield error


def _lost(cell: Cell, error: WorkerError, machine: Environment, started: str, seconds: float) -> Finished:
    """The end of a cell whose worker was lost: a failed record, written from here."""
    from torchstone.harness.work import failed

    record = failed(cell, str(error), machine, started, seconds)
    try:
        return Finished(cell.label, Store(cell.results).write(record))
    except RecordError as problem:
        return Finished(cell.label, None, notes=(str(error), str(problem)))


def _plan(request: Request, results: Path, fresh: bool, live: Sequence[Model], progress: Progress) -> Plan:
    from torchstone.harness.planning import plan

    return plan(request, results, fresh, live, progress)


def _run_cell(cell: Cell, progress: Progress) -> Outcome:
    from torchstone.harness.work import run_cell

    return run_cell(cell, progress)


def _ready_cell(cell: Cell, progress: Progress) -> None:
    from torchstone.harness.work import ready_cell

    ready_cell(cell, progress)


def _fit_cell(cell: Cell, output: Path | None, progress: Progress) -> str:
    from torchstone.harness.work import fit_cell

    return fit_cell(cell, output, progress)
