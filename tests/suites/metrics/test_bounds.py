"""Importance-weighted bounds."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchstone.suites.metrics.bounds import LogMeanExp, importance_weighted_bound

weights = st.lists(st.floats(-500, 500), min_size=1, max_size=30)


@given(weights)
def test_the_bound_is_the_log_of_a_mean(values):
    log_w = torch.tensor(values, dtype=torch.float64)
    shift = max(values)
    known = shift + math.log(math.fsum(math.exp(v - shift) for v in values) / len(values))
    assert float(importance_weighted_bound(log_w)) == pytest.approx(known, rel=1e-12, abs=1e-12)


def test_it_is_a_mean_and_not_a_sum():
    """Without -ln K equal weights would give ln 5000 = 8.5 nats too much."""
    assert float(importance_weighted_bound(torch.zeros(5000))) == pytest.approx(0.0, abs=1e-12)


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=30).filter(lambda v: len(v) % 2 == 0))
def test_the_bound_of_two_halves_is_never_above_that_of_the_whole(values):
    """Concavity, for every draw: L_2K >= (L_K + L'_K) / 2."""
    log_w = torch.tensor(values, dtype=torch.float64)
    halves = importance_weighted_bound(log_w.view(2, -1), dim=1)
    assert float(importance_weighted_bound(log_w)) >= float(halves.mean()) - 1e-12


@given(weights, st.integers(1, 7))
def test_weights_that_arrive_in_pieces_give_the_same(values, size):
    log_w = torch.tensor(values, dtype=torch.float64)[:, None]
    running = LogMeanExp(1)
    for piece in log_w.split(size):
        running.add(piece)
    assert float(running.value) == pytest.approx(float(importance_weighted_bound(log_w)[0]), rel=1e-12, abs=1e-12)


def test_zero_weights_are_legitimate_and_nan_is_kept():
    assert float(importance_weighted_bound(torch.tensor([-math.inf, 0.0]))) == pytest.approx(-math.log(2))
    assert float(importance_weighted_bound(torch.full((3,), -math.inf))) == -math.inf
    assert math.isnan(float(importance_weighted_bound(torch.tensor([math.nan, 0.0]))))
    running = LogMeanExp(1)
    running.add(torch.full((2, 1), -math.inf))
    assert running.value.tolist() == [-math.inf]
    running.add(torch.zeros(2, 1))
    assert running.value.tolist() == pytest.approx([-math.log(2)])


def test_weights_are_added_in_float64():
    log_w = torch.full((4096,), -800.0, dtype=torch.float16)
    assert float(importance_weighted_bound(log_w)) == -800.0


def test_no_weights_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        importance_weighted_bound(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="No weights"):
        _ = LogMeanExp(2).value
