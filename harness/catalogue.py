"""What there is to run: models, suites, data and metrics, with their families, capabilities and settings."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from torchstone.harness.errors import InputError
from torchstone.harness.plugins import Component, Group, component, registered
from torchstone.models.model import Model, capabilities
from torchstone.suites.suite import Suite

__all__ = ["catalogue"]

WIDTH = 100

Entry = dict[str, Any]


def catalogue(what: str | None, form: str) -> str:
    """Everything that is registered, or only its models, suites, data or metrics; ``form`` is markdown or json."""
    makers: Mapping[str, Callable[[], list[Entry]]] = {
        "models": _models,
        "suites": _suites,
        "data": _data,
        "metrics": _metrics,
    }
    entries = {name: make() for name, make in makers.items() if what in (None, name)}
    if form == "json":
        return json.dumps(entries, indent=1, ensure_ascii=False)
    return "\n\n".join(f"## {name}\n\n" + "\n".join(map(_text, found)) for name, found in entries.items())


def _entries(group: Group, facts: Callable[[Component], Entry]) -> list[Entry]:
    """What is registered; a plug-in that cannot be loaded says so in its place, and the others are shown."""
    entries = []
    for name in registered(group):
        try:
            found = component(group, name)
            entries.append({"name": name, "summary": _summary(found), **facts(found), "settings": _settings(found)})
        except InputError as error:
            entries.append({"name": name, "summary": str(error)})
    return entries


def _models() -> list[Entry]:
    def facts(found: Component) -> Entry:
        made = [cls for cls in found.produces() if issubclass(cls, Model)]
        return {"family": found.family(), "capabilities": capabilities(made[0]) if made else ()}

    return _entries("models", facts)


def _suites() -> list[Entry]:
    return _entries(
        "suites", lambda found: {"version": _suite(found).version, "default_models": _suite(found).default_models}
    )


def _data() -> list[Entry]:
    return _entries("data", lambda found: {"needs": found.following()} if found.following() else {})


def _metrics() -> list[Entry]:
    suites = [_suite(component("suites", name)) for name in registered("suites")]
    return [
        {"name": name, "summary": text, "suite": suite.name} for suite in suites for name, text in suite.metrics.items()
    ]


def _suite(found: Component) -> type[Suite]:
    made = found.produces()
    if not made or not issubclass(made[0], Suite):
        raise InputError(f"suite={found.name}: its factory is no Suite class; name one in its entry point.")
    return made[0]


def _settings(found: Component) -> dict[str, Any]:
    return {
        name: str(p.default) if not isinstance(p.default, int | float | None) else p.default
        for name, p in found.settings().items()
    }


def _summary(found: Component) -> str:
    lines = (inspect.getdoc(found.factory) or "").splitlines()
    return lines[0] if lines else ""


def _text(entry: Entry) -> str:
    """An entry as a Markdown list item of at most a hundred columns."""
    details = {key: value for key, value in entry.items() if key not in ("name", "summary", "settings")}
    lines = [f"- **{entry['name']}** {entry['summary']}"]
    lines += [
        f"  {key}: {', '.join(value) if isinstance(value, tuple) else value}"
        for key, value in details.items()
        if value not in ((), None)
    ]
    if entry.get("settings"):
        lines.append("  settings: " + ", ".join(f"{name}={_shown(value)}" for name, value in entry["settings"].items()))
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="    ", break_on_hyphens=False) for line in lines)


def _shown(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
