"""Quality against cost, with intervals and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

from torchstone.results.leaderboard.axes import BEYOND, Axis, axis, reach
from torchstone.results.leaderboard.costs import Cost
from torchstone.results.leaderboard.names import cut, name
from torchstone.results.tables.table import Block, Column, Row
from torchstone.results.text.numbers import plain, quantity, shortened

__all__ = ["FRAME", "Point", "Scatter", "scatter"]

POINTS = 60  # rows that are drawn, the best
FRAME = (62.0, 404.0, 14.0, 232.0)  # left, right, top and bottom of the area of a picture
_LETTER = 6.1  # the width of a letter
_LONGEST = 26  # letters of a name


@final
@dataclass(frozen=True, slots=True)
class Point:
    """One row: its place, the ends of its intervals, its name with its place where there is room, and its words."""

    x: float
    y: float
    left: float
    right: float
    top: float
    bottom: float
    name: str
    name_x: float
    name_y: float
    anchor: str
    words: str
    front: bool


@final
@dataclass(frozen=True, slots=True)
class Scatter:
    """A picture, ready to be drawn; ``front`` is the path of the Pareto front, ``words`` stand for it as text."""

    x: Axis
    y: Axis
    x_label: str
    y_label: str
    points: tuple[Point, ...]
    front: str
    words: str
    caption: str


def scatter(block: Block, cost: Cost) -> Scatter | str | None:
    """The best rows of ``block`` that have a finite headline and a cost; None where there are fewer than two.

    In a sentence why it is left out, where no axis holds them.
    """
    headline = block.columns[0]
    drawn = [
        (row, row.cells[headline.name].value, _interval(row, headline), cost.rows[place])
        for place, row in enumerate(block.rows)
        if place in cost.rows and headline.name in row.cells and math.isfinite(row.cells[headline.name].value)
    ]
    known, drawn = len(drawn), drawn[:POINTS]
    if len(drawn) < 2:
        return None
    left, right, top, bottom = FRAME
    x = axis([each for *_, costs in drawn for each in costs], left, right)
    upwards = (bottom, top) if headline.higher_is_better else (top, bottom)
    y = axis([each for _, value, interval, _ in drawn for each in (value, *interval)], *upwards, logarithmic=False)
    if x is None or y is None:
        return f"{cut(headline.name)} against {cost.label} {BEYOND}"
    sign = -1.0 if headline.higher_is_better else 1.0
    front = _front([(costs[0], sign * value) for _, value, _, costs in drawn])
    places = [(x.at(costs[0]), y.at(value)) for _, value, _, costs in drawn]
    labels = _names([_short(row) for row, *_ in drawn], places, front)
    words = [
        f"{name(row)}: {quantity(value, row.cells[headline.name].stderr, headline.kind)} {cut(headline.unit)} at "
        f"{plain(costs[0])} {cost.label}"
        for row, value, _, costs in drawn
    ]
    points = tuple(
        Point(
            x=place[0],
            y=place[1],
            left=x.at(costs[1]),
            right=x.at(costs[2]),
            top=y.at(interval[0]),
            bottom=y.at(interval[1]),
            name=label[0],
            name_x=label[1],
            name_y=label[2],
            anchor=label[3],
            words=said,
            front=number in front,
        )
        for number, ((_, _, interval, costs), place, label, said) in enumerate(
            zip(drawn, places, labels, words, strict=True)
        )
    )
    shown = f"the best {len(drawn)} rows; " if known > len(drawn) else ""
    unknown = len(block.rows) - known
    without = f" Without a number or a cost, and not drawn: {unknown} of {len(block.rows)} rows." if unknown else ""
    best = [words[place] for place in front]
    return Scatter(
        x,
        y,
        f"{cost.label}{', logarithmic' if x.logarithmic else ''} (cheaper is left)",
        f"{headline.kind.sign} {cut(headline.name)}, {cut(headline.unit)} (better is up)".strip(),
        points,
        _path([places[place] for place in front]),
        f"{cut(headline.name)} against {cost.label}. On the Pareto front: {'; '.join(best)}.",
        f"Quality against cost: {shown}bars are 95 % intervals; the line is the Pareto front, and what lies on it is "
        f"filled. Cost: {cost.words}.{without}",
    )


def _interval(row: Row, headline: Column) -> tuple[float, float]:
    cell = row.cells[headline.name]
    return cell.value - reach(cell.stderr), cell.value + reach(cell.stderr)


def _front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of the points that no other is cheaper than and as good, by cost; both are better when smaller."""
    best, front = math.inf, []
    for place in sorted(range(len(points)), key=lambda place: points[place]):
        if points[place][1] < best:
            best = points[place][1]
            front.append(place)
    return front


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Steps from the cheapest to the dearest: between two points the quality is that of the cheaper one."""
    (x, y), *rest = points
    return f"M{x} {y}" + "".join(f"H{x}V{y}" for x, y in rest)


def _names(
    names: Sequence[str], points: Sequence[tuple[float, float]], front: Iterable[int]
) -> list[tuple[str, float, float, str]]:
    """A place for each name where it covers no other and no point, those of the front first; empty without one."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    placed = [("", 0.0, 0.0, "start")] * len(names)
    for number in dict.fromkeys((*front, *range(len(names)))):
        (x, y), width = points[number], _LETTER * len(names[number])
        for dx, dy in ((9, 15), (-9, 4), (9, -9), (9, 4), (-9, -9), (-9, 15)):  # the front runs right and up
            start = x + dx if dx > 0 else x + dx - width
            box = (start, y + dy - 10, start + width, y + dy + 3)
            if FRAME[0] <= box[0] and box[2] <= FRAME[1] + 10 and FRAME[2] - 8 <= box[1] and box[3] <= FRAME[3]:
                others = taken[:number] + taken[number + 1 :]
                if not any(_overlap(box, other) for other in others):
                    taken.append(box)
                    placed[number] = (names[number], x + dx, y + dy, "start" if dx > 0 else "end")
                    break
    return placed


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _short(row: Row) -> str:
    return shortened(name(row), _LONGEST)
