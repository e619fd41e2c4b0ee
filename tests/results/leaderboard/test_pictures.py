"""Pictures say what the numbers say."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from torchstone.results import Kind, Score, Store
from torchstone.results.leaderboard.axes import axis
from torchstone.results.leaderboard.costs import cost
from torchstone.results.leaderboard.examples import Examples, Values
from torchstone.results.leaderboard.histograms import ROWS, histograms
from torchstone.results.leaderboard.history import histories, history
from torchstone.results.leaderboard.reading import read
from torchstone.results.leaderboard.scatter import FRAME, POINTS, scatter
from torchstone.results.tables.table import blocks


def opened(folder):
    """The records by id, and the blocks by suite."""
    reading = read(folder)
    tables = blocks([each.measurement for each in reading.current])
    return {each.measurement.record: each for each in (*reading.older, *reading.current)}, {t.suite: t for t in tables}


def drawn(folder):
    found, tables = opened(folder)
    block = tables["density"]
    return scatter(block, cost(block, found, [table for table in tables.values() if table.suite == "throughput"]))


def nll(value, stderr=0.1, up=False):
    return (Score("nll", value, "nats/example", Kind.EXACT, up, stderr, None, 100),)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=5))
def test_an_axis_holds_all_its_numbers_and_its_ticks(numbers):
    made = axis(numbers, 60.0, 400.0)
    assert all(60 <= made.at(number) <= 400 for number in numbers)
    ticks = made.ticks
    assert all(60 <= tick.at <= 400 for tick in ticks)
    assert [tick.at for tick in ticks] == sorted(tick.at for tick in ticks)


@pytest.mark.parametrize(
    ("numbers", "logarithmic", "texts"),
    [
        ([0.0, 1.0], False, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ([0.5, 1000.0], True, ["1", "10", "100", "1000"]),
        ([10.0, 300.0], True, ["10", "20", "50", "100", "200"]),
        ([1e-9, 1e9], True, ["1e-09", "1e-06", "0.001", "1", "1000", "1e+06", "1e+09"]),
    ],
)
def test_ticks_are_round_numbers(numbers, logarithmic, texts):
    made = axis(numbers, 0.0, 1.0)
    assert made.logarithmic is logarithmic
    assert [tick.text for tick in made.ticks] == texts


def test_the_front_holds_what_nothing_is_cheaper_than_and_as_good(make, folder):
    for model, value, seconds in [("good", 1.0, 9.0), ("cheap", 3.0, 1.0), ("middle", 2.0, 4.0), ("bad", 2.5, 5.0)]:
        Store(folder).write(make(model=model, scores=nll(value), seconds=seconds))
    picture = drawn(folder)
    assert {point.words.split(":")[0] for point in picture.points if point.front} == {"good", "middle", "cheap"}
    x, y = zip(*((point.x, point.y) for point in sorted(picture.points, key=lambda p: p.x) if point.front), strict=True)
    assert picture.front == f"M{x[0]} {y[0]}H{x[1]}V{y[1]}H{x[2]}V{y[2]}"
    assert list(y) == sorted(y, reverse=True)  # better is up
    assert "On the Pareto front: cheap: 3.00 ± 0.10 nats/example at 1 wall-clock seconds of the record" in picture.words
    assert "no measurement of speed" in picture.caption


@pytest.mark.parametrize("up", [False, True])
def test_the_front_leaves_out_what_is_dearer_and_no_better(make, folder, up):
    values = {"good": (1.0, 9.0), "cheap": (3.0, 1.0), "equal": (3.0, 2.0), "bad": (4.0, 5.0)}
    for model, (value, seconds) in values.items():
        Store(folder).write(make(model=model, scores=nll(-value if up else value, up=up), seconds=seconds))
    assert {point.words.split(":")[0] for point in drawn(folder).points if point.front} == {"good", "cheap"}


def test_bars_are_intervals_of_95_percent(make, folder):
    """1.96 standard errors to either side; one of a speed, which is a reciprocal, is longer on the dear side."""
    for model, value, rate in (("a", 1.0, 100.0), ("b", 9.0, 10.0)):
        Store(folder).write(make(model=model, scores=nll(value, 0.5)))
        Store(folder).write(make(model=model, suite="throughput", scores=speed(rate, rate / 10)))
    picture = drawn(folder)
    for point, value, rate in zip(picture.points, (1.0, 9.0), (100.0, 10.0), strict=True):
        assert (point.top, point.bottom) == (picture.y.at(value - 0.98), picture.y.at(value + 0.98))
        assert (point.left, point.x, point.right) == tuple(
            picture.x.at(1e3 / (rate * share)) for share in (1.196, 1.0, 0.804)
        )


@pytest.mark.parametrize("stderr", [None, math.nan, math.inf, -1.0])
def test_without_a_standard_error_there_is_no_bar(make, folder, stderr):
    for model, value in (("a", 1.0), ("b", 9.0)):
        Store(folder).write(make(model=model, scores=nll(value, stderr)))
        Store(folder).write(make(model=model, suite="throughput", scores=speed(value, stderr)))
    for point in drawn(folder).points:
        assert point.top == point.y == point.bottom and point.left == point.x == point.right


@pytest.mark.parametrize(
    ("numbers", "logarithmic"),
    [([-1e308, 1e308], False), ([1.0, math.inf], None), ([math.nan, 1.0], None), ([1.0, 1.7e308], True), ([0.0], True)],
)
def test_what_no_axis_holds_has_none(numbers, logarithmic):
    assert axis(numbers, 60.0, 400.0, logarithmic=logarithmic) is None


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
@example([0.0, 9 * 5e-324])
@example([1.0, 1e308])
def test_an_axis_of_any_numbers_has_places_and_ticks_or_is_none(numbers):
    made = axis(numbers, 60.0, 400.0)
    if made is not None:
        assert all(60 <= made.at(number) <= 400 for number in numbers)
        assert all(60 <= tick.at <= 400 for tick in made.ticks)


def test_a_picture_that_no_axis_holds_is_left_out_in_words(make, keep, folder, environment):
    for day, value in enumerate((-1e308, 1e308), 1):
        Store(folder).write(make(model="a", scores=nll(value), identity="a", started=f"2026-01-0{day}T00:00:00Z"))
    Store(folder).write(make(model="b", scores=nll(-1e308)))
    assert told(folder) == (
        "The history of nll is not drawn: its numbers are too large, or too far apart, for an axis."
    )
    assert drawn(folder) == (
        "nll against wall-clock seconds of the record is not drawn: its numbers are too large, or too far apart, for "
        "an axis."
    )
    far = np.array([-1.7e308, 1.7e308] * 10)
    picture = histograms(opened(folder)[1]["density"], {0: Values(np.arange(20), far)})
    assert picture.startswith("A histogram of nll over examples is not drawn")


@pytest.mark.parametrize("rate", [1e-320, math.inf, math.nan, 0.0, -1.0])
def test_a_speed_that_gives_no_finite_time_is_no_cost(make, folder, rate):
    for model, own in {"a": rate, "b": 5.0, "c": 6.0}.items():
        Store(folder).write(make(model=model, scores=nll(1.0)))
        Store(folder).write(make(model=model, suite="throughput", scores=speed(own, 1e-330)))
    assert len(drawn(folder).points) == 2


def test_the_cost_of_seeds_is_their_mean(make, folder):
    for seed, seconds in enumerate((1.0, 3.0)):
        Store(folder).write(make(seed=seed, seconds=seconds))
    found, tables = opened(folder)
    assert cost(tables["density"], found, []).rows == {0: (2.0, 1.0, 3.0)}


@pytest.mark.parametrize("change", ["code", "settings"])
def test_the_speed_of_other_code_or_settings_is_not_that_of_a_row(make, folder, change):
    changes = {
        "code": {"fingerprints": prints(0) | {"code": "e" * 64}},
        "settings": {"settings": {"model": {"components": 9}}},
    }
    for model in "ab":
        Store(folder).write(make(model=model, fingerprints=prints(0)))
        Store(folder).write(
            make(model=model, suite="throughput", scores=speed(5.0), **{"fingerprints": prints(0)} | changes[change])
        )
    found, tables = opened(folder)
    assert cost(tables["density"], found, [tables["throughput"]]).label == "wall-clock seconds of the record"


@pytest.mark.parametrize("newest", [1000.0, 10.0])
def test_of_several_speeds_of_a_model_the_newest_counts(make, folder, newest):
    for model in "ab":
        Store(folder).write(make(model=model))
        for day, rate in enumerate((1010.0 - newest, newest), 1):
            suite = {"model": {"components": 8}, "suite": {"calls": day}}
            Store(folder).write(
                make(
                    model=model, suite="throughput", scores=speed(rate), settings=suite,
                    started=f"2026-01-0{day}T00:00:00Z",
                )
            )  # fmt: skip
    found, tables = opened(folder)
    assert len(tables["throughput"].rows) == 4
    price = cost(tables["density"], found, [tables["throughput"]])
    assert [each[0] for each in price.rows.values()] == [1e3 / newest] * 2


def test_better_is_up_whichever_way_it_is(make, folder):
    for model, value in (("a", 1.0), ("b", 2.0)):
        Store(folder).write(make(model=model, scores=nll(value, up=True)))
    by_model = {point.words[0]: point.y for point in drawn(folder).points}
    assert by_model["b"] < by_model["a"]


def test_cost_is_measured_speed_where_there_is_any(make, folder):
    rates = {"a": 50.0, "b": 200.0}
    for model, rate in rates.items():
        for seed in (0, 1):
            Store(folder).write(make(model=model, seed=seed, fingerprints=prints(seed)))
        Store(folder).write(
            make(
                model=model, suite="throughput", scores=speed(rate), contract={"device": "cpu"}, fingerprints=prints(7)
            )
        )
    Store(folder).write(make(model="unmeasured"))
    found, tables = opened(folder)
    price = cost(tables["density"], found, [tables["throughput"]])
    own = {tables["density"].rows[place].model: each[0] for place, each in price.rows.items()}
    assert own == {"a": 20.0, "b": 5.0}
    assert price.label == "milliseconds per example (1 / sample_rate)"
    assert all(low < middle < high for middle, low, high in price.rows.values())


def speed(rate, stderr=1.0):
    return (Score("sample_rate", rate, "examples/s", Kind.ESTIMATE, True, stderr, None, 20),)


def prints(seed: int) -> dict[str, str]:
    return {"data": "d" * 64, "weights": f"{seed}" * 64, "code": "c" * 64}


def test_infinite_and_missing_values_are_left_out(make, folder):
    for model, value in {"a": 1.0, "b": 2.0, "c": math.inf, "d": math.nan}.items():
        Store(folder).write(make(model=model, scores=nll(value)))
    assert len(drawn(folder).points) == 2
    assert "not drawn: 2 of 4 rows." in drawn(folder).caption
    assert opened(folder)[1]["density"].rows[0].model == "a"


def test_one_point_is_no_picture_and_many_are_cut(make, folder):
    Store(folder).write(make(model="m", scores=nll(0.0)))
    assert drawn(folder) is None
    for number in range(POINTS + 5):
        Store(folder).write(make(model=f"m{number}", scores=nll(float(number)), seconds=1.0 + number))
    picture = drawn(folder)
    assert len(picture.points) == POINTS
    assert f"the best {POINTS} rows" in picture.caption


def test_names_cover_neither_points_nor_one_another(make, folder):
    for number in range(30):
        Store(folder).write(make(model=f"model-{number}", scores=nll(number % 7 + 0.1), seconds=1.0 + number % 11))
    picture = drawn(folder)
    named = [point for point in picture.points if point.name]
    assert 3 < len(named)
    boxes = []
    for point in named:
        width = 6.1 * len(point.name)
        left = point.name_x if point.anchor == "start" else point.name_x - width
        boxes.append((left, point.name_y - 10, left + width, point.name_y + 3))
    for place, box in enumerate(boxes):
        assert FRAME[0] <= box[0] and box[2] <= FRAME[1] + 10
        for other in boxes[place + 1 :]:
            assert not (box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3])


def test_histograms_are_of_the_best_rows_and_stay_on_the_paper(keep, folder, rng):
    base = rng.normal(90, 10, 400)
    for number in range(ROWS + 2):
        keep(base + number, model=f"m{number}")
    found, tables = opened(folder)
    values = Examples(folder, found).of(tables["density"])
    picture = histograms(tables["density"], values)
    assert [row.name for row in picture.rows] == [f"m{number}" for number in range(ROWS)]
    for row in picture.rows:
        heights = [float(each) for each in re.findall(r"V([-\d.]+)", row.path)]
        assert min(heights) >= row.top - 0.1 and max(heights) <= row.base + 0.1
    assert "m0: mean " in picture.words
    assert histograms(tables["density"], {}) is None


def test_the_mean_and_nine_in_ten_are_those_of_the_values(keep, folder):
    """A hundred of the whole numbers squared: the mean is not the median, nor are nine in ten half of them."""
    for model, more in (("a", 0.0), ("b", 1.0)):
        keep(np.arange(101.0) ** 2 + more, model=model)
    found, tables = opened(folder)
    picture = histograms(tables["density"], Examples(folder, found).of(tables["density"]))
    assert "a: mean 3350, nine in ten from 25 to 9025" in picture.words
    assert picture.rows[0].mean == picture.x.at(3350.0)


@pytest.mark.parametrize(("odd", "said"), [(6e8, "1.0003e+06"), (math.inf, "inf"), (1.2e308, "2e+305")])
def test_a_mean_beyond_the_axis_is_not_drawn_and_is_said(keep, folder, odd, said):
    values = np.arange(600.0)
    keep(values, model="plain")
    _, tables = opened(folder)
    far = np.where(np.arange(600) == 7, odd, values)
    block = dataclasses.replace(tables["density"], rows=tables["density"].rows * 2)
    picture = histograms(block, {0: Values(np.arange(600), values), 1: Values(np.arange(600), far)})
    assert [row.mean is None for row in picture.rows] == [False, True]
    assert [row.name for row in picture.rows] == ["plain", f"plain: mean {said}, beyond the axis"]
    assert f"plain: mean {said}, nine in ten from" in picture.words


def test_equal_values_have_a_histogram(keep, folder):
    for model in ("a", "b"):
        keep([5.0] * 20, model=model)
    found, tables = opened(folder)
    assert histograms(tables["density"], Examples(folder, found).of(tables["density"])) is not None


def moments(make, folder, environment, commits, **changes):
    for day, commit in enumerate(commits, 1):
        where = dataclasses.replace(environment, git_commit=commit, git_dirty=False)
        Store(folder).write(
            make(bits=2 - day / 10, environment=where, started=f"2026-01-0{day}T00:00:00+00:00", **changes)
        )


def told(folder):
    found, tables = opened(folder)
    block = tables["density"]
    return history(block, found, histories(list(found.values())))


def test_a_history_needs_a_seed_that_was_measured_twice(make, folder, environment):
    for seed in (0, 1, 2):
        Store(folder).write(make(seed=seed))
    assert told(folder) is None
    moments(make, folder, environment, ["a" * 40, "b" * 40], seed=0, model="vae")
    assert [line.name for line in told(folder).lines] == ["vae"]


def test_a_history_runs_over_commits_and_superseded_records_and_other_code(make, folder, environment):
    moments(make, folder, environment, ["a" * 40, "b" * 40], identity="same")
    code = {"data": "d" * 64, "weights": "w" * 64, "code": "e" * 64}
    moments(make, folder, environment, ["c" * 40, None], fingerprints=code)
    picture = told(folder)
    (line,) = picture.lines
    assert [dot.x for dot in line.dots] == sorted(dot.x for dot in line.dots)
    assert {tick.text for tick in picture.ticks} == {"aaaaaaa", "bbbbbbb", "ccccccc", "2026-01-02"}
    assert len(line.dots) == 4 and len(line.paths) == 1


def test_a_history_holds_one_contract(make, folder, environment):
    moments(make, folder, environment, ["a" * 40])
    moments(make, folder, environment, ["b" * 40], contract={"data": "e" * 64})
    moments(make, folder, environment, ["c" * 40], kind=Kind.UPPER_BOUND)
    found, _ = opened(folder)
    for block in blocks([each.measurement for each in found.values()]):
        assert history(block, found, histories(list(found.values()))) is None


def test_a_history_holds_one_version_of_the_suite(make, folder, environment):
    moments(make, folder, environment, ["a" * 40], suite_version=1)
    moments(make, folder, environment, ["b" * 40], suite_version=2)
    found, _ = opened(folder)
    for block in blocks([each.measurement for each in found.values()]):
        assert history(block, found, histories(list(found.values()))) is None


def test_the_bars_of_a_history_are_intervals_of_95_percent(make, folder):
    for day, value in enumerate((1.0, 2.0), 1):
        Store(folder).write(make(scores=nll(value, 0.5), identity="a", started=f"2026-01-0{day}T00:00:00Z"))
    picture = told(folder)
    (line,) = picture.lines
    ends = [(picture.y.at(value - 0.98), picture.y.at(value + 0.98)) for value in (1.0, 2.0)]
    assert [(dot.top, dot.bottom) for dot in line.dots] == ends


def test_a_first_seed_that_lacks_the_headline_does_not_stop_a_history(make, folder):
    other = (Score("other", 1.0, "nats", Kind.EXACT, False, 0.1, None, 9),)
    Store(folder).write(make(seed=0, scores=other))
    for day in (1, 2):
        Store(folder).write(
            make(seed=1, scores=nll(1.0 + day) + other, identity="a", started=f"2026-01-0{day}T00:00:00Z")
        )
    assert len(told(folder).lines[0].dots) == 2
