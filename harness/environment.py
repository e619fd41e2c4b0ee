"""The facts of this machine, process and checkout that belong to a record."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import version

import torch

from torchstone.harness.errors import InputError
from torchstone.results.record import Environment
from torchstone.suites.timing.machine import processor

__all__ = ["environment", "resolve_device", "torchstone_version"]

_LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "zuko")


def resolve_device(name: str) -> torch.device:
    """The device called ``name``, where auto is a GPU if there is one; InputError where it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).splitlines()[0].partition("Expected one of")[0].strip(" (") or "it knows no such device"
        raise InputError(
            f"device={name}: torch cannot use it here ({first[:120]}); type device=auto, device=cpu or device=cuda."
        ) from error
    return device


def torchstone_version() -> str:
    """The installed version."""
    return version("torchstone")


def environment(device: torch.device, batch_size: int, halvings: int) -> Environment:
    """The environment as it stands now."""
    commit, dirty = _git()
    return Environment(
        torchstone=torchstone_version(),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        versions=_versions(),
        git_commit=commit,
        git_dirty=dirty,
        device=str(device),
        device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        threads=torch.get_num_threads(),
        dtype=str(torch.get_default_dtype()).removeprefix("torch."),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        matmul_precision=torch.get_float32_matmul_precision(),
        batch_size=batch_size,
        batch_size_halvings=halvings,
    )


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in _LIBRARIES}


@cache
def _git() -> tuple[str | None, bool | None]:
    """Commit and dirty flag of the working folder, None where it is no checkout."""
    try:
        commit = _run_git("rev-parse", "HEAD")
        return commit, bool(_run_git("status", "--porcelain"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _run_git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10).stdout.strip()
