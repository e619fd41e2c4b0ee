"""Per-example values behind the headlines of a block, read as far as a fixed number of files goes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from torchstone.results.arrays import unpack
from torchstone.results.leaderboard.reading import Found
from torchstone.results.record import RecordError
from torchstone.results.tables.table import Block, Column, Row

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FILES_OF_ALL", "FILES_OF_ONE", "Examples", "Values"]

FILES_OF_ALL = 200  # that are read for one page, a millisecond each
FILES_OF_ONE = 40  # of them for one block, its best rows first
_ROUNDING = 1e-6  # of a mean of float32, relative


@final
@dataclass(frozen=True, slots=True)
class Values:
    """The values of one row, averaged over its seeds: ``ids`` ascending and ``numbers``, both of shape ``(n,)``."""

    ids: np.ndarray[Any, Any]
    numbers: np.ndarray[Any, Any]


@final
class Examples:
    """Reads per-example values from the folder of the records, and stops when its files are used up.

    Args:
        folder: of the records.
        found: the records by id.
        files: how many files may be read in all.
        block_files: how many of them for one block.
    """

    def __init__(
        self, folder: Path, found: Mapping[str, Found], files: int = FILES_OF_ALL, block_files: int = FILES_OF_ONE
    ) -> None:
        self._folder = folder
        self._found = found
        self._left = files
        self._block_files = block_files

    def of(self, block: Block) -> dict[int, Values]:
        """The values of the headline by the place of the row, for as many of the first rows as the files allow."""
        headline, left = block.columns[0], min(self._left, self._block_files)
        values: dict[int, Values] = {}
        for place, row in enumerate(block.rows if len(block.rows) > 1 else ()):
            if len(row.records) > left:
                break
            if self._has(row, headline):
                left, self._left = left - len(row.records), self._left - len(row.records)
                if (own := self._read(row, headline)) is not None:
                    values[place] = own
        return values

    def _has(self, row: Row, column: Column) -> bool:
        """Whether each of its records says that it has values under the name of the column."""
        return all(column.name in self._found[id].arrays.get("columns", ()) for id in row.records)

    def _read(self, row: Row, column: Column) -> Values | None:
        """None where a file is missing or altered, or where its values are not those that the mean was taken of."""
        seeds = [self._one(self._found[id], column) for id in row.records]
        whole = [each for each in seeds if each is not None]
        return _averaged(whole) if len(whole) == len(seeds) else None

    def _one(self, found: Found, column: Column) -> Values | None:
        import numpy as np

        path = (self._folder / found.file).with_suffix(".parquet")
        try:
            columns = unpack(path.read_bytes(), found.arrays)
        except (OSError, KeyError, RecordError):
            return None
        value = found.measurement.values.get(column.name)
        if value is None or column.name not in columns or not len(columns[column.name]):
            return None
        numbers, mean = columns[column.name], value.value
        with np.errstate(over="ignore", invalid="ignore"):
            average = float(np.mean(numbers))
        for sign in (1.0, -1.0):  # some suites keep costs, and print gains
            if math.isclose(sign * average, mean, rel_tol=_ROUNDING):
                order = np.argsort(columns["id"])
                return Values(columns["id"][order], sign * numbers[order])
        return None


def _averaged(seeds: Sequence[Values]) -> Values | None:
    """The mean over seeds; None where they are not of the same examples."""
    import numpy as np

    first = seeds[0]
    if not all(np.array_equal(each.ids, first.ids) for each in seeds):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return Values(first.ids, np.mean([each.numbers for each in seeds], axis=0))
