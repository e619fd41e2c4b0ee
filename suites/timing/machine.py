"""The machine that a timing was made on: what must be equal for speeds to be compared, and what disturbed it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import torch

from torchstone.results.record import Flat

__all__ = ["Meter", "cores", "facts", "load", "pinned", "processor"]


@contextmanager
def pinned(threads: int | None) -> Iterator[int]:
    """Within the block torch computes with ``threads`` threads (None: as many as now); their number.

    After it, as many as before, whatever a model has set in between.
    """
    before = torch.get_num_threads()
    wanted = before if threads is None else threads
    torch.set_num_threads(wanted)
    try:
        yield wanted
    finally:
        torch.set_num_threads(before)


def facts(device: torch.device, threads: int, dtype: torch.dtype, clock: str) -> Flat:
    """All that two speeds must share before they are compared, as part of a contract."""
    return {
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "cores": cores(),
        "threads": threads,
        "dtype": str(dtype).removeprefix("torch."),
        "torch": str(torch.__version__),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "clock": clock,
    }


def cores() -> int:
    """Processor cores that this process may use."""
    if "sched_getaffinity" in dir(os):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load() -> float | None:
    """The load average over the last minute, None where the system has none."""
    with suppress(AttributeError, OSError):
        return os.getloadavg()[0]
    return None


class Meter:
    """The energy that a CUDA device has used, where NVML can read it (``pip install nvidia-ml-py``).

    It counts what the whole device uses, other processes included.
    """

    def __init__(self, device: torch.device) -> None:
        self._nvml, self._handle = _nvml() if device.type == "cuda" else None, None
        if self._nvml is not None:
            with suppress(Exception):  # a driver without it, or no right to ask
                uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
                self._handle = self._nvml.nvmlDeviceGetHandleByUUID(uuid)

    def joules(self) -> float | None:
        """Joules since the driver was loaded, None where they cannot be read."""
        if self._nvml is None or self._handle is None:
            return None
        with suppress(Exception):
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3
        return None

    def state(self) -> Flat:
        """Clocks, power cap, driver and other processes on the device, as far as NVML tells."""
        nvml, handle = self._nvml, self._handle
        if nvml is None or handle is None:
            return {}
        asked: dict[str, Callable[[], str | int | float]] = {
            "sm_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            "power_cap_w": lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle) / 1e3,
            "driver": lambda: str(nvml.nvmlSystemGetDriverVersion()),
            "other_processes": lambda: sum(
                process.pid != os.getpid() for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle)
            ),
        }
        found: dict[str, str | int | float | None] = {}
        for name, ask in asked.items():
            with suppress(Exception):
                found[name] = ask()
        return found


@cache
def _nvml() -> Any:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # not installed, or no driver
        return None
    return pynvml


@cache
def processor() -> str:
    """The name of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
