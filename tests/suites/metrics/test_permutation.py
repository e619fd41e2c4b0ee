"""Exact tests keep their level and see what they are there for."""

import itertools
import math

import pytest
import torch

from torchstone.suites.metrics.counts import excess_p_value
from torchstone.suites.metrics.draws import draws_p_value, whitened_p_value
from torchstone.suites.metrics.permutation import energy_test, matches_test, sign_test


def rng(seed):
    return torch.Generator().manual_seed(seed)


def level(p_values):
    """How many of 200 p-values are below a tenth; 20 are expected, and 36 once in ten thousand times."""
    assert len(p_values) == 200
    return sum(p <= 0.1 for p in p_values)


def test_the_energy_test_keeps_its_level_on_two_points_and_on_heavy_tails():
    two = [energy_test(*torch.randint(2, (2, 20, 1), generator=rng(s)), rng(s + 999))[1] for s in range(200)]
    heavy = [energy_test(*torch.empty(2, 15, 3).cauchy_(generator=rng(s)), rng(s + 999))[1] for s in range(200)]
    assert level(two) <= 36 and level(heavy) <= 36


def test_the_energy_test_sees_another_place_and_another_spread():
    a = torch.randn(40, 3, generator=rng(0))
    assert energy_test(a, torch.randn(30, 3, generator=rng(1)) + 2, rng(2))[1] < 1e-4
    assert energy_test(a, torch.randn(30, 3, generator=rng(1)) / 6, rng(2))[1] < 1e-4
    assert energy_test(torch.ones(5, 2), torch.ones(7, 2), rng(2)) == (0.0, 1.0)
    with pytest.raises(ValueError, match="one event shape"):
        energy_test(a, torch.zeros(3, 2), rng(0))


def test_the_distance_is_that_of_its_definition():
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.5], [3.0]])

    def mean(a, b):
        return sum(abs(float(p) - float(q)) for p, q in itertools.product(a, b)) / len(a) / len(b)

    known = 2 * mean(x, y) - mean(x, x) - mean(y, y)
    assert energy_test(x, y, rng(0))[0] == pytest.approx(known, rel=1e-9)


def test_the_sign_test_keeps_its_level_and_counts_infinities_as_large():
    p = [sign_test(torch.empty(12).cauchy_(generator=rng(s)), rng(s + 999)) for s in range(200)]
    assert level(p) <= 36
    assert sign_test(torch.ones(20), rng(0)) < 1e-4
    assert sign_test(torch.tensor([math.inf, -math.inf, 1.0, -1.0]), rng(0)) == 1.0
    with pytest.raises(ValueError, match=r"\(N,\)"):
        sign_test(torch.zeros(2, 2), rng(0))


def test_sequences_that_match_are_as_improbable_as_their_orders_are_many():
    rows = torch.arange(6)[:, None]
    assert matches_test(rows, rows) == pytest.approx(1 / 720)
    assert matches_test(rows, rows.flip(0)) == 1.0
    assert matches_test(torch.ones(9, 2), torch.ones(9, 2)) == 1.0
    halves = torch.tensor([0, 1] * 4)[:, None]
    assert matches_test(halves, halves) == pytest.approx(1 / 70)


def test_counts_agree_with_fishers_exact_test():
    from scipy.stats import fisher_exact

    for hits, n, expected, m in ((3, 3, 0, 3), (5, 40, 2, 60), (0, 10, 0, 10), (7, 7, 300, 300)):
        right = fisher_exact([[hits, n - hits], [expected, m - expected]], alternative="greater").pvalue
        assert excess_p_value(hits, n, expected, m) == pytest.approx(right, rel=1e-9)
    with pytest.raises(ValueError, match="4 of 3"):
        excess_p_value(4, 3, 0, 1)


def test_whitened_draws_are_standard_normal_or_found_out():
    p = [whitened_p_value(torch.randn(20, 5, 3, generator=rng(s), dtype=torch.float64))[0] for s in range(200)]
    assert level(p) <= 36
    u = torch.randn(64, 50, 3, generator=rng(0), dtype=torch.float64)
    one = torch.tensor([1.0, 1.0, 0.9])
    tails = u.sign() * u.abs().pow(1.6)
    tails /= tails.square().mean().sqrt()
    for wrong in (0.93 * u, one * u, u + 0.1, tails):
        assert whitened_p_value(wrong)[0] < 1e-4


def gaussian(z):
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)


def test_e_values_of_draws_stay_small_for_the_truth_and_grow_for_others():
    def p(factor, offset=0.0, seed=0):
        pilot, draws = factor * torch.randn(2, 64, 50, 3, generator=rng(seed), dtype=torch.float64)
        return draws_p_value(lambda z: gaussian(z) + offset, pilot, draws, rng(seed + 999))

    assert sum(p(1.0, seed=s) <= 0.1 for s in range(100)) <= 21
    assert max(p(0.94), p(1.06), p(1.0, 0.2), p(1.0, -0.2)) < 1e-6
