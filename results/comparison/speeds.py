"""Speeds belong to a machine: which scores are speeds, and when two of them may be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchstone.results.record import ENVIRONMENT_KEYS, Environment

__all__ = ["BUSY", "CALIBRATION", "SINGLE_RUN", "is_of_run", "is_portable", "is_speed", "machine", "rescaled"]

CALIBRATION = "matmul_rate"  # the score that the throughput suite gives of the machine itself, timed beside the others

BUSY = (
    "A single run does not show how far another on the same machine would be from it, and a busy machine looks like a "
    "slow model"
)
SINGLE_RUN = f"{BUSY}: give both sides several, such as seed=0,1,2."

_TIMES = frozenset({"s", "ms", "us", "µs", "ns"})
_OF_MACHINE = frozenset({"MiB", "J"})
_PORTABLE = frozenset({"of matrix products"})
# Facts of an environment that make a speed another one, for records whose contract does not name their machine.
# Versions do not belong to them: that a new version made a model slower is what one wants to be told.
_FACTS = ("platform", "device_name", "device", "threads", "dtype", "deterministic", "matmul_precision")


def is_speed(unit: str) -> bool:
    """Whether a score in ``unit`` says as much of the machine as of the model: rates and times."""
    return unit.endswith("/s") or unit in _TIMES


def is_of_run(unit: str) -> bool:
    """Whether the noise of a score in ``unit`` shows only between runs: speeds, memory, energy, shares of a peak.

    What a run says of its own noise is that of its calls, which all met the same machine, as busy as it was just then.
    """
    return is_speed(unit) or unit in _OF_MACHINE | _PORTABLE


def is_portable(unit: str) -> bool:
    """Whether such a score is a ratio to its machine by itself, and may be compared with one from any other."""
    return unit in _PORTABLE


def machine(contract: Mapping[str, Any], environment: Environment | None) -> Mapping[str, Any]:
    """The facts that two speeds must share: those that the contract names, or else those of the record's environment.

    Empty where neither is there.
    """
    named = {key: contract[key] for key in sorted(ENVIRONMENT_KEYS & contract.keys())}
    if named or environment is None:
        return named
    return {name: getattr(environment, name) for name in _FACTS}


def rescaled(value: float, unit: str, own: float, reference: float) -> float:
    """A rate or a time as it would be where the calibration gives ``reference`` and not its ``own``."""
    return value * reference / own if unit.endswith("/s") else value * own / reference
