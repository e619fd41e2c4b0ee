"""Means, their standard errors, and what pairing is worth."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchstone.suites.metrics.uncertainty import mean, paired_difference, replicate_stderr

finite = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50)


@given(finite)
def test_the_mean_is_numpys_with_the_standard_error_of_n_minus_one(values):
    costs = torch.tensor(values, dtype=torch.float64)
    found = mean(costs)
    assert found.value == pytest.approx(costs.numpy().mean(), rel=1e-12, abs=1e-9)
    assert found.stderr == pytest.approx(costs.numpy().std(ddof=1) / math.sqrt(len(values)), rel=1e-9, abs=1e-9)
    low, high = found.ci95
    assert high - low == pytest.approx(2 * 1.959963984540054 * found.stderr, rel=1e-6, abs=1e-6)


def test_sums_are_in_float64():
    """Half precision stalls at 4,096 where 2.0794 is added 3,072 times; the mean of 65,504s overflows it."""
    assert mean(torch.full((3072,), 2.0794, dtype=torch.float16)).value == pytest.approx(2.0794, rel=1e-3)
    assert mean(torch.full((100,), 65504.0, dtype=torch.float16)).value == 65504.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_counted_and_worth_infinity(bad):
    found = mean(torch.tensor([1.0, bad, 2.0, bad]))
    assert (found.value, found.stderr, found.ci95, found.nonfinite, found.n) == (math.inf, None, None, 2, 4)


def test_one_example_has_no_standard_error():
    assert mean(torch.ones(1)).stderr is None


@pytest.mark.parametrize("shape", [(0,), (), (2, 2)])
def test_anything_but_one_value_per_example_is_refused(shape):
    with pytest.raises(ValueError, match="shape"):
        mean(torch.zeros(shape))


def test_pairing_takes_out_what_examples_share():
    """Standard deviation 0.5, correlation 0.98, 10,000 examples: 0.00100 paired where unpaired gives 0.00707."""
    rng = torch.Generator().manual_seed(0)
    shared, own = torch.randn(10_000, generator=rng), torch.randn(2, 10_000, generator=rng)
    a, b = (0.5 * (math.sqrt(0.98) * shared + math.sqrt(0.02) * noise) for noise in own)
    unpaired = math.hypot(mean(a).stderr, mean(b).stderr)
    assert unpaired == pytest.approx(0.007071067811865475, rel=0.02)
    assert paired_difference(a, b).stderr == pytest.approx(0.001, rel=0.02)


def test_equal_infinities_are_equal_and_others_are_not():
    inf = torch.tensor([math.inf, 1.0])
    assert paired_difference(inf, inf).value == 0.0
    finite = torch.tensor([0.0, 1.0])
    assert paired_difference(inf, finite).value == math.inf
    assert paired_difference(finite, inf).value == -math.inf
    assert math.isnan(paired_difference(inf, torch.tensor([0.0, math.nan])).value)
    with pytest.raises(ValueError, match="same examples"):
        paired_difference(torch.zeros(3), torch.zeros(4))


def test_the_estimators_share_is_that_of_a_mean_of_means():
    """Ten replicates of unit variance for each of 100 examples: sqrt(1 / (10 · 100))."""
    assert replicate_stderr(torch.ones(100), torch.full((100,), 10.0)) == pytest.approx(math.sqrt(1 / 1000))


def test_the_estimators_share_of_examples_asked_once_is_taken_from_the_others():
    variances = torch.tensor([4.0, math.nan, math.nan, math.nan])
    asked = torch.tensor([2.0, 1.0, 1.0, 1.0])
    assert replicate_stderr(variances, asked) == pytest.approx(math.sqrt(2 + 4 + 4 + 4) / 4)
    assert replicate_stderr(torch.full((3,), math.nan), torch.ones(3)) is None


def test_the_error_over_examples_contains_the_estimators():
    """Adding the two would count the estimator twice: the spread of means is that of both together."""
    rng = torch.Generator().manual_seed(0)
    examples, replicates, repeats = 200, 4, 400
    truth = torch.randn(repeats, examples, 1, generator=rng)
    draws = truth + 3 * torch.randn(repeats, examples, replicates, generator=rng)
    means = draws.mean(2)
    spread = float(means.mean(1).std())
    reported = float(torch.tensor([mean(row).stderr for row in means]).mean())
    assert reported == pytest.approx(spread, rel=0.15)  # standard deviation of the ratio: 3.5 %
