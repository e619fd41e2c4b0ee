"""From credits of examples to scores, each with its interval."""

from __future__ import annotations

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
        self, metric: str, credits: Tensor, control: Tensor, parameters: Flat | None = None, *, column: bool = True
    ) -> None:  # fmt: skip
        """The mean difference of credits on the same examples, ``(N,)``; those of a control may be means."""
        found = paired_difference(credits, control)
        self.scores.append(
            Score(
                metric,
                found.value,
                "accuracy",
                Kind.ESTIMATE,
                True,
                found.stderr,
                found.ci95,
                found.n,
                parameters or {},
            )
        )
        if column:
            self.columns[_named(metric, parameters)] = credits.double() - control.double()

    def drawn(self, metric: str, credits: Tensor, parameters: Flat, *, column: bool = True) -> None:
        """The mean of ``credits`` or of their differences, ``(R, N)``, over R draws of labels and N test examples.

        Its interval is that of other draws and other test examples; beside it stands the spread over the draws alone.
        """
        found = crossed_bootstrap(credits.double(), self._rng)
        each = credits.double().mean(1)
        told: dict[str, Scalar] = dict(parameters)
        if len(each) > 1:
            told["draw_sd"] = float(each.std(correction=1))
        self.scores.append(
            Score(
                metric, found.value, "accuracy", Kind.ESTIMATE, True, found.stderr, found.ci95, credits.shape[1], told,
                {"draws": len(each)},
            )
        )  # fmt: skip
        if column:
            self.columns[_named(metric, told)] = credits.double().mean(0)

    def number(
        self, metric: str, value: float, unit: str, *, up: bool = True, stderr: float | None = None,
        n: int | None = None, parameters: Flat | None = None, kind: Kind = Kind.EXACT,
    ) -> None:  # fmt: skip
        """A number that is no mean of credits, with a normal interval where it has an error."""
        ends = None if stderr is None else (value - Z95 * stderr, value + Z95 * stderr)
        self.scores.append(Score(metric, value, unit, kind, up, stderr, ends, n, parameters or {}))


def _named(metric: str, parameters: Flat | None) -> str:
    """The name of a column: that of the metric, and the choice that sets it apart from others of that metric."""
    own = [str(value) for key, value in (parameters or {}).items() if key in ("labels", "neighbours")]
    return "_".join([metric, *own])
