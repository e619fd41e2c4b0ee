"""Doing the work of a cell: data, model, weights, evaluation, record."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from torchstone.harness.cell import Cell, Outcome, Progress, Settings, display_name, plain
from torchstone.harness.checkpoints import load_checkpoint, save_checkpoint
from torchstone.harness.code import code_digest
from torchstone.harness.environment import environment, resolve_device
from torchstone.harness.errors import BenchError, CellError, InputError
from torchstone.harness.fitting import fit, fit_key, fitted
from torchstone.harness.identity import path_digest, state_digest, weights_digest
from torchstone.harness.loading import build_model, load_data, load_suite
from torchstone.harness.plugins import component
from torchstone.harness.request import steps_of
from torchstone.models.model import Model, ModelError, Trainable, family
from torchstone.models.randomness import seeded
from torchstone.results.record import Environment, Record, RecordError, Status, digest
from torchstone.results.store import Store
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import DataError
from torchstone.suites.features.extractor import ExtractorError
from torchstone.suites.suite import Evaluation

__all__ = ["failed", "fit_cell", "ready_cell", "run_cell"]


LONGEST = 300  # characters of an error's message that a reason quotes


def run_cell(cell: Cell, progress: Progress) -> Outcome:
    """Run one cell, or find what it gave before, and keep its record.

    What the adapter raises makes the record ``failed``; a record that cannot be kept raises RecordError.
    """
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    store, run = Store(cell.results), _Run(cell, progress)
    arrays: Mapping[str, Any] | None = None
    figures: Mapping[str, bytes] = {}
    warnings: tuple[str, ...] = ()
    try:
        reason = run.prepare()
        if not cell.fresh and run.identity is not None and run.suite.reusable:
            known = store.find(run.identity)
            if known is not None:
                return Outcome(known, found=True)
        if reason is not None:
            facts: dict[str, Any] = {"status": Status.SKIPPED, "reason": reason}
        else:
            evaluation = run.evaluate()
            arrays = {"id": evaluation.ids, **evaluation.columns} if evaluation.columns else None
            figures, warnings = evaluation.figures, evaluation.warnings
            facts = {
                "status": Status.COMPLETED,
                "reason": " ".join(warnings),
                "scores": evaluation.scores,
                "contract": evaluation.contract,
                "audits": evaluation.audits,
            }
    except (BenchError, RecordError):
        raise
    except Exception as error:
        facts = {"status": Status.FAILED, "reason": _reason(error)}
    record = run.record(started, time.perf_counter() - clock, facts)
    return Outcome(store.write(record, arrays, figures), warnings=warnings)


def ready_cell(cell: Cell, progress: Progress) -> None:
    """Fit the model of a cell where it is to be fitted, and keep its weights, so that another process finds them.

    What goes wrong is said by the cell itself, when it runs.
    """
    run = _Run(cell, progress)
    with contextlib.suppress(Exception):
        if run.prepare() is None:
            run.fit()


def fit_cell(cell: Cell, output: Path | None, progress: Progress) -> str:
    """Fit the model of a cell and keep its weights, also in ``output`` where it is given; a sentence that says so.

    Raises:
        InputError: where the model cannot be fitted on these data.
        CellError: where it fails at it.
    """
    run = _Run(cell, progress)
    clock = time.perf_counter()
    reason = run.prepare()
    if reason is None and not isinstance(run.model, Trainable):
        reason = f"{type(run.model).__name__} promises no fit; subclass torchstone.models.Trainable."
    if reason is not None:
        raise InputError(f"model={cell.model}: {reason}")
    try:
        found = run.fit()
    except (BenchError, RecordError):
        raise
    except Exception as error:
        raise CellError(f"model={cell.model}: it could not be fitted: {_reason(error)}") from error
    if output is not None:
        save_checkpoint(
            run.model, output, {"model": cell.model, "data": run.data.fingerprint, "budget": str(cell.budget)}
        )
    how = "was fitted before" if found else f"was fitted in {time.perf_counter() - clock:.1f} s"
    where = output or (cell.results / "fits" / f"{run.key}.safetensors" if run.key else None)
    return f"{cell.model} on {run.data.name}, seed {cell.seed}, {how}" + (
        f"; weights in {where}" if where else "; its weights were not kept"
    )


class _Run:
    """A cell on its way: what has been made so far, and what is known of it."""

    def __init__(self, cell: Cell, progress: Progress) -> None:
        self.cell, self.progress = cell, progress
        self.device = resolve_device(cell.device)
        self.context = Context(
            device=self.device,
            batch_size=cell.batch_size,
            seed=cell.seed,
            progress=progress,
            alone=cell.alone,
            fitted=cell.live is None and cell.checkpoint is None,
            cache=cell.results / "features",
        )
        self.fingerprints: dict[str, str] = {}
        self.names = {"model": display_name(cell.model), "dataset": display_name(cell.data), "family": "unknown"}
        self.identity: str | None = None
        self.state: str | None = None
        self.key: str | None = None

    def prepare(self) -> str | None:
        """Load the data, build the model, and find the identity; a sentence where the pair is impossible."""
        cell = self.cell
        self.data = load_data(cell.data, cell.data_settings)
        self.fingerprints["data"] = self.data.fingerprint
        self.names["dataset"] = self.data.name
        self.suite = load_suite(cell.suite, cell.suite_settings)
        if self.suite.about_labels and self.data.space.classes is None and cell.live is None:
            self._identify_refused()
            return f"{self.data.name} has no labels, and suite={cell.suite} is about them; choose such as data=digits."
        try:
            self.model = self._build() if cell.live is None else cell.live
        except ModelError as error:
            self._identify_refused()
            return str(error)
        self.names["family"] = family(self.model)
        if isinstance(self.model, torch.nn.Module):
            self.model.to(self.device).eval()
        if cell.checkpoint is not None:
            load_checkpoint(self.model, cell.checkpoint)
        self._identify()
        return self.suite.skip(self.model, self.data)

    def _build(self) -> Model:
        cell = self.cell
        return build_model(component("models", cell.model), cell.model_settings, self.data, cell.seed)

    def fit(self) -> bool:
        """Fit the model where it is to be fitted, or load it; whether it had been fitted before."""
        model, cell = self.model, self.cell
        if not isinstance(model, Trainable) or cell.checkpoint is not None or cell.live is not None:
            return False
        refit = partial(fit, model, self.data, steps_of(cell.budget), cell.seed, self.progress)
        return fitted(model, self.key, cell.results / "fits", refit, self._build)

    def evaluate(self) -> Evaluation:
        """Fit the model, and ask the suite."""
        known = self.fit()
        if isinstance(self.model, Trainable) and not known and self.cell.live is None and self.cell.checkpoint is None:
            self.context.alone = False  # it was fitted in this very process
        self.fingerprints["weights"] = weights_digest(self.model)
        with seeded(self.context.rng("evaluate/global")):
            return self.suite.evaluate(self.model, self.data, self.context)

    def _identify(self) -> None:
        """Find the identity by content: None, and nothing reused, for live objects and for what has no digest."""
        cell, factory = self.cell, type(self.model) if self.cell.live else component("models", self.cell.model).factory
        code = code_digest(factory, self.model)
        state = self.state = state_digest(self.model)
        if code is not None:
            self.fingerprints["code"] = code
        if cell.live is not None or code is None or state is None:
            return
        content = state
        if isinstance(self.model, Trainable) and cell.checkpoint is None:
            content = self.key = fit_key(
                [state, plain(cell.model_settings)],
                code,
                self._data_facts(),
                steps_of(cell.budget),
                cell.seed,
                self.device,
            )
        self.identity = self._identity_of(content, code)

    def _identify_refused(self) -> None:
        """Identity of a model that its factory would not build for these data: the factory's code and settings."""
        found = component("models", self.cell.model)
        self.names["family"] = found.family()
        code = code_digest(found.factory, None)
        if code is not None and found.path is None:  # what lies under a path may change
            self.identity = self._identity_of([found.name, plain(self.cell.model_settings)], code)

    def _data_facts(self) -> list[Any]:
        """All of the data that a number depends on: every byte, and what the bytes are said to be."""
        data = self.data
        return [data.fingerprint, repr(data.space), data.text, dict(data.variant), data.source and data.source.entropy]

    def _identity_of(self, model: str | list[Any], code: str) -> str:
        cell = self.cell
        return digest(
            {
                "suite": cell.suite,
                "version": self.suite.version,
                "settings": {**plain(cell.suite_settings), **_contents(cell.suite_settings)},
                "data": self._data_facts(),
                "model": [model, plain(cell.model_settings)],
                "code": code,
                "seed": cell.seed,
                **({} if self.suite.reusable else {"machine": self._machine()}),
            }
        )

    def _machine(self) -> list[Any]:
        """What sets two measurements of one thing apart where it is a speed: a newer one replaces none of another."""
        now = environment(self.device, self.context.batch_size, 0)
        return [now.device_name, now.threads, now.versions["torch"], now.matmul_precision, self.cell.alone]

    def record(self, started: str, seconds: float, facts: Mapping[str, Any]) -> Record:
        """The record of this cell; without an identity of content it gets one that nothing else has."""
        base = _blank(
            self.cell, started, seconds, environment(self.device, self.context.batch_size, self.context.halvings)
        )
        settings = dict(base.settings)
        if self.cell.live is not None or self.cell.checkpoint is not None:
            settings["state"] = (self.state or base.identity)[:12]  # two of one class are two models
        return replace(
            base,
            identity=self.identity or base.identity,
            settings=settings,
            model=self.names["model"],
            dataset=self.names["dataset"],
            family=self.names["family"],
            fingerprints=self.fingerprints,
            **facts,
        )


