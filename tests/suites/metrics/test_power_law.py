"""Exponents by least squares on logarithms."""

import math

import numpy as np
import pytest
from scipy.stats import linregress

from torchstone.models.randomness import generator
from torchstone.suites.metrics.power_law import power_law


def test_an_exact_law_is_found_and_extended():
    law = power_law([16, 64, 144, 256], [3 * n**1.5 for n in (16, 64, 144, 256)])
    assert law.exponent == pytest.approx(1.5, rel=1e-9) and math.exp(law.intercept) == pytest.approx(3.0, rel=1e-9)
    assert law.at(3 * 1024**2) == pytest.approx(3 * (3 * 1024**2) ** 1.5, rel=1e-9)
    low, high = law.interval(1000)
    assert low == pytest.approx(high, rel=1e-6)


def test_it_is_the_regression_of_scipy():
    import torch

    noise = (0.1 * torch.randn(7, generator=generator(0, "law"))).exp().tolist()
    sizes = [4, 8, 16, 32, 64, 128, 256]
    costs = [n**1.2 * e for n, e in zip(sizes, noise, strict=True)]
    law, peer = power_law(sizes, costs), linregress(np.log(sizes), np.log(costs))
    assert law.exponent == pytest.approx(peer.slope, rel=1e-9) and law.stderr == pytest.approx(peer.stderr, rel=1e-9)
    assert law.intercept == pytest.approx(peer.intercept, rel=1e-9)


def test_the_interval_covers_the_exponent():
    """500 fits to five points with 10 % noise: a coverage of 0.95 gives less than 0.92 with a probability of 0.002."""
    import torch

    rng, inside = generator(0, "cover"), 0
    for _ in range(500):
        noise = (0.1 * torch.randn(5, generator=rng)).exp().tolist()
        law = power_law([1, 4, 16, 64, 256], [n**0.7 * e for n, e in zip((1, 4, 16, 64, 256), noise, strict=True)])
        inside += law.ci95[0] <= 0.7 <= law.ci95[1]
    assert inside / 500 >= 0.92


def test_the_interval_of_one_more_cost_covers_it():
    """1,000 new costs between the points: 0.95 gives less than 0.93 with a probability of 0.002; the doubt about the
    law alone would cover 0.6 of them."""
    import torch

    rng, inside, sizes = generator(0, "new"), 0, (1, 4, 16, 64, 256)
    for _ in range(1000):
        *noise, new = (0.1 * torch.randn(6, generator=rng)).exp().tolist()
        low, high = power_law(sizes, [n**0.7 * e for n, e in zip(sizes, noise, strict=True)]).interval(16)
        inside += low <= 16**0.7 * new <= high
    assert 0.93 <= inside / 1000 <= 0.97


def test_two_points_have_an_exponent_and_no_interval():
    law = power_law([1, 10], [1, 100])
    assert law.exponent == pytest.approx(2.0) and law.ci95 is None and law.interval(5) is None


@pytest.mark.parametrize(("sizes", "costs"), [([1], [1]), ([2, 2], [1, 3]), ([1, 2], [0, 1]), ([1, 2], [1])])
def test_what_has_no_exponent_is_refused(sizes, costs):
    with pytest.raises(ValueError, match="two different sizes"):
        power_law(sizes, costs)
