"""From credits of examples to scores, each with its interval."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from torchstone.results.record import Flat, Kind, Scalar, Score
from torchstone.suites.metrics.bootstrap import crossed_bootstrap
from torchstone.suites.metrics.classification import wilson_error
from torchstone.suites.metrics.uncertainty import Z95, paired_difference

__all__ = ["Sheet"]


@final
class Sheet:
    """Scores, per-example columns and notes as they come in, the headline first."""

    def __init__(self, rng: torch.Generator) -> None:
        self.scores: list[Score] = []
        self.columns: dict[str, Tensor] = {}
        self.notes: list[str] = []
        self._rng = rng

    def note(self, sentence: str) -> None:
        """Keep a warning, or why something was not measured."""
        self.notes.append(sentence)

    def accuracy(
        self, metric: str, credits: Tensor, parameters: Flat | None = None, *, kind: Kind = Kind.EXACT,
        column: bool = True,
    ) -> None:  # fmt: skip
        """The mean of ``credits``, ``(N,)``, with Wilson's interval."""
        n, share = len(credits), float(credits.double().mean())
        error, interval = wilson_error(share, n)
        self.scores.append(Score(metric, share, "accuracy", kind, True, error, interval, n, parameters or {}))
        if column:
            self.columns[_named(metric, parameters)] = credits.double()

    def gain(
        self, metric: str, credits: Tensor, controls: Tensor, parameters: Flat | None = None, *, column: bool = True
    ) -> None:
        """The mean difference of credits ``(N,)`` from those of each control, ``(I, N)``, on the same examples.

        Its error is that of other examples, and of other controls where there are several.
        """
        found = paired_difference(credits, controls.mean(0))
        error = _with_spread(found.stderr, controls.mean(1))
        self.number(metric, found.value, "accuracy", stderr=error, n=found.n, parameters=parameters, kind=Kind.ESTIMATE)
        if column:
            self.columns[_named(metric, parameters)] = credits.double() - controls.double().mean(0)

    def drawn(
        self, metric: str, credits: Tensor, parameters: Flat, *, controls: Tensor | None = None, column: bool = True
    ) -> None:
        """The mean of ``credits``, ``(R, N)``, over R draws of labels and N test examples, or its gain over controls.

        Its error is that of other draws, other test examples and other controls; beside it stands the spread over the
        draws alone. Controls, ``(I, R, N)``, are of the same draws.
        """
        values = credits.double() if controls is None else credits.double() - controls.double().mean(0)
        found, each = crossed_bootstrap(values, self._rng), values.mean(1)
        error = found.stderr if controls is None else _with_spread(found.stderr, controls.mean((1, 2)))
        told: dict[str, Scalar] = dict(parameters)
        if len(each) > 1:
            told["draw_sd"] = float(each.std(correction=1))
        self.number(
            metric, found.value, "accuracy", stderr=error, n=found.n, parameters=told, kind=Kind.ESTIMATE,
            contract={"draws": len(each)},
        )  # fmt: skip
        if column:
            self.columns[_named(metric, told)] = values.mean(0)

    def number(
        self, metric: str, value: float, unit: str, *, up: bool = True, stderr: float | None = None,
        n: int | None = None, parameters: Flat | None = None, kind: Kind = Kind.EXACT, contract: Flat | None = None,
    ) -> None:  # fmt: skip
        """A number with a normal interval where it has an error."""
        ends = None if stderr is None else (value - Z95 * stderr, value + Z95 * stderr)
        self.scores.append(Score(metric, value, unit, kind, up, stderr, ends, n, parameters or {}, contract or {}))


def _with_spread(stderr: float | None, means: Tensor) -> float | None:
    """The error with that of a mean over controls added, whose spread is seen in ``means``, one of each."""
    if stderr is None or len(means) < 2:
        return stderr
    return math.sqrt(stderr**2 + float(means.double().var(correction=1)) / len(means))


def _named(metric: str, parameters: Flat | None) -> str:
    """The name of a column: that of the metric, and the choice that sets it apart from others of that metric."""
    own = [str(value) for key, value in (parameters or {}).items() if key in ("labels", "neighbours")]
    return "_".join([metric, *own])
