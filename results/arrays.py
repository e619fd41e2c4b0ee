"""Per-example values: one Parquet file beside a record, a column of example ids and columns of numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torchstone.results.record import RecordError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

__all__ = ["pack", "unpack"]


def pack(columns: Mapping[str, ArrayLike]) -> tuple[bytes, dict[str, Any]]:
    """The bytes of a Parquet file, and what its record says of it: ``sha256``, ``columns`` and ``rows``.

    Args:
        columns: One-dimensional and equally long; ``id`` holds the example ids, each once.

    Raises:
        RecordError: The columns do not fit together; the message names the one that does not.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {name: _column(name, values) for name, values in columns.items()}
    _check(arrays)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content, {
        "sha256": hashlib.sha256(content).hexdigest(),
        "columns": list(arrays),
        "rows": len(arrays["id"]),
    }


def unpack(content: bytes, facts: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The columns of a Parquet file, by name. Raises RecordError where its bytes are not those of ``facts``."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    if hashlib.sha256(content).hexdigest() != facts["sha256"]:
        raise RecordError("its sha256 is not the one in its record: it was altered or damaged")
    # read_table and to_numpy would import pandas, which takes longer than reading a hundred files.
    table = pq.ParquetFile(pa.BufferReader(content)).read()
    return {name: np.array(np.from_dlpack(table.column(name).combine_chunks())) for name in table.column_names}


def _column(name: str, values: ArrayLike) -> np.ndarray[Any, Any]:
    import numpy as np

    try:
        array = np.asarray(values)
        wanted = array.astype(np.int64 if name == "id" else np.float64)
    except (TypeError, ValueError) as error:
        raise RecordError(f"the per-example values {name!r} are not numbers: {error}") from error
    if array.ndim != 1:
        raise RecordError(f"the per-example values {name!r} have shape {array.shape}; they should have one per example")
    return wanted


def _check(arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    import numpy as np

    if "id" not in arrays:
        raise RecordError(f"per-example values need a column 'id' of example ids; there are {', '.join(arrays)}")
    rows = len(arrays["id"])
    for name, array in arrays.items():
        if len(array) != rows:
            raise RecordError(f"there are {len(array)} per-example values {name!r} for {rows} example ids")
    if len(np.unique(arrays["id"])) != rows:
        raise RecordError("an example id occurs twice among the per-example values")
