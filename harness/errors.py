"""What ends a command early. Each message is a sentence for the person who typed it; see the exit codes in `cli`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["BenchError", "CellError", "InputError", "WorkerError", "nearest"]


class BenchError(Exception):
    """Base of the errors that a command reports without a traceback."""


class InputError(BenchError):
    """What was typed cannot be done: the message says what came, what is accepted and what to type next."""


class CellError(BenchError):
    """What was asked of one cell failed while it ran: the others go on."""


class WorkerError(BenchError):
    """A worker ended before its task: killed, crashed, or out of time. It costs one cell."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A half-sentence that offers the nearest known name, or all of them.

    >>> nearest("transfomer", ["transformer", "rnn"])
    "did you mean 'transformer'?"
    """
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there is {', '.join(options)}." if options else "there is none."
