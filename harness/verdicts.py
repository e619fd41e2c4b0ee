"""Comparing and gating from Python, and what the words on the command line mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torchstone.harness.errors import InputError, nearest
from torchstone.harness.options import check_results
from torchstone.results.record import Record, RecordError
from torchstone.results.store import Store
from torchstone.results.text.numbers import shortened

if TYPE_CHECKING:
    from torchstone.results.comparison.compare import Comparison
    from torchstone.results.gate.findings import Gate
    from torchstone.results.reading.sources import Source

__all__ = ["PUBLISHED", "check", "compare"]

PUBLISHED = "published"  # the records that ship with the package
SHOWN = 3  # reasons that a message gives


def compare(
    a: str | Path | Store | Record | Sequence[Record],
    b: str | Path | Store | Record | Sequence[Record],
    *,
    results: str | Path | Store = "bench-results",
) -> Comparison:
    """Compare two models, records or stores, example by example where both kept their per-example values.

    A model or record is compared with every model of a store, and two stores model by model, by name and settings.

    Args:
        a: name of a model in ``results``; path, id or beginning of the id of a record; records; a store or its folder;
            or ``"published"``, the records that ship with the package. A model comes before a folder of its name, which
            can be written ``./NAME``.
        b: another.
        results: the store in which names, ids and records are looked up.

    Raises:
        InputError: one of the two is not there, or they have nothing in common.
        RecordError: a record or a folder cannot be read.
    """
    from torchstone.results.comparison.compare import compare as side_by_side

    store = _store(results)
    (first, whole), (second, also) = _resolved(a, store, "A"), _resolved(b, store, "B")
    found = side_by_side(first, second, by_name=whole and also)
    if not found.rows:
        raise InputError(
            f"compare: {first.name} and {second.name} have no {'model' if whole and also else 'suite and dataset'} in "
            f"common; the first has {_contents(first)}, the second {_contents(second)}."
        )
    return found


def check(
    baseline: str | Path | Store,
    *,
    results: str | Path | Store = "bench-results",
    records: Sequence[Record] | None = None,
    model: str | Sequence[str] = (),
    margins: Mapping[str, float | str] | None = None,
    alpha: float = 0.01,
) -> Gate:
    """Judge whether models became worse than a baseline, beyond a margin and beyond the noise.

    Args:
        baseline: a store or its folder, or ``"published"``.
        results: the store of what is judged.
        records: records of ``results`` that are judged, such as `run` gave them; None for the latest of all.
        model: names of the models that are judged; none for all.
        margins: by metric how much worse it may be, in its unit, or as a percentage such as ``"10%"`` of the baseline.
        alpha: the chance of any false alarm, at most.

    Raises:
        InputError: there is no usable baseline, nothing could be compared, or an argument is not as it should be.
        RecordError: a folder cannot be read.
    """
    from torchstone.results.gate.judging import gate
    from torchstone.results.gate.margins import Margins
    from torchstone.results.reading.sources import source

    models = (model,) if isinstance(model, str) else tuple(model)
    try:
        allowed = Margins.parse(margins or {})
    except ValueError as error:
        raise InputError(str(error)) from error
    before, after = _baseline(baseline), _results(results)
    if before.folder.resolve() == after.folder.resolve():
        raise InputError(
            f"--baseline {baseline}: this is the folder of the results too, and nothing differs from itself; keep the "
            "baseline in one of its own."
        )
    old = source(before, f"the baseline {baseline}", models=models)
    new = source(after, "the results", models=models, records=_ids(records))
    _check_there(old, new, models, baseline, results)
    try:
        found = gate(old, new, allowed, alpha)
    except ValueError as error:
        raise InputError(str(error)) from error
    if not found.findings:
        reasons = dict.fromkeys([each.reason for each in found.absent] + list(found.notes))
        raise InputError(f"baseline {baseline}: nothing could be compared with it. {' '.join(list(reasons)[:SHOWN])}")
    return found


def _baseline(baseline: str | Path | Store) -> Store:
    if isinstance(baseline, Store):
        return baseline
    if baseline == PUBLISHED:
        from torchstone.results.shipped import published

        return published()
    if not str(baseline).strip():
        raise InputError(f"--baseline is empty; give the folder of a store, or {PUBLISHED}.")
    if not Path(baseline).is_dir():
        raise InputError(
            f"--baseline {baseline}: there is no such folder; make it with `bench run --results {baseline} …` at the "
            f"commit to compare with, or write --baseline {PUBLISHED}."
        )
    return Store(baseline)


def _results(results: str | Path | Store) -> Store:
    store = _store(results)
    check_results(store.folder)
    return store


def _check_there(old: Source, new: Source, models: Sequence[str], baseline: object, results: object) -> None:
    """Raises InputError where one of the two has nothing to say."""
    known = {*old.known, *new.known}
    for name in models:
        if name not in known:
            raise InputError(f"--model {shortened(name)}: neither store has a record of it; {nearest(name, known)}")
    for found, words in ((old, f"--baseline {baseline}"), (new, f"--results {results}")):
        if not found.groups and not (found is new and found.lost):
            passed = [*found.problems, *(f"{each.model}: {each.reason}" for each in found.lost)][:SHOWN]
            why = f" ({_listed(passed)})" if passed else ""
            of = f" of {', '.join(models)}" if models else ""
            raise InputError(f"{words}: no completed record{of} can be read there{why}; make them with `bench run`.")


def _resolved(what: str | Path | Store | Record | Sequence[Record], store: Store, which: str) -> tuple[Source, bool]:
    """What is meant, and whether it is a whole store."""
    from torchstone.results.reading.sources import source

    match what:
        case Store():
            return source(what, str(what.folder)), True
        case Record():
            return source(store, f"record {what.id[:12]}", records=[what.id]), False
        case str() | Path():
            return _named(str(what), store, which)
        case _:
            return source(store, f"the records of {which}", records=[each.id for each in what]), False


def _named(text: str, store: Store, which: str) -> tuple[Source, bool]:
    from torchstone.results.reading.sources import source

    if not text.strip():
        raise InputError(
            f"{which} is empty; give the name of a model, a record, the folder of a store, or {PUBLISHED}."
        )
    if text == PUBLISHED:
        return source(_baseline(PUBLISHED), "the published records"), True
    known: tuple[str, ...] = ()
    if store.folder.is_dir():
        found = source(store, f"model {shortened(text)}", models=[text])
        known = found.known
        if found.groups:
            return found, False
        if found.lost:
            lost = found.lost[0]
            raise InputError(
                f"{which} {shortened(text)}: its latest record is {lost.status}, so there is no number. {lost.reason}"
            )
    return _at(text, store) or _record(text, store, which, known)


def _at(text: str, store: Store) -> tuple[Source, bool] | None:
    """The store or the record at a path; None where nothing is there."""
    from torchstone.results.reading.sources import source

    try:
        path = Path(text)
        folder, file = path.is_dir(), path.is_file()
    except (OSError, ValueError):  # no name that a file can have
        return None
    if folder:
        return source(Store(path), shortened(text)), True
    if not file:
        return None
    record = store.read(path)
    return source(Store(path.parent), f"record {record.id[:12]}", records=[record.id]), False


def _record(text: str, store: Store, which: str, known: Sequence[str]) -> tuple[Source, bool]:
    """The record whose id begins so."""
    from torchstone.results.reading.sources import source

    try:
        if not re.fullmatch("[0-9a-f]+", text):
            raise RecordError("an id has the digits 0 to 9 and a to f")
        record = store.read(text)
    except RecordError as error:
        raise InputError(
            f"{which} {shortened(text)}: it is no model of {store.folder}, no folder and no record ({error}). Of "
            f"models, {nearest(text, known)}"
        ) from error
    return source(store, f"record {record.id[:12]}", records=[record.id]), False


def _contents(found: Source) -> str:
    there = sorted({f"{each.model} ({each.suite} on {each.dataset})" for each in found.groups})
    if not there:
        return "no completed record" + (f" ({_listed(found.problems[:SHOWN])})" if found.problems else "")
    return ", ".join(there[:SHOWN]) + (f" and {len(there) - SHOWN} more" if len(there) > SHOWN else "")


def _listed(sentences: Sequence[str]) -> str:
    return "; ".join(each.rstrip(".") for each in sentences)


def _store(results: str | Path | Store) -> Store:
    return results if isinstance(results, Store) else Store(results)


def _ids(records: Sequence[Record] | None) -> list[str] | None:
    return None if records is None else [each.id for each in records]
