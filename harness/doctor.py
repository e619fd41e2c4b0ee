"""Is this installation well? Versions, device, and numbers whose right answers are known."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from torchstone.harness.environment import environment, resolve_device
from torchstone.harness.interface import run
from torchstone.models.model import Continuous
from torchstone.results.record import Record
from torchstone.suites.dequantisation import Dequantiser
from torchstone.suites.metrics.bounds import importance_weighted_bound
from torchstone.suites.metrics.units import bits_per_dim

__all__ = ["Findings", "examine"]


@dataclass(frozen=True, slots=True)
class Findings:
    """Lines to print, and whether every test gave its known answer."""

    lines: tuple[str, ...]
    healthy: bool


def examine() -> Findings:
    """The environment, and each self-test with what it gave."""
    device = resolve_device("auto")
    machine = environment(device, batch_size=0, halvings=0)
    lines = [
        f"torchstone {machine.torchstone}, Python {machine.python}, {machine.platform}",
        ", ".join(f"{name} {number}" for name, number in machine.versions.items()),
        f"device {machine.device} ({machine.device_name}), {machine.threads} threads",
        "",
    ]
    healthy = True
    for name, test in _TESTS:
        try:
            problem = test()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        healthy &= problem is None
        lines.append(f"{'ok  ' if problem is None else 'FAIL'} {name}" + ("" if problem is None else f": {problem}"))
    return Findings(tuple(lines), healthy)


def _differs(found: float, known: float, tolerance: float = 1e-9) -> str | None:
    return (
        None
        if math.isclose(found, known, rel_tol=tolerance, abs_tol=tolerance)
        else f"{found!r} where {known!r} is right"
    )


def _units() -> str | None:
    return _differs(bits_per_dim(3072 * math.log(256), 3072), 8.0)


def _dequantisation() -> str | None:
    """Data in [-1, 1]: the constant is 7 bits per dimension, not 8."""
    return _differs(-Dequantiser(Continuous(-1.0, 1.0), 256, 3072).log_volume / (3072 * math.log(2)), 7.0)


def _bound() -> str | None:
    return _differs(
        float(importance_weighted_bound(torch.log(torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64)))), math.log(3.0)
    )


def _sources() -> str | None:
    """Through the whole harness, each source is within four standard errors of its own entropy."""
    with tempfile.TemporaryDirectory() as folder:
        sources = ("bernoulli", "markov", "ising", "mixture", "linear_gaussian")
        records, _ = run("truth", data=sources, results=folder, progress=False)
        kept = len(list(Path(folder).glob("*.json")))
    wrong = list(_wrong(records))
    return "; ".join(wrong) if wrong else _differs(kept, len(sources))


def _wrong(records: Iterable[Record]) -> Iterable[str]:
    for record in records:
        excess = [score for score in record.scores if score.metric.startswith("excess")]
        if not excess or excess[0].stderr is None:
            yield f"{record.dataset} gave no excess: {record.reason}"
        elif abs(excess[0].value) > 4 * excess[0].stderr:
            yield f"{record.dataset} is {excess[0].value:.4f} ± {excess[0].stderr:.4f} above its own entropy"


def _reference_model() -> str | None:
    """A model fitted here beats the uniform density on digits, and scores the same when it is measured again."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = (
            run("independent", budget="smoke", results=folder, fresh=True, progress=False).records[0] for _ in range(2)
        )
    found = first.score("bits_per_dim").value
    if not found < math.log2(17):
        return f"independent has {found:.3f} bits per dimension on digits, no less than uniform noise"
    return _differs(second.score("bits_per_dim").value, found, tolerance=0.0)


_TESTS: tuple[tuple[str, Callable[[], str | None]], ...] = (
    ("a uniform image of 256 levels has 8 bits per dimension", _units),
    ("data dequantised to [-1, 1] cost 7 bits per dimension", _dequantisation),
    ("an importance-weighted bound is the log of a mean", _bound),
    ("five sources measured by their own densities have their own entropies", _sources),
    ("a model fitted to digits beats noise, and repeats itself", _reference_model),
)
