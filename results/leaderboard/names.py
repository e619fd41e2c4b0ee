"""What a row is called: on one line, and cut where it is very long."""

from __future__ import annotations

from torchstone.results.tables.table import Row
from torchstone.results.text.numbers import shortened

__all__ = ["LONGEST", "counted", "cut", "name"]

LONGEST = 120  # letters of a name that are shown


def cut(text: str) -> str:
    """``text`` on one line of at most `LONGEST` letters."""
    return shortened(text, LONGEST)


def name(row: Row) -> str:
    """The model, and what sets the row apart from its others."""
    return cut(f"{row.model} {row.label}".strip())


def counted(number: int, word: str) -> str:
    """``1 row``, or ``1,000 rows``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
