"""What the fixture ``torchstone`` offers to tests; see `torchstone.harness.pytest_plugin`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, final

import pytest

from torchstone.harness.errors import BenchError
from torchstone.harness.interface import run
from torchstone.harness.verdicts import PUBLISHED, check
from torchstone.results.record import Record, RecordError, Status

if TYPE_CHECKING:
    from torchstone.models.model import Model
    from torchstone.results.gate.findings import Gate

__all__ = ["InconclusiveWarning", "Torchstone"]

P = ParamSpec("P")
R = TypeVar("R")


class InconclusiveWarning(pytest.PytestWarning):
    """A metric could be neither cleared nor failed: the noise leaves room for more than its margin."""


@final
@dataclass(frozen=True, slots=True)
class Torchstone:
    """Measures models in a test, and holds them to a baseline.

    Attributes:
        results: the store of what is measured.
        baseline: the store that is compared with where a test names none.
        root: where relative baselines of tests begin: the root of the project. Paths of models begin, as everywhere, in
            the working folder.
        update: whether what is measured becomes the baseline, and nothing is judged.
        strict: whether what is inconclusive fails a test that does not say.
        updated: how many records were written into each baseline.
    """

    results: Path
    baseline: Path | None = None
    root: Path = Path()
    update: bool = False
    strict: bool = False
    updated: dict[str, int] = field(default_factory=dict)

    def check(
        self,
        model: str | Model,
        *,
        suite: str = "density",
        data: str | Sequence[str] = "digits",
        baseline: str | Path | None = None,
        margins: Mapping[str, float | str] | None = None,
        alpha: float = 0.01,
        strict: bool | None = None,
        seed: int | Sequence[int] = 0,
        budget: str | int = "quick",
        device: str = "auto",
        settings: Mapping[str, Any] | None = None,
        checkpoint: str | Path | None = None,
    ) -> Gate | None:
        """Measure ``model``, and fail the test, with the table of the gate, where it became worse than the baseline.

        What is inconclusive passes with an `InconclusiveWarning`, or fails where the check is strict. With
        ``--torchstone-update`` what is measured is written into the baseline, and nothing is judged.

        Args:
            model: an object, which is measured as it is; or a name, such as ``vae`` or ``models.py:build``, which is
                fitted as ``bench run`` does it.
            suite: what is measured.
            data: on which data.
            baseline: a store, or ``"published"``; default: that of the command line or the configuration.
            margins: by metric how much worse it may be, in its unit or as a percentage, such as ``"10%"``.
            alpha: the chance of any false alarm, at most.
            strict: whether what is inconclusive fails; default: that of the configuration.
            seed: of training, and of every stochastic question.
            budget: of models that are fitted.
            device: auto, cpu, cuda, or another device of torch.
            settings: such as ``{"suite.importance_samples": 5000}``.
            checkpoint: weights of a model that is named.

        Returns:
            The gate, or None where the baseline was updated.
        """
        from torchstone.models.model import ModelError

        __tracebackhide__ = True
        target, problem = self._baseline(baseline), ""
        try:
            measured = run(
                model,
                suite=suite,
                data=data,
                seed=seed,
                budget=budget,
                device=device,
                settings=settings,
                checkpoint=checkpoint,
                results=target if self.update else self.results,
                progress=False,
            )
            _require_numbers(measured.records)
            if self.update:
                self.updated[str(target)] = self.updated.get(str(target), 0) + len(measured.records)
                return None
            gate = check(target, results=self.results, records=measured.records, margins=margins, alpha=alpha)
        except (BenchError, ModelError, RecordError) as error:
            problem = str(error)
        if problem:
            _fail(problem)
        _judge(gate, self.strict if strict is None else strict)
        return gate

    def synchronised(self, function: Callable[P, R]) -> Callable[P, R]:
        """``function`` without gradients, and ended only when the devices have done what it asked of them.

        For timings with pytest-benchmark, which would otherwise stop its clock when the work of a GPU is queued:
        ``benchmark(torchstone.synchronised(model.log_prob), x)``.
        """
        import torch

        def wait() -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()

        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            with torch.inference_mode():
                result = function(*args, **kwargs)
                wait()
            return result

        wait()
        return timed

    def _baseline(self, named: str | Path | None) -> str | Path:
        __tracebackhide__ = True
        if named == PUBLISHED:
            if self.update:
                _fail("baseline 'published': it ships with Torchstone and is not written by tests; name a folder.")
            return PUBLISHED
        found = self.baseline if named is None else self.root / named
        if found is None:
            _fail(
                "No baseline: write torchstone.check(…, baseline=DIR), pytest --torchstone-baseline DIR, or "
                "torchstone_baseline = DIR in the configuration of pytest."
            )
        if not self.update and not found.is_dir():
            _fail(
                f"baseline {found}: there is no such folder; write it with pytest --torchstone-update at the commit to "
                "compare with."
            )
        return found


def _require_numbers(records: Sequence[Record]) -> None:
    """Fail the test where a cell has no numbers: a gate that judges nothing clears nothing."""
    __tracebackhide__ = True
    for record in records:
        if record.status is not Status.COMPLETED:
            what = f"{record.suite} of {record.model} on {record.dataset}, seed {record.seed}"
            _fail(f"{what}: {record.status.value}: {record.reason}")


def _judge(gate: Gate, strict: bool) -> None:
    __tracebackhide__ = True
    if gate.says_no(strict=strict):
        _fail(gate.text("markdown", strict=strict))
    if gate.inconclusive:
        warnings.warn(InconclusiveWarning(gate.text("markdown")), stacklevel=3)


def _fail(why: str) -> NoReturn:
    __tracebackhide__ = True
    pytest.fail(why, pytrace=False)
