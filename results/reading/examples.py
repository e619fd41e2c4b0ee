"""The per-example values behind a score, read only where they are asked for."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple, final

from torchstone.results.reading.groups import Group
from torchstone.results.reading.measurements import Measurement, Value
from torchstone.results.record import Record, RecordError
from torchstone.results.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    Column = np.ndarray[Any, Any]

__all__ = ["Examples", "Sample"]

# Metrics that are another one's per-example values in another unit: bits or nats for each of the dimensions.
_BITS = frozenset({"bits_per_dim", "bits_per_byte", "excess_bits_per_dim"})
_NATS = frozenset({"excess_nats_per_dim"})


class Sample(NamedTuple):
    """Example ids, ascending, and the value of each in the unit of the score, averaged over seeds."""

    ids: Column
    values: Column


@final
class Examples:
    """The records of one store and their per-example values, each read once.

    Args:
        store: where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records: dict[str, Record | None] = {}
        self._columns: dict[str, Mapping[str, Column] | str] = {}

    def record(self, id: str) -> Record | None:
        """The record with that id; None where its file is not called so or is no longer there."""
        if id not in self._records:
            try:
                found = self._store.read(self._store.folder / f"{id}.json")
            except RecordError:
                found = None
            self._records[id] = found if found is not None and found.id == id else None
        return self._records[id]

    def sample(self, group: Group, metric: str) -> Sample | str:
        """The values of ``metric``, averaged over the seeds; or why there are none, in a sentence."""
        import numpy as np

        samples = []
        for each in group.members:
            found = self._of(each, metric, each.values[metric])
            if isinstance(found, str):
                return found
            samples.append(found)
        if any(not np.array_equal(samples[0].ids, other.ids) for other in samples[1:]):
            return f"The seeds of {group.model} were measured on different examples."
        with np.errstate(invalid="ignore"):  # infinities of both signs are not a number, and count as not finite
            return Sample(samples[0].ids, np.mean([each.values for each in samples], axis=0))

    def _of(self, each: Measurement, metric: str, value: Value) -> Sample | str:
        """The values of one record; a value that was not asked for is left out, one that is not finite never."""
        import numpy as np

        columns = self._read(each.record)
        if isinstance(columns, str):
            return columns
        name, factor = _column(metric, value, columns)
        if name is None or "id" not in columns:
            return f"Record {each.record[:12]} keeps no per-example values of {metric}."
        ids, values = columns["id"], columns[name] * factor
        if value.n is not None and value.n != len(values):
            there = ~np.isnan(values)
            if there.sum() != value.n:
                return f"Record {each.record[:12]} does not say which {value.n:g} examples {metric} was measured on."
            ids, values = ids[there], values[there]
        if len(np.unique(ids)) < len(ids):
            return f"Record {each.record[:12]} has several values of {metric} for one example."
        order = np.argsort(ids, kind="stable")
        return Sample(ids[order], values[order])

    def _read(self, id: str) -> Mapping[str, Column] | str:
        if id not in self._columns:
            self._columns[id] = self._load(id)
        return self._columns[id]

    def _load(self, id: str) -> Mapping[str, Column] | str:
        record = self.record(id)
        if record is None or not record.arrays:
            return f"Record {id[:12]} keeps no per-example values."
        try:
            return self._store.arrays(record)
        except (RecordError, KeyError, ValueError) as error:
            return f"The per-example values of record {id[:12]} cannot be read: {error}."


# The choices whose value ends the name of a column.
_SUFFIXES = ("K", "labels", "neighbours")


def _column(metric: str, value: Value, columns: Mapping[str, Column]) -> tuple[str | None, float]:
    """The column that ``metric`` is the mean of, and what its values are multiplied by."""
    base, chosen = metric.split(" ")[0], dict(value.choices)
    for name in (*(f"{base}_{chosen[key]}" for key in _SUFFIXES if key in chosen), base):
        if name in columns:
            return name, 1.0
    dims = json.loads(value.contract).get("dims")
    if base in _BITS | _NATS and "nll" in columns and isinstance(dims, int) and dims > 0:
        return "nll", 1 / dims if base in _NATS else 1 / (dims * math.log(2))
    return None, 1.0
