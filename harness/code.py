"""The code that a model runs, by content: by definitions in Torchstone's own modules, by modules elsewhere.

A change of one reference model, or of a promise that a model does not make, leaves what others gave before reusable.
"""

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
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any, NamedTuple, final

import torch

from torchstone.harness.plugins import is_installed

__all__ = ["code_digest", "source_digest"]

OWN = "torchstone."
ABSENT = "absent"  # an optional library that is not there
_RUNTIME = {"__main__", "builtins", "__future__"}
_FIRST_SEEN: weakref.WeakKeyDictionary[types.ModuleType, str] = weakref.WeakKeyDictionary()


class Piece(NamedTuple):
    """A top-level name of one of Torchstone's modules; without a name, all of a module."""

    module: str
    name: str = ""


def code_digest(factory: Callable[..., Any], model: object) -> str | None:
    """sha256 over the code that ``model`` runs; None where some of its source cannot be had, and nothing may be reused.

    It covers the source of what defines the factory, the classes of the model and of everything inside it, and of all
    that these use in turn; for installed libraries their version stands for their source. Of Torchstone's own modules,
    which do nothing when they are imported, only the definitions that are used count, and of others all.
    """
    facts = _code_facts(factory, model)
    return None if facts is None else _sha("\n".join(f"{' '.join(piece)} {fact}" for piece, fact in facts.items()))


def source_digest(factory: Callable[..., Any], model: object) -> str | None:
    """The same without the installed libraries: it stays what it is when they, or Python, are upgraded."""
    facts = _code_facts(factory, model)
    if facts is None:
        return None
    own = (f"{' '.join(piece)} {fact}" for piece, fact in facts.items() if _own_source(piece.module) is not None)
    return _sha("\n".join(own))


def _code_facts(factory: Callable[..., Any], model: object) -> dict[Piece, str] | None:
    """Of each piece that ``model`` runs a digest of its source or a version; None where one has neither."""
    roots = {_piece(factory)} | {_piece(cls) for part in _parts(model) for cls in type(part).__mro__}
    if any(piece.module == "__main__" for piece in roots):
        return None
    facts: dict[Piece, str] = {}
    for piece in sorted(_used(roots)):
        fact = _code_of(piece)
        if fact is None or (fact == ABSENT and piece in roots):
            return None
        facts[piece] = fact
    return facts


def _piece(definition: Callable[..., Any]) -> Piece:
    module: str = definition.__module__
    return Piece(module, definition.__qualname__.partition(".")[0]) if module.startswith(OWN) else Piece(module)


def _parts(model: object) -> Iterable[object]:
    return model.modules() if isinstance(model, torch.nn.Module) else (model,)


def _used(roots: Iterable[Piece]) -> set[Piece]:
    """``roots`` and all that they use, in functions too, as far as it is not installed."""
    found: set[Piece] = set()
    waiting = list(roots)
    while waiting:
        piece = waiting.pop()
        if piece in found or piece.module in _RUNTIME:
            continue
        source = _own_source(piece.module)
        if source is None and _is_standard(piece.module):
            continue
        found.add(piece)
        if source is not None:
            waiting.extend(_uses(piece, source))
    return found


def _uses(piece: Piece, source: Path) -> Iterator[Piece]:
    text = source.read_text(encoding="utf-8")
    if not piece.name:
        yield from _imported(ast.parse(text), piece.module, source)
        return
    outline = _outline(text)
    for statement in outline.of(piece.name):
        yield from _imported(statement, piece.module, source, piece.name)
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and node.id in outline.bound and node.id != piece.name:
                yield Piece(piece.module, node.id)


