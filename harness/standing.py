"""Whether a record still says what a run would say now: of the suite's version, the model's source and the data.

The versions of installed libraries and of Python play no part: an upgrade makes no published number wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from torchstone.harness.cell import Cell, Settings
from torchstone.harness.code import code_digest, source_digest
from torchstone.harness.errors import BenchError
from torchstone.harness.loading import build_model, load_data, load_suite
from torchstone.harness.plugins import component
from torchstone.harness.settings import resolve
from torchstone.models.model import ModelError
from torchstone.results.record import Record, RecordError, Status

__all__ = ["SOURCE", "answers", "signed", "stale"]

SOURCE = "source"  # the fingerprint of a model's own source, which published records carry beside the others


def stale(record: Record) -> str | None:
    """Why a published record no longer stands, in a sentence without its subject; None where it does."""
    if record.status is Status.FAILED:
        return "tells of a failure"
    try:
        now = _Now(record)
    except BenchError as error:
        return f"cannot be made any more: {error}"
    if record.suite_version != now.suite.version:
        return f"is of version {record.suite_version} of {record.suite}, which is now at {now.suite.version}"
    if record.fingerprints.get("data") != now.data.fingerprint:
        return f"is of other data than {record.dataset} has now"
    if record.status is Status.SKIPPED:
        return None if record.reason == now.refusal() else "was skipped for a reason that is no longer given"
    if SOURCE not in record.fingerprints:
        return "does not say of which source its model was"
    return None if record.fingerprints[SOURCE] == now.source() else f"is of a source that {record.model} no longer has"


def signed(record: Record) -> Record:
    """``record`` with the fingerprint of its model's source, once it is known to have been made by what is here now.

    Raises:
        RecordError: it was made with other code or other libraries, so that its source cannot be told from here.
    """
    if record.status is not Status.COMPLETED:
        return record
    now = _Now(record)
    source = now.source()
    if source is None or record.fingerprints.get("code") != now.code():
        raise RecordError(f"{record.id}: it was made with other code than is here; make it anew")
    return replace(record, fingerprints={**record.fingerprints, SOURCE: source})


def answers(record: Record, cell: Cell) -> bool:
    """Whether ``record`` is of what ``cell`` asks for, wherever and however fast it was computed."""
    asked = cell.settings()
    same = all(record.settings.get(name) == _plain(asked[name]) for name in _ASKED)
    return same and (record.suite, record.seed) == (cell.suite, cell.seed)


_ASKED = ("suite", "model", "data", "model_spec", "data_spec", "budget", "steps", "checkpoint")


class _Now:
    """The suite, the data and the model of a record as they are now."""

    def __init__(self, record: Record) -> None:
        settings = record.settings
        self.suite = load_suite(record.suite, _resolved("suites", record.suite, settings["suite"]))
        self.spec, self.seed = settings["model_spec"], record.seed
        self.settings = _resolved("models", self.spec, settings["model"])
        self.place = settings["data_spec"], _resolved("data", settings["data_spec"], settings["data"])
        self.data = load_data(*self.place)

    def refusal(self) -> str | None:
        """Why the suite would skip the model, if it would."""
        try:
            return self.suite.skip(build_model(component("models", self.spec), self.settings, self.data, 0), self.data)
        except ModelError as error:
            return str(error)

    def source(self) -> str | None:
        """The digest of the model's own source."""
        return _digests(self.spec, self.settings, *self.place)[0]

    def code(self) -> str | None:
        """The digest of its code, libraries included."""
        return _digests(self.spec, self.settings, *self.place)[1]


@lru_cache(maxsize=256)  # those of the seeds of a model are the same
def _digests(spec: str, settings: Settings, data: str, data_settings: Settings) -> tuple[str | None, str | None]:
    found = component("models", spec)
    model = build_model(found, settings, load_data(data, data_settings), 0)
    return source_digest(found.factory, model), code_digest(found.factory, model)


def _resolved(group: Any, spec: str, settings: Mapping[str, Any]) -> Settings:
    return tuple(resolve(component(group, spec), dict(settings)).items())


def _plain(value: Any) -> Any:
    """What JSON makes of ``value``."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
