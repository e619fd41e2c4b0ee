"""The most memory that a call takes, with every counter set back before it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import nn

from torchstone.models.model import Model
from torchstone.suites.timing.clock import synchronise

__all__ = ["Peak", "peak_memory"]

MIB = 2**20


@final
@dataclass(frozen=True, slots=True)
class Peak:
    """Peaks during one call, in MiB; None where they cannot be told here.

    Attributes:
        allocated: by torch on the device, weights and buffers of the model included.
        reserved: held by the allocator of a CUDA device, unused blocks included.
        resident: of the process in the memory of the host, libraries and data included.
    """

    allocated: float | None
    reserved: float | None
    resident: float | None


def peak_memory(model: Model, call: Callable[[], object], device: torch.device) -> Peak:
    """What ``call`` takes at most, asked once for what torch allocates and once for the process.

    On the CPU torch keeps no count of its own: allocations are followed by the profiler. The resident peak is that of
    the kernel, set back before the call where the system lets it, on Linux, and missing elsewhere.
    """
    with torch.no_grad():
        call()
        allocated, reserved = _cuda(call, device) if device.type == "cuda" else (_traced(model, call), None)
        return Peak(allocated, reserved, _resident(call, device))


def _cuda(call: Callable[[], object], device: torch.device) -> tuple[float, float]:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) / MIB, torch.cuda.max_memory_reserved(device) / MIB


def _traced(model: Model, call: Callable[[], object]) -> float:
    """Weights and buffers, and the highest sum of what was allocated and freed since the call began."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as seen:
        call()
    held = most = 0
    profiler: Any = seen.profiler
    for event in profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return (most + _weights(model)) / MIB


def _weights(model: Model) -> int:
    if not isinstance(model, nn.Module):
        return 0
    tensors = {id(each): each for each in (*model.parameters(), *model.buffers())}
    return sum(each.numel() * each.element_size() for each in tensors.values())


def _resident(call: Callable[[], object], device: torch.device) -> float | None:
    try:
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is resident now
        call()
        synchronise(device)
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return None if found is None else int(found[1]) / 1024
