"""A metric over the commits, or else the days, on which a model was measured again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from torchstone.results.leaderboard.axes import BEYOND, Axis, Tick, axis, reach
from torchstone.results.leaderboard.names import cut
from torchstone.results.leaderboard.reading import Found
from torchstone.results.leaderboard.scatter import FRAME
from torchstone.results.reading.labels import labels, variant
from torchstone.results.reading.measurements import Measurement
from torchstone.results.store import age
from torchstone.results.tables.table import Block
from torchstone.results.text.numbers import quantity, shortened

__all__ = ["Dot", "History", "Line", "histories", "history"]

LINES = 6  # models that are drawn, those of the most records
_TICKS = 5
_LETTERS = 50  # of a name


@final
@dataclass(frozen=True, slots=True)
class Dot:
    """One record: its place, the ends of its interval, and its words."""

    x: float
    y: float
    top: float
    bottom: float
    words: str


@final
@dataclass(frozen=True, slots=True)
class Line:
    """One model with one choice of settings, whatever its code: a path for each seed, and its records."""

    name: str
    paths: tuple[str, ...]
    dots: tuple[Dot, ...]


@final
@dataclass(frozen=True, slots=True)
class History:
    """A picture, ready to be drawn; ``words`` stand for it as text."""

    ticks: tuple[Tick, ...]
    y: Axis
    y_label: str
    lines: tuple[Line, ...]
    words: str
    caption: str


def histories(records: Sequence[Found]) -> dict[tuple[Any, ...], list[Found]]:
    """All records, older ones included, by what their headlines share; see `history`."""
    groups: dict[tuple[Any, ...], list[Found]] = {}
    for each in records:
        groups.setdefault(_shared(each.measurement), []).append(each)
    return groups


def history(
    block: Block, found: Mapping[str, Found], groups: Mapping[tuple[Any, ...], Sequence[Found]]
) -> History | str | None:
    """The headline of ``block`` over time; None where no seed of a model was measured twice.

    In a sentence why it is left out, where no axis holds it.

    Args:
        block: of a table.
        found: the records by id.
        groups: of `histories`.
    """
    headline = block.columns[0]
    members = [found[id] for row in block.rows for id in row.records]
    first = next((each for each in members if next(iter(each.measurement.values)) == headline.name), None)
    if first is None:
        return None
    alike = groups[_shared(first.measurement)]
    repeated = _repeated([each for each in alike if math.isfinite(_value(each, headline.name))])
    if not repeated:
        return None
    drawn = [each for members in repeated.values() for each in members]
    moments = list(dict.fromkeys(_moment(each) for each in sorted(drawn, key=_when)))
    left, right, top, bottom = FRAME
    x = Axis(-0.3, len(moments) - 0.7, left, right)
    upwards = (bottom, top) if headline.higher_is_better else (top, bottom)
    y = axis([end for each in drawn for end in _ends(each, headline.name)], *upwards, logarithmic=False)
    if y is None:
        return f"The history of {cut(headline.name)} {BEYOND}"
    places = {moment: x.at(number) for number, moment in enumerate(moments)}
    names = labels([replace(each.measurement, code=None) for each in drawn])
    lines = []
    for key, members in repeated.items():
        name = shortened(f"{members[0].measurement.model} {names[key]}".strip(), _LETTERS)
        lines.append(_line(name, sorted(members, key=_when), headline.name, places, y))
    every = max(1, -(-len(moments) // _TICKS))
    counted = ", ".join(f"{line.name} ({len(line.dots)} records)" for line in lines)
    return History(
        tuple(Tick(places[moment], moment) for moment in moments[::every]),
        y,
        f"{headline.kind.sign} {cut(headline.name)}, {cut(headline.unit)} (better is up)".strip(),
        tuple(lines),
        f"{cut(headline.name)} over time, from {moments[0]} to {moments[-1]}: {counted}.",
        f"History of {cut(headline.name)} over commits, or over days where no commit is known; a line for each seed, "
        "with 95 % intervals.",
    )


def _shared(each: Measurement) -> tuple[Any, ...]:
    name, headline = next(iter(each.values.items()))
    return each.suite, each.suite_version, each.dataset, each.contract, name, headline.signature


def _repeated(found: Sequence[Found]) -> dict[Any, list[Found]]:
    """By model and settings, those measured more than once with one seed; the most measured first."""
    groups: dict[Any, list[Found]] = {}
    for each in found:
        groups.setdefault(variant(replace(each.measurement, code=None)), []).append(each)
    several = {
        key: members for key, members in groups.items() if len(members) > len({m.measurement.seed for m in members})
    }
    most = sorted(several, key=lambda key: -len(several[key]))[:LINES]
    return {key: several[key] for key in most}


def _line(name: str, members: Sequence[Found], metric: str, places: Mapping[str, float], y: Axis) -> Line:
    seeds: dict[int, list[str]] = {}
    dots = []
    for each in members:
        value = each.measurement.values[metric]
        low, high = _ends(each, metric)
        here = (places[_moment(each)], y.at(value.value))
        words = (
            f"{name}, seed {each.measurement.seed}, {_moment(each)}, started {each.measurement.started}: "
            f"{quantity(value.value, value.stderr, value.kind)} {value.unit}"
        )
        dots.append(Dot(*here, y.at(low), y.at(high), words))
        seeds.setdefault(each.measurement.seed, []).append(f"{here[0]} {here[1]}")
    return Line(name, tuple(f"M{'L'.join(path)}" for path in seeds.values() if len(path) > 1), tuple(dots))


def _value(each: Found, metric: str) -> float:
    return each.measurement.values[metric].value


def _ends(each: Found, metric: str) -> tuple[float, float]:
    value = each.measurement.values[metric]
    return value.value - reach(value.stderr), value.value + reach(value.stderr)


def _moment(each: Found) -> str:
    return each.commit or each.measurement.started[:10] or "unknown"


def _when(each: Found) -> tuple[Any, str]:
    return age(each.measurement.started), each.measurement.record
