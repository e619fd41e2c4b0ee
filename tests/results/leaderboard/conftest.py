"""Stores and pages of a leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from torchstone.results import Kind, Record, Score, Store

Keep = Callable[..., Record]

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "../../etc/passwd",
    "a\x00b\x1b[31mc\nd\u202e\u2028e",
    "x" * 10_000,
    "\"'`&amp;{{ 7 * 7 }}{% raw %}",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def keep(make, folder: Path) -> Keep:
    """``keep(values, model="vae")``: a record of nll, the mean of per-example ``values``, kept with them."""

    def one(
        values: Sequence[float] | np.ndarray, kind: Kind = Kind.EXACT, *, kept: bool = True,
        ids: np.ndarray | None = None, **changes,
    ) -> Record:  # fmt: skip
        numbers = np.asarray(values, dtype=float)
        mean, error = float(numbers.mean()), float(numbers.std(ddof=1) / np.sqrt(len(numbers)))
        scores = (
            Score("nll", mean, "nats/example", kind, False, error, None, len(numbers), {"nonfinite": 0}),
            Score("bits_per_dim", mean / 44.361, "bits/dim", kind, False, error / 44.361, None, len(numbers)),
        )
        arrays = {"id": np.arange(len(numbers)) if ids is None else ids, "nll": numbers} if kept else None
        return Store(folder).write(make(scores=scores, **changes), arrays)

    return one


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)


@pytest.fixture
def hostile() -> tuple[str, ...]:
    """Names that would be more than names, if they were let."""
    return HOSTILE
