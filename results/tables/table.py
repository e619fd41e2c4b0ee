"""Tables as blocks of rows that may be compared: what is not comparable stands in another block."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from torchstone.results.reading.grades import worst
from torchstone.results.reading.labels import Variant, labels, variant
from torchstone.results.reading.measurements import Measurement, Value, comparable, current, measurements
from torchstone.results.reading.spread import complete, spread
from torchstone.results.record import Kind
from torchstone.results.store import age
from torchstone.results.tables.captions import captions

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Block", "Cell", "Column", "Row", "Table", "absences", "blocks", "by_headline", "table"]


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of a block: what its numbers have in common.

    ``floor`` is what training examples have in place of a model, and ``null`` what the law of the data itself would
    have; means over the rows, None where nobody said.
    """

    name: str
    unit: str
    kind: Kind
    higher_is_better: bool
    floor: float | None = None
    null: float | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one row, over its seeds. Three uncertainties, never mixed.

    ``stderr`` comes from the finite test set. The seeds share that set, so it is averaged over them and not reduced.
    ``estimator_stderr`` is the estimator's own, of the mean over the seeds; ``seed_sd`` is the standard deviation over
    the training seeds.
    """

    value: float
    stderr: float | None
    estimator_stderr: float | None
    seed_sd: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One model with one choice of settings: ``label`` says what sets it apart from the model's other rows.

    ``audit`` is the grade of its latest certificate, the worst over its seeds; None where the row is a certificate.
    """

    model: str
    label: str
    family: str
    seeds: tuple[int, ...]
    cells: Mapping[str, Cell]
    records: tuple[str, ...]
    audit: str | None


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that may be compared, best first by the first column."""

    caption: str
    suite: str
    suite_version: int
    dataset: str
    contract: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Blocks; one line for each cell that has no numbers; and the scores behind all of it, a row each."""

    blocks: tuple[Block, ...]
    absent: tuple[str, ...]
    scores: pd.DataFrame


def table(frame: pd.DataFrame) -> Table:
    """The blocks of a `frame`.

    Rows share a block only where suite, version, dataset, contract and the headline's kind agree; and in a block each
    column has one unit, kind, contract and choice of parameters. Seeds of one model with one choice of settings and one
    code are one row. Of several records with one identity the newest counts, a failed one only where there is no other;
    the older ones are left out.
    """
    scores = current(frame)
    return Table(blocks(measurements(scores)), _absent(scores), scores)


def blocks(found: Sequence[Measurement]) -> tuple[Block, ...]:
    """The blocks of measurements none of which is superseded."""
    key = comparable(found)
    groups: dict[Any, list[Measurement]] = {}
    for each in sorted(found, key=lambda each: (each.suite, each.dataset)):
        groups.setdefault(key(each), []).append(each)
    naming, titles = labels(found), captions(list(groups.values()))
    return tuple(_block(group, title, naming) for group, title in zip(groups.values(), titles, strict=True))


def _block(group: Sequence[Measurement], caption: str, naming: Mapping[Variant, str]) -> Block:
    first = group[0]
    values = {name: value for each in reversed(group) for name, value in each.values.items()}
    order = dict.fromkeys(name for each in sorted(group, key=lambda each: -len(each.values)) for name in each.values)
    columns = tuple(_column(name, values[name], group) for name in order)
    variants: dict[Variant, list[Measurement]] = {}
    for each in group:
        variants.setdefault(variant(each), []).append(each)
    seeds = {key: _newest(members) for key, members in variants.items()}
    rows = [_row(members, naming[key]) for key, members in seeds.items()]
    notes = [note for key, members in seeds.items() for note in _notes(members, len(variants[key]), naming[key])]
    return Block(
        caption,
        first.suite,
        first.suite_version,
        first.dataset,
        first.contract,
        columns,
        by_headline(rows, columns[0]),
        tuple(notes),
    )


