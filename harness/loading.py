"""Data, suite and model by name: what a cell is made of before anything of it runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from torchstone.harness.cell import Settings
from torchstone.harness.errors import InputError
from torchstone.harness.plugins import Component, component
from torchstone.models.checks import require_model
from torchstone.models.model import Model, ModelError
from torchstone.models.randomness import generator, seeded
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.suite import Suite

__all__ = ["build_model", "load_data", "load_suite", "shown_columns"]


@lru_cache(maxsize=2)
def load_data(spec: str, settings: Settings) -> Dataset:
    """The dataset that ``spec`` names. Raises DataError or InputError where it cannot be had."""
    found = component("data", spec)
    data = found.factory(**_followed(found), **dict(settings))
    if not isinstance(data, Dataset):
        raise InputError(
            f"data={spec}: its factory returned a {type(data).__name__}; return a torchstone.suites.data.Dataset."
        )
    return data


def load_suite(name: str, settings: Settings) -> Suite:
    """The suite that ``name`` names. Raises InputError where it is none."""
    suite = component("suites", name).factory(**dict(settings))
    if not isinstance(suite, Suite):
        raise InputError(
            f"suite={name}: its factory returned a {type(suite).__name__}; return a torchstone.suites.Suite."
        )
    return suite


def shown_columns(specs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """By the name of each suite that is shown in part: the metrics, or columns, that it shows."""
    made = [component("suites", spec).factory for spec in specs]
    return {each.name: each.shown for each in made if isinstance(each, type) and issubclass(each, Suite) and each.shown}


def build_model(found: Component, settings: Settings, data: Dataset, seed: int) -> Model:
    """A model for ``data``, its first weights drawn by ``seed``.

    Raises:
        ModelError: where the model cannot be had for these data.
        InputError: where its factory returns no model.
    """
    parameters = found.parameters()
    supplied: dict[str, Any] = _followed(found)
    if "space" in parameters:
        supplied["space"] = data.space
    if "source" in parameters:
        if data.source is None:
            raise ModelError(
                f"{found.name} needs a dataset whose true density is known, and that of {data.name} is not; "
                "try data=markov."
            )
        supplied["source"] = data.source
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and name not in supplied
    ]
    if missing:
        raise InputError(f"model={found.spec}: its parameter {missing[0]!r} has no default; give it one.")
    with seeded(generator(seed, "initialisation")):
        made = found.factory(**supplied, **dict(settings))
    try:
        return require_model(made)
    except ModelError as error:
        raise InputError(f"model={found.spec}: its factory returned no model. {error}") from error


def _followed(found: Component) -> dict[str, Any]:
    """What the colon of ``folder:PATH`` or ``timm:NAME`` is followed by, for a factory that takes it."""
    takes = found.following()
    if takes is not None and not found.path:
        raise InputError(
            f"{found.argument}={found.spec}: it needs a {takes}; write {found.argument}={found.name}:{takes.upper()}."
        )
    if takes is None and found.path is not None:
        raise InputError(
            f"{found.argument}={found.spec}: {found.name} takes no path; write {found.argument}={found.name}."
        )
    return {} if takes is None else {takes: Path(str(found.path)) if takes == "path" else found.path}
