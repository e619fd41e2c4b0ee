"""What a run shows while it goes on, on standard error: a bar on a terminal, a line for each cell that ends."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from torchstone.harness.runner import Finished
from torchstone.results.record import Status

__all__ = ["Display"]


@final
class Display:
    """Shows progress; use it as a context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._cells = self._bars.add_task("preparing", total=None)
        self._stage = self._bars.add_task("", total=None, visible=False)
        self._name = ""
        self._lock = threading.Lock()

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, label: str, number: int, total: int) -> None:
        """A cell is the one waited for now."""
        with self._lock:
            self._bars.update(self._cells, description=f"cell {number + 1} of {total}", completed=number, total=total)
            self._bars.update(self._stage, description=label, completed=0, total=None, visible=True)
            self._name = label

    def stage(self, name: str, done: int, total: int) -> None:
        """Something within the cell has got so far."""
        with self._lock:
            self._bars.update(
                self._stage, description=f"{self._name} · {name}", completed=done, total=total, visible=True
            )

    def finished(self, cell: Finished) -> None:
        """A cell has ended: one line, and its notes."""
        self._print(f"{cell.label}: {_fate(cell)}")
        for note in cell.notes:
            self._print(f"  {note}")

    def say(self, sentence: str) -> None:
        """One more line."""
        self._print(sentence)

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False)


def _fate(cell: Finished) -> str:
    record = cell.record
    if record is None:
        return "failed, and not kept"
    if cell.found:
        return f"{record.status.value}, found in the store"
    reason = f": {record.reason}" if record.status is not Status.COMPLETED else ""
    return f"{record.status.value} in {record.seconds:.1f} s{reason}"
