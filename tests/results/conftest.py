"""Records of a plausible run, made to order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from torchstone.results import Environment, Kind, Record, Score, Status

Make = Callable[..., Record]


@pytest.fixture
def environment() -> Environment:
    return Environment(
        torchstone="0.1.0",
        python="3.11.7",
        platform="Linux",
        versions={"torch": "2.6.0"},
        git_commit=None,
        git_dirty=None,
        device="cpu",
        device_name="cpu",
        threads=2,
        dtype="float32",
        deterministic=True,
        matmul_precision="highest",
        batch_size=128,
        batch_size_halvings=0,
    )


CONTRACT = {
    "data": "d" * 64,
    "dataset": "digits",
    "split": "test",
    "examples": 297,
    "dims": 64,
    "support": "discrete-17",
    "quantity": "nll",
    "conditional": False,
    "kind": "exact",
    "dequantisation": "none",
    "estimator": "exact",
    "importance_samples": None,
}


def density(bits: float, kind: Kind = Kind.EXACT, **parameters: Any) -> tuple[Score, ...]:
    """The scores of the density suite for so many bits per dimension."""
    nats = bits * 44.361
    return (
        Score(
            "nll", nats, "nats/example", kind, False, 0.53, (nats - 1, nats + 1), 297, {"nonfinite": 0, **parameters}
        ),
        Score("bits_per_dim", bits, "bits/dim", kind, False, 0.012, (bits - 0.02, bits + 0.02), 297, parameters),
    )


@pytest.fixture
def make(environment: Environment) -> Make:
    """``make(bits=1.9, contract={...}, seed=1, ...)``: a record, each with an identity of its own."""
    counter = itertools.count()

    def record(bits: float = 1.9, kind: Kind = Kind.EXACT, contract: Any = None, **changes: Any) -> Record:
        number = next(counter)
        fields: dict[str, Any] = {
            "identity": f"identity-{number}",
            "suite": "density",
            "suite_version": 1,
            "model": "mixture",
            "family": "explicit-exact",
            "dataset": "digits",
            "seed": 0,
            "settings": {"model": {"components": 8}, "suite": {"block": 50}},
            "contract": CONTRACT | (contract or {}),
            "status": Status.COMPLETED,
            "reason": "",
            "scores": density(bits, kind),
            "environment": environment,
            "started": f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}+00:00",
            "seconds": 1.5,
            "fingerprints": {"data": "d" * 64, "weights": "w" * 64, "code": "c" * 64},
        }
        return Record(**(fields | changes))

    return record


@pytest.fixture
def measured(make: Make) -> Callable[..., tuple[Record, dict[str, np.ndarray]]]:
    """``measured(nll, model="vae")``: a density record of these values per example, and its arrays, to be written."""

    def record(nll: Any, ids: Any = None, **changes: Any) -> tuple[Record, dict[str, np.ndarray]]:
        values = np.asarray(nll, dtype=float)
        n, bits = len(values), 1 / (64 * np.log(2))
        bad = int((~np.isfinite(values)).sum())
        mean = np.inf if bad else float(values.mean())
        stderr = None if bad or n < 2 else float(values.std(ddof=1) / np.sqrt(n))
        kind = changes.pop("kind", Kind.EXACT)
        scores = tuple(
            Score(
                metric,
                mean * by,
                unit,
                kind,
                False,
                None if stderr is None else stderr * by,
                None,
                n,
                {"nonfinite": bad},
            )
            for metric, unit, by in (("nll", "nats/example", 1.0), ("bits_per_dim", "bits/dim", bits))
        )
        contract = {"examples": n, "kind": kind.value} | changes.pop("contract", {})
        arrays = {"id": np.arange(n) if ids is None else np.asarray(ids), "nll": values}
        return make(scores=changes.pop("scores", scores), contract=contract, **changes), arrays

    return record


@pytest.fixture
def verdict() -> Callable[..., dict[str, Any]]:
    """``verdict("enumeration", "pass", "A")``: an audit as a record holds it."""

    def entry(audit: str, verdict: str = "pass", grade: str = "C", **changes: Any) -> dict[str, Any]:
        fields = {
            "audit": audit,
            "claim": f"It is so: {audit}.",
            "verdict": verdict,
            "grade": grade,
            "statistic": None,
            "p_value": None,
            "level": None,
            "power": "",
            "witness": f"This was seen of {audit}.",
        }
        return fields | changes

    return entry


@pytest.fixture
def certify(make: Make) -> Make:
    """``certify(verdict(...), ..., model="vae")``: the record of an audit."""

    def record(*audits: dict[str, Any], **changes: Any) -> Record:
        scores = (Score("failed", 0.0, "audits", Kind.EXACT, False, n=len(audits)),)
        fields = {"suite": "audit", "audits": audits, "scores": scores, "contract": {"alpha": 1e-3}}
        return make(**(fields | changes))

    return record
