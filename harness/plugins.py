"""Finding what is named on the command line, loaded when it is named and not before."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeAlias, get_args

from torchstone.harness.errors import InputError, nearest
from torchstone.models.model import Model, family

__all__ = ["Component", "Group", "component", "is_installed", "registered"]

Group: TypeAlias = Literal["models", "suites", "data"]
_SINGULAR: dict[Group, str] = {"models": "model", "suites": "suite", "data": "data"}

# Parameters of factories that the harness fills, and that are therefore no settings.
SUPPLIED = ("space", "source", "path")


@dataclass(frozen=True, slots=True)
class Component:
    """A factory found by name.

    Attributes:
        group: what it makes: models, suites or data.
        spec: what was typed.
        name: what it is called in records.
        factory: makes it.
        path: what followed the colon of ``folder:PATH`` or ``timm:NAME``; None elsewhere.
    """

    group: Group
    spec: str
    name: str
    factory: Callable[..., Any]
    path: str | None = None

    @property
    def argument(self) -> str:
        """The command-line argument that names components of this group."""
        return _SINGULAR[self.group]

    def parameters(self) -> dict[str, inspect.Parameter]:
        """The parameters of the factory, annotations evaluated."""
        try:
            return dict(inspect.signature(self.factory, eval_str=True).parameters)
        except (TypeError, ValueError, NameError) as error:
            raise InputError(
                f"{self.argument}={self.spec}: the signature of its factory cannot be read: {error}."
            ) from error

    def following(self) -> Literal["path", "name"] | None:
        """The parameter that takes what follows the colon of ``folder:PATH`` or ``timm:NAME``; None without one.

        A ``name`` that has a default is a setting like any other.
        """
        parameters = self.parameters()
        if "path" in parameters:
            return "path"
        return "name" if "name" in parameters and parameters["name"].default is inspect.Parameter.empty else None

    def produces(self) -> tuple[type, ...]:
        """The classes that the factory says it makes: itself where it is a class, or those of its return annotation."""
        made = (
            self.factory
            if isinstance(self.factory, type)
            else inspect.signature(self.factory, eval_str=True).return_annotation
        )
        return tuple(
            cls for cls in (get_args(made) or (made,)) if isinstance(cls, type) and cls is not inspect.Signature.empty
        )

    def family(self) -> str:
        """The taxonomy family of what the factory makes, ``unknown`` where it does not say."""
        made = self.produces()
        return family(made[0]) if made and issubclass(made[0], Model) else "unknown"

    def settings(self) -> dict[str, inspect.Parameter]:
        """The parameters that are settings: those with defaults that the harness does not fill itself."""
        return {
            name: parameter
            for name, parameter in self.parameters().items()
            if name not in SUPPLIED and parameter.default is not inspect.Parameter.empty
        }


def registered(group: Group) -> dict[str, EntryPoint]:
    """The entry points of ``group`` by name; nothing is imported."""
    return {
        point.name: point for point in sorted(entry_points(group=f"torchstone.{group}"), key=lambda point: point.name)
    }


def component(group: Group, spec: str) -> Component:
    """What ``spec`` names.

    A registered name, ``folder:PATH``, ``timm:NAME``, ``package.module:factory`` or ``file.py:factory``.

    Raises:
        InputError: where there is no such thing, or it cannot be imported.
    """
    points = registered(group)
    head, colon, tail = spec.partition(":")
    if not colon and spec in points:
        return Component(group, spec, spec, _load(points[spec], group, spec))
    if colon and group != "suites" and head in points:
        found = Component(group, spec, head, _load(points[head], group, spec), path=tail)
        if group == "data" or found.following() is not None:
            return found
    if colon and not tail.startswith("\\"):
        path, _, factory = spec.rpartition(":")
        module = _import_file(path, group, spec) if path.endswith(".py") else _import_module(path, group, spec)
        return Component(group, spec, f"{Path(path).name}:{factory}", _attribute(module, factory, group, spec))
    raise InputError(
        f"{_SINGULAR[group]}={spec}: there is no {_SINGULAR[group]} of that name; {nearest(spec, points)} "
        f"Your own is named as package.module:factory or path/to/file.py:factory; `bench list {group}` shows "
        "those there are."
    )


def is_installed(file: Path) -> bool:
    """Whether ``file`` is of an installed library or of Python's own, rather than somebody's source."""
    return bool({"site-packages", "dist-packages"} & set(file.parts)) or file.is_relative_to(
        sysconfig.get_path("stdlib")
    )


def _load(point: EntryPoint, group: Group, spec: str) -> Callable[..., Any]:
    try:
        factory = point.load()
    except Exception as error:
        package = point.dist.name if point.dist is not None else "an unknown package"
        raise InputError(
            f"{_SINGULAR[group]}={spec}: the plug-in {point.name!r} of {package} ({point.value}) cannot be loaded: "
            f"{type(error).__name__}: {error}. Reinstall or remove {package}."
        ) from error
    return _callable(factory, group, spec)


def _import_file(path: str, group: Group, spec: str) -> ModuleType:
    file = Path(path)
    if not file.is_file():
        raise InputError(
            f"{_SINGULAR[group]}={spec}: there is no file {path}; give the path of a Python file that has the factory."
        )
    location = importlib.util.spec_from_file_location(file.stem, file.resolve())
    assert location is not None and location.loader is not None
    module = importlib.util.module_from_spec(location)
    _forget_neighbours(file.resolve().parent)
    sys.modules[file.stem] = module
    sys.dont_write_bytecode = True  # bytecode is told apart by the second, and a file may be edited within one
    folder = str(file.resolve().parent)
    sys.path[:] = [folder, *(place for place in sys.path if place != folder)]  # also for what it imports later
    try:
        location.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(file.stem, None)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise InputError(f"{_SINGULAR[group]}={spec}: {path} cannot be imported: {_cause(error)}.") from error
    return module


def _forget_neighbours(folder: Path) -> None:
    """Let the files beside a model be imported anew: as they are now, and not those of the same names elsewhere."""
    for neighbour in folder.glob("*.py"):
        known = sys.modules.get(neighbour.stem)
        origin = None if known is None else vars(known).get("__file__")
        if origin is not None and not any(
            Path(origin).is_relative_to(sysconfig.get_path(p)) for p in ("purelib", "stdlib")
        ):
            del sys.modules[neighbour.stem]
    importlib.invalidate_caches()


def _import_module(name: str, group: Group, spec: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        hint = f" {nearest(name, registered(group))}" if isinstance(error, ModuleNotFoundError) else ""
        raise InputError(
            f"{_SINGULAR[group]}={spec}: the module {name} cannot be imported: {_cause(error)}.{hint}"
        ) from error


def _cause(error: BaseException) -> str:
    """The error in words, with the innermost line that is not of the import system."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while line is None and trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if line is None and trace is not None and "importlib" not in trace.tb_frame.f_code.co_filename:
        line = trace.tb_lineno
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {message}" + (f" (line {line})" if line is not None else "")


def _attribute(module: ModuleType, name: str, group: Group, spec: str) -> Callable[..., Any]:
    if name not in vars(module):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise InputError(f"{_SINGULAR[group]}={spec}: {module.__name__} has no {name!r}; {nearest(name, public)}")
    return _callable(vars(module)[name], group, spec)


def _callable(factory: object, group: Group, spec: str) -> Callable[..., Any]:
    if not callable(factory):
        raise InputError(
            f"{_SINGULAR[group]}={spec}: it names a {type(factory).__name__}, not a factory; "
            "name a class, or a function that returns what is to be measured."
        )
    return factory
