"""The same questions, put to a copy of the model in a process of its own.

What a process has of its own, the seed of its hashes and where its objects lie, must not reach an answer. The copy
travels through a file; whether it survives that is found out here before anything is said of it there.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from torchstone.models.model import Model, Sampler
from torchstone.suites.audits.arithmetic import ROUNDING, SHRINKS, computing_in, gap
from torchstone.suites.audits.rows import Rows, asked, own_rows, steady
from torchstone.suites.audits.subject import Subject

__all__ = ["Answers", "Comparison", "Task", "answered", "compared"]

SECONDS = 120
HASHES = ("271828", "314159")
ODD = 1e-6  # relative, where it cannot be asked in double precision
TASK, ANSWERS = "task.pt", "answers.pt"


@final
@dataclass(frozen=True, slots=True)
class Task:
    """What is to be asked.

    Attributes:
        model: in evaluation mode.
        rows: examples as the model takes them; none of a model that is asked for samples alone.
        bound: the seed of a bound that draws nothing; None where there is no such bound.
        labels: of the samples, where the model takes labels.
        samples: how many are drawn of a model that draws any.
        seed: of the samples.
        threads: as many as are used here.
    """

    model: Model
    rows: Rows
    bound: int | None
    labels: Tensor | None
    samples: int
    seed: int
    threads: int


@final
@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered.

    Attributes:
        own: ``(N, Q)``, in the model's own arithmetic.
        double: the same in double precision; None where that could not be had, or was not wholly used.
        samples: None of a model that draws none.
    """

    own: Tensor
    double: Tensor | None
    samples: Tensor | None


@final
@dataclass(frozen=True, slots=True)
class Comparison:
    """How far the answers of two processes are apart.

    Attributes:
        apart: the greatest difference, relative to ``1 + |value|``.
        real: whether it is no rounding, but stays in double precision, and a third process gives yet other answers.
            What fit leaves in a class or a module comes along with no copy, and sets this process alone apart.
        odd: whether it may be no rounding.
        samples: those of the second process and of this one; None of a model that draws none.
    """

    apart: float
    real: bool
    odd: bool
    samples: tuple[Tensor, Tensor] | None


def compared(subject: Subject, rows: Rows, labels: Tensor | None, samples: int) -> Comparison | str:
    """Answers about ``rows``, and ``samples`` samples, of this process and of a second one, whose hashes are others.

    A sentence where they cannot be compared: no copy of the model can be kept in a file, it answers otherwise than the
    model in this very process, or the second process cannot answer.
    """
    bound, rng = steady(subject), subject.context.rng("audit/second process")
    task = Task(
        model=subject.model,
        rows=own_rows(subject, rows),
        bound=None if bound is None else bound.initial_seed(),
        labels=labels,
        samples=samples,
        seed=rng.initial_seed(),
        threads=torch.get_num_threads(),
    )
    stream = io.BytesIO()
    try:
        torch.save(task, stream)
        stream.seek(0)
        here = answered(torch.load(stream, weights_only=False))
    except Exception as error:
        return f"no copy of it can be kept in a file ({type(error).__name__})"
    if _apart(here.own, asked(task.model, task.rows, _generator(task))) > 0:
        return "a copy of it answers otherwise in this very process"
    there = _elsewhere(stream.getvalue(), HASHES[0])
    if isinstance(there, str):
        return there
    found = _comparison(there, here)
    if not found.real:
        return found
    again = _elsewhere(stream.getvalue(), HASHES[1])
    return replace(found, real=not isinstance(again, str) and _comparison(again, there).real)


def _comparison(there: Answers, here: Answers) -> Comparison:
    apart, exact = _apart(there.own, here.own), math.nan
    if here.double is not None and there.double is not None:
        exact = _apart(there.double, here.double)
    real = exact > max(ROUNDING, SHRINKS * apart)
    samples = None if there.samples is None or here.samples is None else (there.samples, here.samples)
    return Comparison(apart, real, real or (math.isnan(exact) and apart > ODD), samples)


def _apart(a: Tensor, b: Tensor) -> float:
    return float(gap(a, b).max()) if a.numel() else 0.0


def answered(task: Task) -> Answers:
    """Ask in this process."""
    own, double = asked(task.model, task.rows, _generator(task)), None
    with contextlib.suppress(Exception), computing_in(task.model, torch.float64) as arithmetic:
        exact = asked(task.model, task.rows, _generator(task))
        double = exact if arithmetic.pure else None
    return Answers(own, double, _samples(task))


def _generator(task: Task) -> torch.Generator | None:
    return None if task.bound is None else torch.Generator(task.rows.x.device).manual_seed(task.bound)


def _samples(task: Task) -> Tensor | None:
    if not isinstance(task.model, Sampler):
        return None
    rng = torch.Generator(task.rows.x.device).manual_seed(task.seed)
    with torch.no_grad():
        return task.model.sample(task.samples, task.labels, rng=rng).detach().cpu()


def _elsewhere(task: bytes, hashes: str) -> Answers | str:
    """What another process answers, whose hashes have that seed; a sentence where it does not."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / TASK).write_bytes(task)
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__, folder],
                env={**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"the second process did not answer within {SECONDS} seconds"
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:120]
            return f"the second process could not answer ({last or 'it said nothing'})"
        found: Answers = torch.load(Path(folder) / ANSWERS, weights_only=False)
        return found


def main(folder: Path) -> None:
    """Answer the task that lies in ``folder``."""
    task: Task = torch.load(folder / TASK, weights_only=False)
    torch.set_num_threads(task.threads)
    torch.save(answered(task), folder / ANSWERS)


if __name__ == "__main__":
    from torchstone.suites.audits import second_process  # what is kept in files is of the module of that name

    second_process.main(Path(sys.argv[1]))
