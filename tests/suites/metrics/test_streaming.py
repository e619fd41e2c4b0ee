"""The same metrics as torchmetrics classes."""

import math

import pytest
import torch

from torchstone.suites.metrics.bounds import importance_weighted_bound
from torchstone.suites.metrics.streaming import BitsPerDim, ImportanceWeightedBound
from torchstone.suites.metrics.units import bits_per_dim


@pytest.mark.parametrize("size", [1, 7, 100])
def test_bits_per_dim_is_a_mean_over_examples_whatever_the_batches(size):
    log_prob = -torch.rand(100, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 50
    metric = BitsPerDim(dims=64)
    for batch in log_prob.split(size):
        metric.update(batch)
    assert float(metric.compute()) == pytest.approx(bits_per_dim(-float(log_prob.mean()), 64), rel=1e-12)


def test_two_processes_give_what_one_gives():
    log_prob = -torch.arange(10.0)
    whole, first, second = BitsPerDim(2), BitsPerDim(2), BitsPerDim(2)
    whole.update(log_prob)
    first.update(log_prob[:7])
    second.update(log_prob[7:])
    first.merge_state(second)
    assert float(first.compute()) == float(whole.compute())


def test_sums_stay_in_float64_in_a_half_precision_module():
    metric = BitsPerDim(dims=1).half()
    module = torch.nn.ModuleList([metric]).half()
    for _ in range(3072):
        metric.update(torch.tensor([-2.0794], dtype=torch.float16))
    assert float(metric.compute()) == pytest.approx(2.0794 / math.log(2), rel=1e-3)
    assert module is not None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_makes_the_mean_infinite(bad):
    metric = BitsPerDim(dims=2)
    metric.update(torch.tensor([-1.0, bad]))
    assert float(metric.compute()) == math.inf


def test_the_importance_weighted_bound_is_a_mean_of_bounds():
    log_w = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    metric = ImportanceWeightedBound()
    for batch in log_w.split(3, dim=1):
        metric.update(batch)
    assert float(metric.compute()) == pytest.approx(float(importance_weighted_bound(log_w).mean()), rel=1e-12)


def test_reset_begins_anew():
    metric = BitsPerDim(dims=1)
    metric.update(torch.tensor([-1.0]))
    metric.reset()
    metric.update(torch.tensor([-math.log(2.0)]))
    assert float(metric.compute()) == pytest.approx(1.0)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        BitsPerDim(dims=0)
    with pytest.raises(ValueError, match="shape"):
        BitsPerDim(dims=1).update(torch.zeros(2, 2))
    metric = BitsPerDim(dims=1)
    metric.update(torch.zeros(0))
    with pytest.raises(ValueError, match="No examples"):
        metric.compute()