def failed(cell: Cell, reason: str, machine: Environment, started: str, seconds: float) -> Record:
    """The record of a cell whose worker did not live to write it."""
    return replace(_blank(cell, started, seconds, machine), status=Status.FAILED, reason=reason)


def _blank(cell: Cell, started: str, seconds: float, machine: Environment) -> Record:
    settings = cell.settings()
    return Record(
        identity=hashlib.sha256(json.dumps([cell.label, settings, started, seconds], default=str).encode()).hexdigest(),
        suite=cell.suite,
        suite_version=load_suite(cell.suite, cell.suite_settings).version,
        model=display_name(cell.model),
        family="unknown",
        dataset=display_name(cell.data),
        seed=cell.seed,
        settings=settings,
        contract={},
        status=Status.FAILED,
        reason="",
        scores=(),
        environment=machine,
        started=started,
        seconds=round(seconds, 3),
        fingerprints={},
    )


def _contents(settings: Settings) -> dict[str, str]:
    """A digest of what lies under each path of ``settings``: a file, or all files of a folder."""
    return {name: path_digest(value) for name, value in settings if isinstance(value, Path)}


def _reason(error: Exception) -> str:
    """An exception in one sentence, with the place in the adapter where it arose."""
    message = " ".join(str(error).split()) or "no message"
    if isinstance(error, ModelError | DataError | ExtractorError):
        return message
    if len(message) > LONGEST:
        message = f"{message[:LONGEST]} …"  # torch shows whole tensors
    frame = traceback.extract_tb(error.__traceback__)[-1]
    own = [f for f in traceback.extract_tb(error.__traceback__) if "site-packages" not in f.filename]
    frame = own[-1] if own else frame
    return f"{type(error).__name__}: {message} (in {frame.name}, {Path(frame.filename).name} line {frame.lineno})."