def _imported(tree: ast.AST, module: str, source: Path, name: str = "") -> Iterator[Piece]:
    """What ``tree`` imports, anywhere in it; where a statement binds several names, only what stands for ``name``."""
    package = module if source.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Piece(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(base, package) if node.level else base
            for alias in node.names:
                if node is not tree or not name or name in _names(alias):
                    yield from _from(base, alias.name)


def _from(base: str, name: str) -> Iterator[Piece]:
    """What ``from base import name`` brings in: a module, a definition of Torchstone's, or all of ``base``."""
    if _spec(f"{base}.{name}") is not None:
        yield Piece(f"{base}.{name}")
        if not base.startswith(OWN):
            yield Piece(base)
    elif base.startswith(OWN) and name != "*":
        yield Piece(base, name)
    else:
        yield Piece(base)


@final
@dataclass(frozen=True, slots=True)
class _Outline:
    """The top-level statements of a module, by the names that they bind; ``loose`` ones count with every name."""

    lines: tuple[str, ...]
    bound: Mapping[str, tuple[ast.stmt, ...]]
    loose: tuple[ast.stmt, ...]

    def of(self, name: str) -> tuple[ast.stmt, ...]:
        """What defines ``name``, and what the module does besides."""
        return (*self.bound.get(name, ()), *self.loose)

    def text(self, name: str) -> str:
        """The source of the same: decorators included, and of an import what it says of ``name``."""
        return "\n".join(self._source(statement, name) for statement in self.of(name))

    def _source(self, statement: ast.stmt, name: str) -> str:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            origin = "" if isinstance(statement, ast.Import) else f"{'.' * statement.level}{statement.module}"
            return "\n".join(f"{origin} {a.name} as {a.asname}" for a in statement.names if name in _names(a))
        first = min([statement.lineno, *(decorator.lineno for decorator in _decorators(statement))])
        return "\n".join(self.lines[first - 1 : statement.end_lineno])


@functools.lru_cache(maxsize=64)
def _outline(text: str) -> _Outline:
    bound: dict[str, tuple[ast.stmt, ...]] = {}
    loose: list[ast.stmt] = []
    for statement in ast.parse(text).body:
        names = list(_binds(statement))
        if not names and not _says_nothing(statement):
            loose.append(statement)
        for name in names:
            bound[name] = (*bound.get(name, ()), statement)
    return _Outline(tuple(text.splitlines()), bound, tuple(loose))


def _binds(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
            yield name
        case ast.Import(names) | ast.ImportFrom(_, names):
            yield from (name for alias in names for name in _names(alias))
        case ast.Assign() | ast.AnnAssign():
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            plain = [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
            if all(isinstance(target, ast.Name | ast.Tuple) for target in targets):
                yield from plain


def _names(alias: ast.alias) -> tuple[str]:
    """The name that an import binds."""
    return (alias.asname or alias.name.partition(".")[0],)


def _says_nothing(statement: ast.stmt) -> bool:
    """Whether it is a docstring."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _decorators(statement: ast.stmt) -> list[ast.expr]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return statement.decorator_list
    return []


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
    return origin if not is_installed(origin) or name.startswith(OWN) else None


def _is_standard(name: str) -> bool:
    origin, top = _origin(name), name.partition(".")[0]
    return top in sys.stdlib_module_names and (origin is None or origin.is_relative_to(sysconfig.get_path("stdlib")))


def _code_of(piece: Piece) -> str | None:
    """A digest of the source of an own piece, the version of an installed module; None where there is neither.

    A module whose file has changed since it was first looked at runs code that is no longer there: None too.
    """
    source = _own_source(piece.module)
    if source is not None:
        if source.suffix != ".py":
            return None
        content, module = source.read_bytes(), sys.modules.get(piece.module)
        now = _sha(content)
        if module is not None and _FIRST_SEEN.setdefault(module, now) != now:
            return None
        return _sha(_outline(content.decode()).text(piece.name)) if piece.name else now
    top = piece.module.partition(".")[0]
    distributions = _distributions().get(top)
    if distributions:
        return f"{top}=={version(distributions[0])}"
    return ABSENT if _spec(top) is None and top not in sys.modules else None


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def _sha(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
