"""What a model is, by content: a digest of its code and one of its state. Names count for nothing."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from importlib.metadata import packages_distributions, version
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

__all__ = ["code_digest", "state_digest", "weights_digest"]


def code_digest(factory: Callable[..., Any], model: object) -> str | None:
    """sha256 over the code that ``model`` runs; None where some of its source cannot be had, and nothing may be reused.

    It covers the source of the modules that define the factory, the classes of the model and of everything inside it,
    and of every module these use in turn; for installed libraries their version stands for their source.
    """
    names = {factory.__module__} | {cls.__module__ for part in _parts(model) for cls in type(part).__mro__}
    parts = []
    for name in sorted(_used(names)):
        fact = _code_of(name)
        if fact is None:
            return None
        parts.append(f"{name} {fact}")
    return _sha("\n".join(parts))


def weights_digest(model: object) -> str:
    """sha256 over the names, types, shapes and bytes of a module's state; that of nothing where it is no module."""
    sha = hashlib.sha256()
    if isinstance(model, torch.nn.Module):
        for name, tensor in sorted(model.state_dict().items()):
            sha.update(name.encode())
            sha.update(b"".join(_array(tensor.detach().cpu())))
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


def _parts(model: object) -> Iterable[object]:
    return model.modules() if isinstance(model, torch.nn.Module) else (model,)


def _used(names: Iterable[str]) -> set[str]:
    """The modules called ``names`` and those that their globals come from, up to installed libraries."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found or name in sys.stdlib_module_names or name.partition(".")[0] in sys.stdlib_module_names:
            continue
        found.add(name)
        module = sys.modules.get(name)
        if module is not None and _is_own(module):
            for value in vars(module).values():
                used = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
                if isinstance(used, str) and used in sys.modules:
                    waiting.append(used)
    return found


def _is_own(module: types.ModuleType) -> bool:
    """Whether the module is a user's or Torchstone's, and is thus told apart by its source."""
    file = getattr(module, "__file__", None)
    if file is None:
        return False
    installed = Path(file).is_relative_to(sysconfig.get_path("purelib")) or Path(file).is_relative_to(
        sysconfig.get_path("stdlib")
    )
    return not installed or module.__name__.startswith("torchstone.")


def _code_of(name: str) -> str | None:
    module = sys.modules.get(name)
    if module is not None and _is_own(module):
        source = Path(str(module.__file__))
        return _sha(source.read_bytes()) if source.suffix == ".py" and source.is_file() else None
    top = name.partition(".")[0]
    distributions = _distributions().get(top)
    return f"{top}=={version(distributions[0])}" if distributions else None


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


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
        case types.BuiltinFunctionType():
            yield str(value.__qualname__).encode()
        case _ if id(value) in above:
            yield b"cycle"
        case _:
            yield type(value).__qualname__.encode()
            for part in _contents(value):
                yield from _walk(part, above | {id(value)})


def _contents(value: Any) -> Iterable[Any]:
    match value:
        case Mapping():
            return [part for item in value.items() for part in item]
        case set() | frozenset():
            return sorted(value, key=repr)
        case list() | tuple():
            return value
        case types.FunctionType():
            return [value.__module__, value.__qualname__, value.__defaults__, *_cells(value)]
        case types.MethodType():
            return [value.__func__, value.__self__]
        case functools.partial():
            return [value.func, value.args, value.keywords]
        case _ if dataclasses.is_dataclass(value):
            return [getattr(value, f.name) for f in dataclasses.fields(value)]
    if type(value).__flags__ & (1 << 9) and "__dict__" in dir(value):  # a class written in Python
        return [part for item in sorted(vars(value).items()) for part in item]
    raise _UnreadableError


def _cells(function: types.FunctionType) -> list[Any]:
    return [cell.cell_contents for cell in function.__closure__ or ()]


def _array(tensor: torch.Tensor) -> Iterator[bytes]:
    yield f"{tuple(tensor.shape)} {tensor.dtype}".encode()
    yield tensor.contiguous().view(torch.uint8).numpy().tobytes() if tensor.ndim else repr(tensor.item()).encode()


def _sha(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
