"""Weights in and out, as safetensors: whole and matching, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from torchstone.harness.errors import InputError
from torchstone.models.model import Model
from torchstone.results.files import make_folder, write_whole
from torchstone.results.record import RecordError

__all__ = ["checkpoint_facts", "load_checkpoint", "save_checkpoint"]

_PICKLES = (b"PK\x03\x04", b"\x80")


def save_checkpoint(model: Model, path: Path, facts: Mapping[str, str]) -> None:
    """Write the state of ``model`` to ``path`` in one move, with ``facts`` about it in the header.

    Raises:
        InputError: where the model is no ``nn.Module``, or the file cannot be written.
    """
    module = _module(model)
    state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.state_dict().items()}
    content = save(state, metadata=dict(facts))
    try:
        make_folder(path.parent)
        write_whole(path, content)
    except RecordError as error:
        raise InputError(f"The weights cannot be saved: {error}") from error


def load_checkpoint(model: Model, path: Path) -> None:
    """Load all weights of ``model`` from ``path``, or none.

    Raises:
        InputError: where the file is missing, a pickle, damaged, or of another model.
    """
    module = _module(model)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"checkpoint={path}: it cannot be read: {error.strerror or error}; give the path of a .safetensors file."
        ) from error
    try:
        state = load(content)
    except SafetensorError as error:
        if content.startswith(_PICKLES):
            raise InputError(
                f"checkpoint={path}: it is a pickle, which can run code when it is read, and is not read here; "
                "load it where you trust it and save it with safetensors.torch.save_file(model.state_dict(), PATH)."
            ) from error
        raise InputError(
            f"checkpoint={path}: it is damaged or no safetensors file ({error}); save it again."
        ) from error
    difference = _difference(module.state_dict(), state)
    if difference:
        raise InputError(
            f"checkpoint={path}: it is of another model than {type(model).__name__}: {difference}; "
            "give the settings (model.…) and the dataset that it was trained with."
        )
    module.load_state_dict(state)


def checkpoint_facts(path: Path) -> dict[str, str]:
    """The facts in the header of ``path``; none where it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError):
        return {}


def _module(model: Model) -> torch.nn.Module:
    if not isinstance(model, torch.nn.Module):
        raise InputError(
            f"{type(model).__name__} is no nn.Module, so its weights cannot be saved or loaded; make it one."
        )
    return model


def _difference(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> str:
    """The first thing in which two states differ in kind, in words; empty where they match."""
    missing, extra = sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())
    if missing:
        return f"{missing[0]!r} is missing" + (f", and {len(missing) - 1} more" if len(missing) > 1 else "")
    if extra:
        return f"{extra[0]!r} is too many" + (f", and {len(extra) - 1} more" if len(extra) > 1 else "")
    for name, tensor in ours.items():
        if tensor.shape != theirs[name].shape or tensor.dtype != theirs[name].dtype:
            return (
                f"{name!r} is {theirs[name].dtype} of shape {tuple(theirs[name].shape)} in the file and "
                f"{tensor.dtype} of shape {tuple(tensor.shape)} in the model"
            )
    return ""
