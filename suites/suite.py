"""What a suite is: settings, a version, and two questions: does it apply, and what are the numbers?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from torchstone.models.model import Model
from torchstone.results.record import Flat, Score
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset

__all__ = ["Evaluation", "Suite"]


@dataclass(frozen=True)
class Evaluation:
    """What a suite found.

    Attributes:
        scores: the numbers; the first is the headline.
        contract: what they share with all that they may be compared to.
        ids: of the examples that were asked about.
        columns: values per example, in the order of ``ids``.
        warnings: in words.
        audits: verdicts, an entry each.
        figures: PNG files by name.
    """

    scores: tuple[Score, ...]
    contract: Flat
    ids: Tensor
    columns: Mapping[str, Tensor]
    warnings: tuple[str, ...] = ()
    audits: tuple[Mapping[str, Any], ...] = ()
    figures: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite(ABC):
    """A frozen dataclass whose fields are the suite's settings.

    Attributes:
        name: what it is called on the command line and in records.
        version: raised whenever a number that the suite prints would change.
        default_models: those run where none is named.
        metrics: the metrics that it can report, and what each is, in half a line.
        shown: the metrics, or columns, that a run prints; empty for all. Records hold all in any case.
        standard: settings that take another default at ``budget=standard``.
        model_settings: settings of models that take another default in this suite, where a model has them.
        about_labels: whether data without labels are none for it, whatever the model.
        fresh_process: whether each cell wants a process of its own, and the machine for itself.
        reusable: whether an earlier record of the same may answer in place of a new measurement.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    default_models: ClassVar[tuple[str, ...]]
    metrics: ClassVar[Mapping[str, str]]
    shown: ClassVar[tuple[str, ...]] = ()
    standard: ClassVar[Mapping[str, object]] = {}
    model_settings: ClassVar[Mapping[str, object]] = {}
    about_labels: ClassVar[bool] = False
    fresh_process: ClassVar[bool] = False
    reusable: ClassVar[bool] = True

    @abstractmethod
    def skip(self, model: Model, data: Dataset) -> str | None:
        """Why this pair is impossible, as a sentence; None where it is possible."""

    @abstractmethod
    def evaluate(self, model: Model, data: Dataset, context: Context) -> Evaluation:
        """The numbers of ``model`` on ``data``."""
