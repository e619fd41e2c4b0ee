"""What a model holds, by content: a digest of its weights and one of all its state. Names count for nothing."""

from __future__ import annotations

import functools
import hashlib
import types
import weakref
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

__all__ = ["path_digest", "state_digest", "weights_digest"]


def weights_digest(model: object) -> str:
    """sha256 over the names, types, shapes and bytes of a module's state; that of nothing where it is no module."""
    sha = hashlib.sha256()
    if isinstance(model, torch.nn.Module):
        for name, tensor in sorted(model.state_dict().items()):
            sha.update(name.encode())
            sha.update(b"".join(_array(tensor.detach().cpu())))
    return sha.hexdigest()


def path_digest(path: Path) -> str:
    """sha256 over the bytes of a file, or over the names and bytes of all files below a folder."""
    sha = hashlib.sha256()
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    for file in files:
        sha.update(f"{file.relative_to(path) if path.is_dir() else ''}\0".encode())
        if file.is_file():
            with file.open("rb") as stream:
                sha.update(hashlib.file_digest(stream, "sha256").digest())
    return sha.hexdigest()


def state_digest(model: object) -> str | None:
    """sha256 over everything the object holds, weights and plain attributes alike; None where a part cannot be read."""
    sha = hashlib.sha256()
    try:
        for piece in _walk(model, set()):
            sha.update(piece)
            sha.update(b"\0")
    except _UnreadableError:
        return None
    return sha.hexdigest()


class _UnreadableError(Exception):
    """An object whose content cannot be told."""


def _walk(value: Any, above: set[int]) -> Iterator[bytes]:
    """The content of ``value`` as bytes, types included; ``above`` holds what is being walked, to end cycles."""
    match value:
        case None | bool() | int() | float() | complex() | str() | bytes() | Enum() | PurePath():
            yield repr(value).encode()
        case torch.Tensor():
            yield from _array(value.detach().cpu())
        case np.ndarray() | np.generic():
            array = np.asarray(value)
            if array.dtype.hasobject:
                raise _UnreadableError
            yield f"{array.shape} {array.dtype}".encode() + array.tobytes()
        case torch.dtype() | torch.device() | torch.Size() | range() | slice() | np.dtype():
            yield repr(value).encode()
        case type():
            yield f"{value.__module__}.{value.__qualname__}".encode()
        case weakref.ReferenceType():
            yield b"reference"  # to something that is held, and walked, elsewhere
        case types.BuiltinFunctionType():
            yield str(value.__qualname__).encode()
        case _ if id(value) in above:
            yield b"cycle"
        case _:
            parts = list(_contents(value))
            yield f"{type(value).__module__}.{type(value).__qualname__} {len(parts)}".encode()
            for part in parts:
                yield from _walk(part, above | {id(value)})


def _contents(value: Any) -> Iterable[Any]:
    match value:
        case Mapping():
            return [*(part for item in value.items() for part in item), *_attributes(value)]
        case set() | frozenset():
            return [*sorted(value, key=repr), *_attributes(value)]
        case list() | tuple():
            return [*value, *_attributes(value)]
        case types.FunctionType():
            return [value.__module__, value.__qualname__, value.__defaults__, value.__kwdefaults__, *_cells(value)]
        case types.MethodType():
            return [value.__func__, value.__self__]
        case functools.partial():
            return [value.func, value.args, value.keywords]
    if not type(value).__flags__ & (1 << 9):  # not a class written in Python: its content cannot be told
        raise _UnreadableError
    return _attributes(value)


def _attributes(value: Any) -> list[Any]:
    """Names and values of all instance attributes, those in slots included."""
    slots = [name for cls in type(value).__mro__ for name in _slots(cls)]
    held = {name: getattr(value, name) for name in slots if name in dir(value) and _is_set(value, name)}
    if "__dict__" in dir(value):
        held |= vars(value)
    return [part for item in sorted(held.items()) for part in item]


def _slots(cls: type) -> tuple[str, ...]:
    slots = vars(cls).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _is_set(value: Any, name: str) -> bool:
    try:
        getattr(value, name)
    except AttributeError:
        return False
    return True


def _cells(function: types.FunctionType) -> list[Any]:
    return [cell.cell_contents for cell in function.__closure__ or ()]


def _array(tensor: torch.Tensor) -> Iterator[bytes]:
    yield f"{tuple(tensor.shape)} {tensor.dtype}".encode()
    yield tensor.contiguous().view(torch.uint8).numpy().tobytes() if tensor.ndim else repr(tensor.item()).encode()
