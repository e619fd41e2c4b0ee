"""From what was asked to the cells that answer it, with everything that can be wrong in the asking found first."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from torchstone.harness.cell import Cell, Plan, Progress, Settings
from torchstone.harness.checkpoints import load_checkpoint
from torchstone.harness.environment import environment, resolve_device
from torchstone.harness.errors import BenchError, InputError
from torchstone.harness.loading import build_model, load_data, load_suite
from torchstone.harness.plugins import Component, component, registered
from torchstone.harness.request import FIELD_GROUPS, Request
from torchstone.harness.settings import check_used, resolve
from torchstone.models.checks import require_model
from torchstone.models.model import Model
from torchstone.suites.data.dataset import DataError
from torchstone.suites.suite import Suite

__all__ = ["plan"]


def plan(request: Request, results: Path, fresh: bool, live: Sequence[Model], progress: Progress) -> Plan:
    """Every cell that ``request`` asks for, with ``live`` model objects in place of names where there are any.

    Names, settings, files, devices and checkpoints are looked at here, and each model is built once, so that what was
    typed wrongly ends the run before it begins.

    Raises:
        InputError: for anything that cannot be done as typed.
    """
    load_data.cache_clear()  # files may have changed since they were last read in this process
    suites = [component("suites", name) for name in request.suite]
    data = [component("data", name) for name in request.data]
    models = {suite.spec: [component("models", n) for n in _model_names(request, suite, live)] for suite in suites}
    every = list({model.spec: model for found in models.values() for model in found}.values())
    if request.checkpoint is not None and (len(every) != 1 or live):
        raise InputError(
            f"checkpoint={request.checkpoint}: it belongs to one model that is named; name one, and no other, "
            "with model=…"
        )
    for group, components in zip(FIELD_GROUPS, (suites, every, data), strict=True):
        if overrides := request.fields.get(group):
            check_used(overrides, components)
    device = resolve_device(request.device)
    alone = {suite.spec: load_suite(suite.spec, _settings(suite, request)).fresh_process for suite in suites}
    cells = tuple(
        Cell(
            suite=suite.spec,
            suite_settings=_settings(suite, request),
            model=model,
            model_settings=settings,
            data=dataset.spec,
            data_settings=_settings(dataset, request),
            seed=seed,
            budget=request.budget,
            device=str(device),
            batch_size=request.batch_size,
            checkpoint=request.checkpoint,
            results=results,
            fresh=fresh,
            live=model_object,
            alone=alone[suite.spec],
        )
        for suite, dataset in itertools.product(suites, data)
        for (model, settings, model_object), seed in itertools.product(
            _candidates(models[suite.spec], suite, request, live), request.seed
        )
    )
    _try(cells)
    return Plan(cells, environment(device, request.batch_size, 0))


def _model_names(request: Request, suite: Component, live: Sequence[Model]) -> tuple[str, ...]:
    """The models that are asked for by name, or else those that a suite is meant for."""
    if request.model == ("all",):
        own = (name for name, point in registered("models").items() if point.value.startswith("torchstone."))
        return tuple(name for name in own if component("models", name).following() is None)
    if request.model or live:
        return request.model
    return load_suite(suite.spec, _settings(suite, request)).default_models


def _candidates(
    models: Iterable[Component], suite: Component, request: Request, live: Sequence[Model]
) -> Iterator[tuple[str, Settings, Model | None]]:
    """Every model of a suite with its settings; those that the suite sets itself can be set otherwise."""
    made = suite.factory
    own = made.model_settings if isinstance(made, type) and issubclass(made, Suite) else {}
    for model in models:
        yield model.spec, _settings(model, request, own), None
    for model_object in live:
        yield type(model_object).__name__, (), require_model(model_object)


def _settings(found: Component, request: Request, own: Mapping[str, object] | None = None) -> Settings:
    overrides = {**(own or {}), **request.fields.get(found.argument, {})}
    if found.group == "suites" and request.budget == "standard":
        made = found.factory
        if isinstance(made, type) and issubclass(made, Suite):
            overrides = {**made.standard, **overrides}
    return tuple(resolve(found, overrides).items())


def _try(cells: Iterable[Cell]) -> None:
    """Build every suite, dataset and model once; a model that refuses the data is no mistake."""
    for cell in {(cell.model, cell.model_settings, cell.data, cell.data_settings): cell for cell in cells}.values():
        load_suite(cell.suite, cell.suite_settings)
        try:
            data = load_data(cell.data, cell.data_settings)
        except DataError as error:
            raise InputError(f"data={cell.data}: {error}") from error
        if cell.live is not None:
            continue
        try:
            model = build_model(component("models", cell.model), cell.model_settings, data, cell.seed)
        except BenchError:
            raise
        except Exception as error:
            if component("models", cell.model).path is not None:
                raise InputError(f"model={cell.model}: {error}") from error
            continue  # it refuses the data, or fails: its cell will say so, and the others go on
        if cell.checkpoint is not None:
            load_checkpoint(model, cell.checkpoint)
