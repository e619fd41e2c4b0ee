"""What a model is, by content: a digest of its code and one of its state. Names count for nothing."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
import sysconfig
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions, version
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

from torchstone.harness.plugins import is_installed

__all__ = ["code_digest", "source_digest", "state_digest", "weights_digest"]


def code_digest(factory: Callable[..., Any], model: object) -> str | None:
    """sha256 over the code that ``model`` runs; None where some of its source cannot be had, and nothing may be reused.

    It covers the source of the modules that define the factory, the classes of the model and of everything inside it,
    and of every module these use in turn; for installed libraries their version stands for their source.
    """
    facts = _code_facts(factory, model)
    return None if facts is None else _sha("\n".join(f"{name} {fact}" for name, fact in facts.items()))


def source_digest(factory: Callable[..., Any], model: object) -> str | None:
    """The same without the installed libraries: it stays what it is when they, or Python, are upgraded."""
    facts = _code_facts(factory, model)
    if facts is None:
        return None
    return _sha("\n".join(f"{name} {fact}" for name, fact in facts.items() if _own_source(name) is not None))


def _code_facts(factory: Callable[..., Any], model: object) -> dict[str, str] | None:
    """Of each module that ``model`` runs a digest of its source or a version; None where one has neither."""
    names = {factory.__module__} | {cls.__module__ for part in _parts(model) for cls in type(part).__mro__}
    if "__main__" in names:
        return None
    facts: dict[str, str] = {}
    for name in sorted(_used(names)):
        fact = _code_of(name)
        if fact is None or (fact == ABSENT and name in names):
            return None
        facts[name] = fact
    return facts


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
    """The modules called ``names`` and all that they import, in functions too, as far as they are not installed."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found or name in _RUNTIME:
            continue
        source = _own_source(name)
        if source is None and _is_standard(name):
            continue
        found.add(name)
        if source is not None:
            waiting.extend(_imports(source, name))
    return found


def _imports(source: Path, name: str) -> Iterator[str]:
    """What a module imports, anywhere in it; of ``from a import b`` both a and, where it is a module, a.b."""
    package = name if source.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(base, package) if node.level else base
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if _spec(f"{base}.{alias.name}") is not None)


def _spec(name: str) -> ModuleSpec | None:
    module = sys.modules.get(name)
    if module is not None:
        return module.__spec__
    parent = name.rpartition(".")[0]
    if parent and parent in sys.modules and "__path__" not in vars(sys.modules[parent]):
        return None
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _origin(name: str) -> Path | None:
    module = sys.modules.get(name)
    file = None if module is None else vars(module).get("__file__")
    if file is None:
        spec = _spec(name)
        file = None if spec is None else spec.origin
    return Path(file) if file not in (None, "built-in", "frozen", "namespace") else None


def _own_source(name: str) -> Path | None:
    """The file of a user's module or of Torchstone's, which its source tells apart; None for others."""
    origin = _origin(name)
    if origin is None or not origin.is_file():
        return None
    return origin if not is_installed(origin) or name.startswith("torchstone.") else None


def _is_standard(name: str) -> bool:
    origin, top = _origin(name), name.partition(".")[0]
    return top in sys.stdlib_module_names and (origin is None or origin.is_relative_to(sysconfig.get_path("stdlib")))


def _code_of(name: str) -> str | None:
    """A digest of the source of an own module, the version of an installed one; None where there is neither.

    A module whose file has changed since it was first looked at runs code that is no longer there: None too.
    """
    source = _own_source(name)
    if source is not None:
        if source.suffix != ".py":
            return None
        now, module = _sha(source.read_bytes()), sys.modules.get(name)
        return now if module is None or _FIRST_SEEN.setdefault(module, now) == now else None
    top = name.partition(".")[0]
    distributions = _distributions().get(top)
    if distributions:
        return f"{top}=={version(distributions[0])}"
    return ABSENT if _spec(top) is None and top not in sys.modules else None


ABSENT = "absent"  # an optional library that is not there
_RUNTIME = {"__main__", "builtins", "__future__"}
_FIRST_SEEN: weakref.WeakKeyDictionary[types.ModuleType, str] = weakref.WeakKeyDictionary()


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


def _sha(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
