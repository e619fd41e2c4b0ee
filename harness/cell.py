"""The unit of work, of failure and of resumption: one suite on one model, one dataset and one seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from torchstone.harness.request import steps_of
from torchstone.results.record import Environment, Record

if TYPE_CHECKING:
    from torchstone.models.model import Model

__all__ = ["Cell", "Outcome", "Plan", "Progress", "Settings", "display_name", "plain"]

Progress: TypeAlias = Callable[[str, int, int], None]
Settings: TypeAlias = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """Names and settings, all resolved; it can be sent to a worker.

    ``live`` is a model object handed over in Python, in place of a name; such a cell runs in this process only.
    ``alone`` asks for a process of its own that does nothing else, and for no other cell beside it.
    """

    suite: str
    suite_settings: Settings
    model: str
    model_settings: Settings
    data: str
    data_settings: Settings
    seed: int
    budget: str | int
    device: str
    batch_size: int
    checkpoint: Path | None
    results: Path
    fresh: bool = False
    live: Model | None = None
    alone: bool = False

    @property
    def label(self) -> str:
        """What it is called while it runs."""
        return f"{self.suite} · {self.model} · {self.data} · seed {self.seed}"

    def settings(self) -> dict[str, Any]:
        """Everything that was asked, as it goes into the record."""
        return {
            "suite": plain(self.suite_settings),
            "model": plain(self.model_settings),
            "data": plain(self.data_settings),
            "model_spec": self.model,
            "data_spec": self.data,
            "budget": self.budget,
            "steps": steps_of(self.budget),
            "device": self.device,
            "batch_size": self.batch_size,
            "checkpoint": None if self.checkpoint is None else str(self.checkpoint),
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """The record of a cell, whether it was found rather than computed, and warnings in words."""

    record: Record
    found: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells of a run, in the order in which they run, and the machine that they were planned on."""

    cells: tuple[Cell, ...]
    machine: Environment


def display_name(spec: str) -> str:
    """A spec without the folders of a path."""
    head, colon, tail = spec.partition(":")
    return f"{Path(head).name}{colon}{Path(tail).name}" if colon else spec


def plain(settings: Settings) -> dict[str, Any]:
    """Settings as JSON holds them."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in settings}
