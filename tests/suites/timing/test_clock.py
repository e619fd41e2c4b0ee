"""Clocks: what they time, and on which side they wait."""

import time

import torch

from torchstone.suites.timing import clock as clocks
from torchstone.suites.timing.clock import WallClock, clock_for, longer


def test_the_clock_of_the_machine_times_a_known_sleep():
    """Never less than was slept; how much more is the machine's affair."""
    result, seconds = WallClock(torch.device("cpu")).timed(lambda: time.sleep(0.02) or "done")
    assert result == "done" and seconds >= 0.02


def test_it_waits_for_the_device_before_it_starts_and_before_it_stops(monkeypatch):
    order = []
    monkeypatch.setattr(clocks, "synchronise", lambda device: order.append("wait"))
    monkeypatch.setattr(clocks, "perf_counter_ns", lambda: order.append("look") or 0)
    WallClock(torch.device("cpu")).timed(lambda: order.append("call"))
    assert order == ["wait", "look", "call", "wait", "look"]


def test_a_model_that_turns_back_the_clocks_of_the_language_changes_nothing(monkeypatch):
    for name in ("perf_counter", "perf_counter_ns", "monotonic", "process_time", "process_time_ns"):
        monkeypatch.setattr(time, name, lambda: 0)
    clock = WallClock(torch.device("cpu"))
    assert clock.timed(lambda: time.sleep(0.02))[1] >= 0.02 and clock.cpu() > 0


def test_sleep_takes_time_and_no_processor():
    clock = WallClock(torch.device("cpu"))
    before = clock.cpu()
    time.sleep(0.02)
    assert clock.cpu() - before < 0.02


def test_events_that_missed_work_give_way_to_the_wall():
    """Such as work in another stream, that a clock of events in one stream does not see."""
    assert longer(0.001, 0.5) == 0.5
    assert longer(0.5, 0.5001) == 0.5


def test_the_processor_has_the_clock_of_the_machine():
    assert clock_for(torch.device("cpu")).name == "perf_counter_ns"
