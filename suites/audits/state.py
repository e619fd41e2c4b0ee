"""The state that a question may change without saying so: of the model, of the process, of every global generator."""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from torchstone.models.model import Model

__all__ = ["generators", "global_seed", "own_generators", "pristine", "process", "restored", "training", "weights"]


def weights(model: Model) -> str:
    """sha256 over the bytes of every parameter and buffer; empty for a model that is no ``nn.Module``."""
    if not isinstance(model, nn.Module):
        return ""
    sha = hashlib.sha256()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        sha.update(f"{name}/{tuple(tensor.shape)}/{tensor.dtype}".encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def training(model: Model) -> tuple[bool, ...]:
    """The training flags of all modules."""
    return tuple(module.training for module in model.modules()) if isinstance(model, nn.Module) else ()


def process() -> dict[str, object]:
    """Switches of the process that change what other code computes."""
    return {
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")),
        "default dtype": torch.get_default_dtype(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "precision of matrix products": torch.get_float32_matmul_precision(),
        "number of threads": torch.get_num_threads(),
    }


def generators() -> tuple[bytes, ...]:
    """The states of the global generators of torch, numpy and Python."""
    cuda = [state.numpy().tobytes() for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else []
    return (
        torch.get_rng_state().numpy().tobytes(),
        repr(np.random.get_state(legacy=False)).encode(),
        repr(random.getstate()).encode(),
        *cuda,
    )


def own_generators(model: object) -> tuple[bytes, ...]:
    """The states of the generators that the model or one of its parts holds as an attribute."""
    parts = model.modules() if isinstance(model, nn.Module) else (model,)
    held = [value for part in parts for value in getattr(part, "__dict__", {}).values()]
    return tuple(
        value.get_state().numpy().tobytes() if isinstance(value, torch.Generator) else repr(_state(value)).encode()
        for value in held
        if isinstance(value, torch.Generator | np.random.Generator | np.random.RandomState | random.Random)
    )


def _state(held: np.random.Generator | np.random.RandomState | random.Random) -> object:
    match held:
        case np.random.Generator():
            return held.bit_generator.state
        case np.random.RandomState():
            return held.get_state(legacy=False)
        case _:
            return held.getstate()


def global_seed(seed: int) -> None:
    """Seed the global generators of torch, numpy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def restored() -> Iterator[None]:
    """Within the block global generators and switches may move; after it they are what they were."""
    before, numpy_state, python_state = process(), np.random.get_state(), random.getstate()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)
            _switch(before)


def pristine(model: Model) -> Model | None:
    """A copy of the model as it is, None where it cannot be copied."""
    try:
        return copy.deepcopy(model)
    except Exception:
        return None


def _switch(before: dict[str, object]) -> None:
    torch.set_grad_enabled(bool(before["grad mode"]))
    dtype, autocast, threads = before["default dtype"], before["autocast"], before["number of threads"]
    assert isinstance(dtype, torch.dtype) and isinstance(autocast, tuple) and isinstance(threads, int)
    torch.set_default_dtype(dtype)
    for device, enabled in zip(("cpu", "cuda"), autocast, strict=True):
        torch.set_autocast_enabled(device, enabled)
    now = process()
    if now["deterministic algorithms"] != before["deterministic algorithms"]:
        torch.use_deterministic_algorithms(bool(before["deterministic algorithms"]))
    if now["precision of matrix products"] != before["precision of matrix products"]:
        torch.set_float32_matmul_precision(str(before["precision of matrix products"]))
    if now["number of threads"] != threads:
        torch.set_num_threads(threads)
