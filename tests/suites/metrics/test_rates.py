"""Medians of timings: exact where they can be, and with intervals that cover what they say."""

import math

import pytest
import torch

from torchstone.models.randomness import generator
from torchstone.suites.metrics.rates import effective_size, median, quantile, ratio


def drawn(n, seed, *, correlation=0.0):
    """Log-normal times, each remembering ``correlation`` of the one before."""
    noise = torch.randn(n, generator=generator(seed, "times"), dtype=torch.float64)
    for place in range(1, n):
        noise[place] = correlation * noise[place - 1] + math.sqrt(1 - correlation**2) * noise[place]
    return (0.3 * noise).exp()


def test_known_quantiles():
    found = median(torch.arange(1.0, 102.0))
    assert (found.value, found.iqr, found.n) == (51.0, 50.0, 101)
    assert quantile(torch.arange(1.0, 102.0), 0.95).value == pytest.approx(96.0, rel=1e-9)
    assert found.low < 51.0 < found.high and found.stderr == pytest.approx((found.high - found.low) / 3.919927969080108)


def test_a_rate_turns_the_interval_round():
    found = median(torch.tensor([1.0, 2.0, 4.0])).inverse(8.0)
    assert found.value == 4.0 and found.low <= 4.0 <= found.high
    with pytest.raises(ValueError, match="too coarse"):
        median(torch.zeros(5)).inverse()


def test_a_single_measurement_has_no_interval():
    alone = median(torch.tensor([2.0]))
    assert (alone.value, alone.stderr, alone.ci95) == (2.0, None, None)
    for derived in (alone.scaled(3.0), alone.inverse(), ratio(torch.ones(1), drawn(9, 0))):
        assert derived.stderr is None and derived.ci95 is None
    both = median(torch.tensor([1.0, 3.0]))
    assert both.stderr > 0 and both.ci95 == (1.0, 3.0)


def test_the_effective_size_of_an_autoregression_is_known():
    """Of 4,000 that remember 0.9 of the one before, 4000 (1 - 0.9) / (1 + 0.9) = 211 are left."""
    assert effective_size(drawn(4000, 0, correlation=0.9)) == pytest.approx(210, abs=60)


def test_independent_measurements_count_in_full_and_neighbours_that_agree_for_less():
    assert effective_size(drawn(400, 0)) > 200
    assert effective_size(drawn(400, 0, correlation=0.9)) < 100  # 400 (1 - 0.9) / (1 + 0.9) = 21
    assert effective_size(torch.ones(50)) == 50


@pytest.mark.parametrize(("correlation", "least"), [(0.0, 0.92), (0.8, 0.85)])
def test_the_interval_covers_the_median(correlation, least):
    """True median one, 500 runs of 60 calls: a coverage of 0.95 gives less than 0.92 with a probability of 0.002."""
    inside = [
        found.low <= 1 <= found.high for found in (median(drawn(60, s, correlation=correlation)) for s in range(500))
    ]
    assert sum(inside) / 500 >= least


def test_the_ratio_of_two_halves_is_one_as_often_as_it_says():
    """500 A/A measurements of 30 calls each: at most 8 % of the intervals may leave one out (5 % are due)."""
    missed = 0
    for seed in range(500):
        found = ratio(drawn(30, 2 * seed), drawn(30, 2 * seed + 1))
        missed += not found.low <= 1 <= found.high
    assert missed <= 40


def test_a_true_ratio_is_found():
    found = ratio(2 * drawn(200, 0), drawn(200, 1))
    assert found.low <= 2 <= found.high and found.low > 1.7


@pytest.mark.parametrize("values", [torch.zeros(0), torch.zeros(2, 2), torch.tensor([1.0, math.nan])])
def test_what_is_no_measurement_is_refused(values):
    with pytest.raises(ValueError, match="finite measurements"):
        median(values)
    with pytest.raises(ValueError, match="above zero"):
        ratio(torch.zeros(3), torch.ones(3))
