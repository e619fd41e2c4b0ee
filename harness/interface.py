"""Torchstone from Python: the same run as on the command line, for names and for live model objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torchstone.harness.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from torchstone.harness.request import Request
    from torchstone.models.model import Model
    from torchstone.results.record import Record

__all__ = ["Results", "run"]


class Results(NamedTuple):
    """What a run gives: its records, and a table with one row for each of their scores."""

    records: tuple[Record, ...]
    frame: pd.DataFrame


def run(
    model: str | Model | Sequence[str | Model] = (),
    *,
    suite: str | Sequence[str] = "density",
    data: str | Sequence[str] = "digits",
    seed: int | Sequence[int] = 0,
    budget: str | int = "quick",
    device: str = "auto",
    executor: str = "inline",
    timeout: float = 3600.0,
    batch_size: int = 256,
    checkpoint: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    results: str | Path = "bench-results",
    fresh: bool = False,
    progress: bool = True,
) -> Results:
    """Measure models, as ``bench run`` does, and keep the records.

    Args:
        model: names as on the command line, or model objects, which are measured as they are and never fitted; nothing
            means the suite's default models.
        suite: names of suites.
        data: names of datasets.
        seed: of training, and of every stochastic question.
        budget: smoke, quick, standard, or optimiser steps, for models that are fitted.
        device: auto, cpu, cuda, or another device of torch.
        executor: inline, or process for an isolated worker (for names only, and in a script only below
            ``if __name__ == "__main__"``).
        timeout: seconds that a cell may take, where the executor is process.
        batch_size: examples per question, to begin with.
        checkpoint: safetensors file with the weights of the one model that is named.
        settings: such as ``{"suite.importance_samples": 5000, "model.latents": 8}``.
        results: folder of the store.
        fresh: compute again what the store has already. Model objects are always computed.
        progress: show on standard error what is going on.

    Returns:
        The records, failed and skipped ones included, and their table.

    Raises:
        InputError: for anything that cannot be done as asked.
        RecordError: where ``results`` cannot be written, or a record cannot be kept.
    """
    from torchstone.harness.request import request

    models = _several(model)
    live = [candidate for candidate in models if not isinstance(candidate, str)]
    if live and executor != "inline":
        raise InputError(
            f"executor={executor}: model objects cannot be sent to a worker; use executor='inline', or name the model."
        )
    names = {
        "suite": _several(suite),
        "model": tuple(candidate for candidate in models if isinstance(candidate, str)),
        "data": _several(data),
        "seed": _several(seed),
        "budget": budget,
        "device": device,
        "executor": executor,
        "timeout": timeout,
        "batch_size": batch_size,
        "checkpoint": checkpoint,
    }
    asked = request(names, _by_group(settings or {}))
    return _collect(asked, Path(results), executor, fresh, live, progress)


def _collect(
    asked: Request, results: Path, executor: str, fresh: bool, live: Sequence[Model], progress: bool
) -> Results:
    from torchstone.harness.display import Display
    from torchstone.harness.execution import executor as executor_of
    from torchstone.harness.runner import run as run_cells
    from torchstone.results.reading.frame import frame_of
    from torchstone.results.record import RecordError
    from torchstone.results.store import Store

    records = []
    with Display() if progress else nullcontext() as display:
        worker = executor_of(executor, display.stage if display else _silent)
        try:
            for finished in run_cells(
                asked, results, worker, fresh=fresh, live=live, begin=display.begin if display else _silent
            ):
                if finished.record is None:
                    raise RecordError(" ".join(finished.notes))
                records.append(finished.record)
                if display:
                    display.finished(finished)
        finally:
            worker.close()
    return Results(tuple(records), frame_of(records, Store(results)))


def _silent(what: str, done: int, total: int) -> None:
    """Show nothing."""


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _by_group(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    from torchstone.harness.request import FIELD_GROUPS

    fields: dict[str, dict[str, Any]] = {group: {} for group in FIELD_GROUPS}
    for key, value in settings.items():
        group, _, name = key.partition(".")
        if group not in fields or not name:
            raise InputError(f"settings[{key!r}]: name it suite.NAME, model.NAME or data.NAME.")
        fields[group][name] = value
    return fields
