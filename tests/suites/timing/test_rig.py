"""The protocol, on a clock that only the questions move."""

import pytest
import torch
from torchstone_extension.clocks import TICK, Ticking

from torchstone.suites.timing.calibration import MatrixProduct
from torchstone.suites.timing.questions import Question
from torchstone.suites.timing.rig import Effort, Rig


class Scripted(Question):
    """Takes the seconds that a script gives for each number of a call."""

    name, metric = "sample", "sample_rate"

    def __init__(self, clock, script):
        self.clock, self.script, self.asked = clock, script, []

    def prepare(self, n, number):
        self.clock.advance(100.0)  # preparing a question is no part of the answer

        def call():
            self.asked.append((n, number))
            self.clock.advance(self.script(len(self.asked)))
            return torch.arange(n, dtype=torch.float64) + number

        return call

    def of(self, model):
        return self


def rig(clock, **effort):
    usual = {"calls": 20, "seconds": 0.0, "warmup_calls": 3, "warmup_seconds": 0.0}
    return Rig(clock, Effort(**{**usual, **effort}), MatrixProduct(torch.device("cpu"), torch.float32, 8), 1)


@pytest.mark.parametrize("first", [0.01, 60.0])
def test_the_first_calls_are_not_in_the_number(first):
    clock = Ticking()
    question = Scripted(clock, lambda call: first if call == 1 else 0.01)
    timing = rig(clock).time(question, 5, None)
    assert timing.typical.value == pytest.approx(0.01 + TICK, rel=1e-9)
    assert timing.warmup.first == pytest.approx(first + TICK) and timing.warmup.settled
    assert timing.rate.value == pytest.approx(5 / (0.01 + TICK), rel=1e-9)


def test_warm_up_goes_on_until_three_windows_agree():
    """Calls that get faster for ten calls: windows that begin with the eleventh are the first to agree."""
    clock = Ticking()
    question = Scripted(clock, lambda call: max(0.1, 1.0 - 0.09 * (call - 1)))
    timing = rig(clock, warmup_seconds=3.0).time(question, 1, None)
    assert timing.warmup.settled and timing.warmup.calls >= 13
    assert float(timing.seconds.max()) == pytest.approx(0.1 + TICK, rel=1e-9)


@pytest.mark.parametrize(("apart", "settles"), [(1.04, True), (1.06, False)])
def test_windows_agree_where_they_lie_five_per_cent_apart_at_most(apart, settles):
    clock = Ticking()
    script = Scripted(clock, lambda call: (1.0 if call % 2 else apart) - TICK)
    warmup = rig(clock).time(script, 1, None).warmup
    assert warmup.settled is settles and warmup.spread == pytest.approx(apart - 1, rel=1e-6)


def test_two_windows_that_agree_are_not_enough():
    """Of calls that come in pairs, every third window in a row lies apart from one of the two before it."""
    clock = Ticking()
    script = Scripted(clock, lambda call: 1.0 if call // 2 % 2 else 2.0)
    assert not rig(clock).time(script, 1, None).warmup.settled


def test_warm_up_takes_as_many_calls_and_seconds_as_it_must_at_least():
    clock = Ticking()
    by_calls = rig(clock, warmup_calls=9).time(Scripted(clock, lambda call: 0.1), 1, None)
    assert by_calls.warmup.settled and by_calls.warmup.calls == 9
    by_seconds = rig(clock, warmup_seconds=2.0).time(Scripted(clock, lambda call: 0.1 - TICK), 1, None)
    assert by_seconds.warmup.settled and by_seconds.warmup.calls in (20, 21, 22)


def test_a_window_takes_a_tenth_of_the_least_warm_up():
    """Eight slow calls in every twenty: the medians of windows of 0.2 s agree, those of shorter ones would not."""
    clock = Ticking()
    script = Scripted(clock, lambda call: (0.004 if call % 20 in range(2, 10) else 0.002) - TICK)
    warmup = rig(clock, warmup_seconds=2.0).time(script, 1, None).warmup
    assert warmup.settled and warmup.spread == pytest.approx(0.0, abs=1e-6)


def test_warm_up_that_never_settles_ends_and_says_so():
    clock = Ticking()
    timing = rig(clock, warmup_seconds=0.1).time(Scripted(clock, lambda call: 1.0 + call % 2), 1, None)
    assert not timing.warmup.settled and timing.warmup.spread > 0.5


def test_there_are_as_many_calls_as_are_asked_for_and_as_many_seconds():
    clock = Ticking()
    assert len(rig(clock, calls=30).time(Scripted(clock, lambda call: 0.1), 1, None).seconds) == 30
    assert float(rig(clock, seconds=9.0).time(Scripted(clock, lambda call: 0.1), 1, None).seconds.sum()) >= 9.0


def test_no_question_is_asked_twice():
    clock = Ticking()
    question, used = Scripted(clock, lambda call: 0.01), rig(clock)
    for n in (1, 4):
        used.few(question, n)
        used.time(question, n, None)
    numbers = [number for _, number in question.asked]
    assert len(set(numbers)) == len(numbers)


def test_halves_are_interleaved_so_that_a_drift_cancels():
    clock = Ticking()
    timing = rig(clock, calls=40).time(Scripted(clock, lambda call: 1.0 + 0.01 * call), 1, None)
    assert timing.halves.value == pytest.approx(1.0, abs=1e-3) and timing.drift.value > 1.1


def test_a_calibration_stands_between_the_calls():
    clock = Ticking()
    timing = rig(clock).time(Scripted(clock, lambda call: 0.05), 1, None)
    assert len(timing.products) > 15 and float(timing.products.max()) == pytest.approx(TICK)
