"""Clocks that wait for the device on both sides of what they time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from time import perf_counter_ns, process_time_ns  # bound here, so that another ``time`` of a model changes nothing
from typing import ClassVar, TypeVar, final

import torch

__all__ = ["Clock", "EventClock", "WallClock", "clock_for", "longer", "synchronise"]

T = TypeVar("T")
OVERHEAD = 1e-4  # seconds that waiting for a device and asking for the time may take


class Clock(ABC):
    """Times calls.

    Attributes:
        name: what it is called in records.
    """

    name: ClassVar[str]

    @abstractmethod
    def timed(self, call: Callable[[], T]) -> tuple[T, float]:
        """What ``call`` returns, and the seconds that it took until the device had done all of it."""

    @abstractmethod
    def cpu(self) -> float:
        """Seconds that the threads of this process have been on a processor so far."""


@final
class WallClock(Clock):
    """The monotonic clock of the machine, in nanoseconds; the device is waited for before start and before stop."""

    name: ClassVar[str] = "perf_counter_ns"

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def timed(self, call: Callable[[], T]) -> tuple[T, float]:
        """As in `Clock`."""
        synchronise(self._device)
        start = perf_counter_ns()
        result = call()
        synchronise(self._device)
        return result, (perf_counter_ns() - start) / 1e9

    def cpu(self) -> float:
        """As in `Clock`."""
        return process_time_ns() / 1e9


@final
class EventClock(Clock):
    """Events in the current stream of a CUDA device, held against the clock of the machine.

    Events do not see work in other streams, nor work on the processor after the last launch. The device is waited for
    as a whole on both sides, and where that took longer than the events tell, the longer time counts.
    """

    name: ClassVar[str] = "cuda_events"

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def timed(self, call: Callable[[], T]) -> tuple[T, float]:
        """As in `Clock`."""
        with torch.cuda.device(self._device):
            start, stop = _event(), _event()
            torch.cuda.synchronize(self._device)
            begin = perf_counter_ns()
            start.record()
            result = call()
            stop.record()
            torch.cuda.synchronize(self._device)
            wall = (perf_counter_ns() - begin) / 1e9
            seconds = float(start.elapsed_time(stop)) / 1e3
        return result, longer(seconds, wall)

    def cpu(self) -> float:
        """As in `Clock`."""
        return process_time_ns() / 1e9


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def longer(events: float, wall: float) -> float:
    """The time by events, unless the wall says that they missed more than 5 % of it.

    >>> longer(1.0, 1.01), longer(0.1, 1.0)
    (1.0, 1.0)
    """
    return wall if wall > 1.05 * events + OVERHEAD else events


def clock_for(device: torch.device) -> Clock:
    """The clock for work on ``device``."""
    return EventClock(device) if device.type == "cuda" else WallClock(device)


def synchronise(device: torch.device) -> None:
    """Wait until ``device`` has done all that it was given; at once for the processor itself."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
