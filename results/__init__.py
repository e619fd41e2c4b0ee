"""What a measurement is, how it is kept, compared and shown. Importing this loads nothing heavy."""

from torchstone.results.record import (
    Environment,
    Kind,
    Record,
    RecordError,
    Score,
    Status,
)
from torchstone.results.store import Store

__all__ = [
    "Environment",
    "Kind",
    "Record",
    "RecordError",
    "Score",
    "Status",
    "Store",
]
