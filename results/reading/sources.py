"""The records of one store that speak: the latest of each model, and what became of those that have no numbers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, final

from torchstone.results.reading.examples import Examples
from torchstone.results.reading.frame import frame
from torchstone.results.reading.groups import Group, asked, groups
from torchstone.results.reading.measurements import Measurement, current, measurements
from torchstone.results.store import Store, age

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Lost", "Source", "source"]


@final
@dataclass(frozen=True, slots=True)
class Lost:
    """A model whose latest record has no numbers, and the sentence that says why not."""

    suite: str
    dataset: str
    model: str
    status: str
    reason: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Suite, dataset and name, as in `Group.key`."""
        return self.suite, self.dataset, self.model


@final
@dataclass(frozen=True, slots=True)
class Source:
    """What one store has to say.

    Attributes:
        name: what it is called in sentences.
        groups: its models, with their latest numbers.
        lost: its models that have none.
        examples: the per-example values behind the numbers.
        problems: files that were passed over, in sentences.
        known: the names of all models in the store, those that were not asked for among them.
    """

    name: str
    groups: tuple[Group, ...]
    lost: tuple[Lost, ...]
    examples: Examples
    problems: tuple[str, ...]
    known: tuple[str, ...] = ()

    @property
    def keys(self) -> frozenset[tuple[str, str, str]]:
        """Suite, dataset and name of each of its models."""
        return frozenset([each.key for each in self.groups] + [each.key for each in self.lost])

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of its metrics."""
        return tuple(dict.fromkeys(name for each in self.groups for name in each.metrics))


def source(store: Store, name: str, *, records: Collection[str] | None = None, models: Collection[str] = ()) -> Source:
    """What ``store`` has to say of ``models``, or of all; where ``records`` are given, by those ids alone.

    A model whose latest record of some seed failed, or was skipped, counts as lost, whatever older ones say.

    Raises:
        RecordError: the folder cannot be read.
    """
    table = frame(store)
    problems, known = tuple(table.attrs["problems"]), tuple(sorted(set(table["model"])))
    if records is not None:
        table = table[table["record"].isin(list(records))]
    if models:
        table = table[table["model"].isin(list(models))]
    scores = current(table)
    found = measurements(scores)
    finished: dict[tuple[_Key, int], datetime] = {}
    for each in found:
        key = (_key(each), each.seed)
        finished[key] = max(age(each.started), finished.get(key, age(each.started)))
    lost = _lost(scores, finished)
    speaking = [each for each in found if _key(each) not in lost]
    return Source(name, tuple(groups(speaking)), tuple(lost.values()), Examples(store), problems, known)


_Key = tuple[str, str, str, str]


def _key(each: Measurement) -> _Key:
    return each.suite, each.dataset, each.model, asked(each.settings)


def _lost(scores: pd.DataFrame, finished: dict[tuple[_Key, int], datetime]) -> dict[_Key, Lost]:
    """By suite, dataset, model and settings, those whose latest record of some seed has no numbers."""
    without = scores[(scores["status"] != "completed") | scores["metric"].isna()]
    columns = ("suite", "dataset", "model", "settings", "seed", "started", "status", "reason")
    found: dict[_Key, Lost] = {}
    for suite, dataset, model, settings, seed, started, status, reason in zip(
        *(without[name].tolist() for name in columns), strict=True
    ):
        key = (suite, dataset, model, asked(settings))
        done = finished.get((key, seed))
        if done is None or done < age(started):
            found[key] = Lost(suite, dataset, model, status, reason or "no reason was given")
    return found