def _column(name: str, value: Value, group: Sequence[Measurement]) -> Column:
    held = [each.values[name] for each in group if name in each.values]
    floors, nulls = (
        [x for x in numbers if x is not None] for numbers in zip(*((v.floor, v.null) for v in held), strict=True)
    )
    return Column(
        name,
        value.unit,
        value.kind,
        value.higher_is_better,
        floor=fmean(floors) if floors else None,
        null=fmean(nulls) if nulls else None,
    )


def _newest(members: Sequence[Measurement]) -> list[Measurement]:
    """One measurement for each seed, in the order of the seeds."""
    by_seed = {each.seed: each for each in sorted(members, key=lambda each: (age(each.started), each.record))}
    return [by_seed[seed] for seed in sorted(by_seed)]


def _row(members: Sequence[Measurement], label: str) -> Row:
    first = members[0]
    names = dict.fromkeys(name for each in members for name in each.values)
    cells = {name: _cell([each.values[name] for each in members if name in each.values]) for name in names}
    seeds = tuple(each.seed for each in members)
    grades = [each.audit for each in members if each.audit is not None]
    records = tuple(each.record for each in members)
    return Row(first.model, label, first.family, seeds, cells, records, worst(grades) if grades else None)


def _cell(values: Sequence[Value]) -> Cell:
    numbers = [each.value for each in values]
    own = complete(each.estimator_stderr for each in values)
    return Cell(
        value=sum(numbers) / len(numbers),
        stderr=_mean(complete(each.stderr for each in values)),
        estimator_stderr=None if own is None else math.hypot(*own) / len(own),
        seed_sd=spread(numbers),
    )


def _mean(numbers: Sequence[float] | None) -> float | None:
    return None if numbers is None else sum(numbers) / len(numbers)


def by_headline(rows: Iterable[Row], headline: Column) -> tuple[Row, ...]:
    """The rows, best first by the column ``headline``."""
    return tuple(sorted(rows, key=lambda row: _rank(row, headline)))


def _rank(row: Row, headline: Column) -> tuple[bool, float, str, str]:
    """Best first; what has no number last."""
    value = row.cells[headline.name].value if headline.name in row.cells else math.nan
    signed = -value if headline.higher_is_better else value
    return math.isnan(value), 0.0 if math.isnan(value) else signed, row.model, row.label


def _notes(members: Sequence[Measurement], found: int, label: str) -> list[str]:
    name = f"{members[0].model} {label}".strip()
    notes = [f"{name}, seed {each.seed}: {words}" for each in members for words in _infinities(each)]
    if found > len(members):
        notes.append(f"{name}: {found - len(members)} older of the same settings, code and seed left out")
    return notes


def _infinities(each: Measurement) -> list[str]:
    """In words, how many examples made a headline that is not finite."""
    name, value = next(iter(each.values.items()))
    if math.isfinite(value.value) and not value.nonfinite:
        return []
    if value.nonfinite is None:
        return [f"{name} is not finite"]
    return [f"{value.nonfinite:g} of {value.n or math.nan:g} examples have no finite {name}"]


def _absent(scores: pd.DataFrame) -> tuple[str, ...]:
    """A line for each record that was skipped, failed or has no scores; those that differ in seed alone share one."""
    without = scores[scores["metric"].isna() | (scores["status"] != "completed")].drop_duplicates("record")
    return absences(without[list(_ABSENT)].itertuples(index=False))


def absences(records: Iterable[tuple[str, str, str, str, int, str]]) -> tuple[str, ...]:
    """A line for records without numbers, given as status, suite, model, dataset, seed and reason of each."""
    lines: dict[tuple[str, ...], list[int]] = {}
    for status, suite, model, dataset, seed, reason in records:
        lines.setdefault((status, suite, model, dataset, reason), []).append(seed)
    return tuple(_line(*line, seeds=sorted(seeds)) for line, seeds in sorted(lines.items()))


_ABSENT = ("status", "suite", "model", "dataset", "seed", "reason")


def _line(status: str, suite: str, model: str, dataset: str, reason: str, *, seeds: Sequence[int]) -> str:
    numbers = f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
    why = reason or ("it has no scores" if status == "completed" else "no reason was given")
    return f"{status}: {suite} of {model} on {dataset}, {numbers}: {why}"
