"""What was asked for: ``key=value`` arguments, each checked for itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Interval

from torchstone.harness.errors import InputError, nearest
from torchstone.results.record import Record

__all__ = ["BUDGETS", "FIELD_GROUPS", "Request", "convert", "parse", "request", "request_of", "steps_of"]

BUDGETS = {"smoke": 20, "quick": 700, "standard": 7000}
FIELD_GROUPS = ("suite", "model", "data")
_LISTS = ("suite", "model", "data", "seed")


@dataclass(frozen=True, slots=True)
class Request:
    """The arguments of ``bench run`` and ``bench fit``, checked one by one.

    Attributes:
        suite: names of suites.
        model: names of models; empty for the suite's default ones.
        data: names of datasets.
        seed: of training and of every stochastic question.
        budget: smoke, quick or standard, or a number of optimiser steps.
        device: auto, cpu, cuda or another device of torch.
        executor: process (an isolated worker) or inline (this process).
        timeout: seconds that a cell may take.
        batch_size: examples per question, to begin with.
        checkpoint: safetensors file with the weights of the model.
        fields: settings of suites, models and data by group and name, as typed.
    """

    suite: tuple[str, ...] = ("density",)
    model: tuple[str, ...] = ()
    data: tuple[str, ...] = ("digits",)
    seed: tuple[Annotated[int, Interval(ge=0, lt=2**63)], ...] = (0,)
    budget: Literal["smoke", "quick", "standard"] | Annotated[int, Ge(1)] = "quick"
    device: str = "auto"
    executor: Literal["process", "inline"] = "process"
    timeout: Annotated[float, Gt(0)] = 3600.0
    batch_size: Annotated[int, Ge(1)] = 256
    checkpoint: Path | None = None
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def steps_of(budget: str | int) -> int:
    """The optimiser steps of a budget."""
    return budget if isinstance(budget, int) else BUDGETS[budget]


def parse(arguments: Sequence[str]) -> Request:
    """The request that ``key=value`` arguments make. Raises InputError, with the nearest name where one is misspelt.

    >>> parse(["model=vae,rnn", "model.latents=8"]).model
    ('vae', 'rnn')
    """
    names: dict[str, Any] = {}
    fields: dict[str, dict[str, str]] = {group: {} for group in FIELD_GROUPS}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and not value:
            raise InputError(f"{argument!r} says no value; write one behind the sign, or leave {key} out.")
        if not equals:
            raise InputError(f"{argument!r} is no key=value; write for example suite=density, or model.latents=32.")
        group, dot, name = key.partition(".")
        if dot and group not in fields:
            raise InputError(f"{key}: settings begin with suite., model. or data.; {nearest(group, FIELD_GROUPS)}")
        target, name = (fields[group], name) if dot else (names, key)
        if name in target:
            raise InputError(f"{key} is given twice; give it once, with a comma between several values.")
        target[name] = value
    return request(names, fields)


def request(names: Mapping[str, Any], fields: Mapping[str, Mapping[str, Any]]) -> Request:
    """A checked request from names, strings or values, and settings by group."""
    hints = get_type_hints(Request, include_extras=True)
    known = [f.name for f in dataclasses.fields(Request) if f.name != "fields"]
    checked: dict[str, Any] = {}
    for key, value in names.items():
        if key not in known:
            raise InputError(f"{key}={value}: there is no argument {key!r}; {nearest(key, known)}")
        if key in _LISTS and isinstance(value, str):
            value = tuple(value.split(","))
        converted = convert(hints[key], value, key, getattr(Request(), key))
        checked[key] = tuple(dict.fromkeys(converted)) if key in _LISTS else converted
    return Request(**checked, fields=fields)


def convert(annotation: Any, value: Any, name: str, default: Any, of: str | None = None) -> Any:
    """``value`` as ``annotation`` has it; InputError, naming what has the setting (``of``), where it cannot be."""
    from pydantic import TypeAdapter, ValidationError  # a tenth of a second, which `bench --help` need not pay

    if isinstance(value, str) and value.lower() == "none" and type(None) in get_args(annotation):
        return None
    if isinstance(value, str) and get_origin(annotation) is tuple:
        value = tuple(part for part in value.split(",") if part)
    try:
        return TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        wanted = "; or ".join(dict.fromkeys(_lower(detail["msg"]) for detail in error.errors()))
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
        where = "" if of is None else f" of {of}"
        raise InputError(f"{name}={shown}: {wanted}. The default{where} is {name}={_shown(default)}.") from error


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def request_of(record: Record) -> Request:
    """The request that repeats ``record``."""
    settings = record.settings
    names = {
        "suite": record.suite,
        "model": settings["model_spec"],
        "data": settings["data_spec"],
        "seed": (record.seed,),
        "budget": settings["budget"],
        "device": settings["device"],
        "checkpoint": settings["checkpoint"],
        "batch_size": settings["batch_size"],
    }
    return request(names, {group: dict(settings[group]) for group in FIELD_GROUPS})
