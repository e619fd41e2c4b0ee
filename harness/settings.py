"""Settings of suites, models and data: the parameters of their factories, with what was typed put in their place."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from torchstone.harness.errors import InputError, nearest
from torchstone.harness.plugins import Component
from torchstone.harness.request import convert

__all__ = ["check_used", "resolve"]


def resolve(component: Component, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of ``component``: its defaults, and those of ``overrides`` that it has, converted."""
    found = {}
    for name, parameter in component.settings().items():
        found[name] = parameter.default
        if name in overrides:
            annotation = Any if parameter.annotation is inspect.Parameter.empty else parameter.annotation
            label = f"{component.argument}.{name}"
            found[name] = convert(annotation, overrides[name], label, parameter.default, of=component.name)
    return found


def check_used(overrides: Mapping[str, Any], components: Iterable[Component]) -> None:
    """Raise InputError for a setting that none of ``components`` has."""
    components = list(components)
    known = {name: component for component in components for name in component.settings()}
    for name in overrides:
        if name not in known:
            who = ", ".join(dict.fromkeys(component.name for component in components))
            raise InputError(
                f"{components[0].argument}.{name}={overrides[name]}: none of {who} has a setting {name!r}; "
                f"{nearest(name, known)}"
            )
