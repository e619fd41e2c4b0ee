"""Importance-weighted bounds."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchstone.suites.metrics.bounds import Ladder, LogMeanExp, effective_samples, importance_weighted_bound

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


# A ladder: fixture of one latent, p(z) = N(0, 1), p(x|z) = N(z, 1/2), x = 1.5, and q = N(0.8, 0.7^2).
KNOWN = {
    1: -1.974039886863,
    2: -1.910180862528,
    5: -1.884974373048,
    10: -1.878051071229,
    50: -1.872907816716,
    100: -1.872287113109,
    1000: -1.871732481397,
    5000: -1.871683362386,
}
TRUTH = -1.871671087258755


def log_normal(value, mean, variance):
    return -0.5 * (math.log(2 * math.pi * variance) + (value - mean) ** 2 / variance)


def log_weights_at(noise):
    """Of standard normal noise, of any shape."""
    z = 0.8 + 0.7 * noise
    return log_normal(z, 0, 1) + log_normal(1.5, z, 0.5) - log_normal(z, 0.8, 0.49)


def drawn(k, n, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return log_weights_at(torch.randn(k, n, generator=rng, dtype=torch.float64))


def climbed(log_w, rungs, size=None):
    ladder = Ladder(log_w.shape[1], rungs)
    for piece in log_w.split(size or len(log_w)):
        ladder.add(piece)
    return ladder.climb()


@pytest.mark.parametrize("k", [1, 2])
def test_the_bound_has_its_exact_expectation_by_quadrature(k):
    """The trapezoid rule on a Gaussian, in one and in two dimensions."""
    grid = torch.linspace(-9, 9, 721, dtype=torch.float64)
    weight = torch.exp(-0.5 * grid**2)
    weight = weight / weight.sum()
    log_w = log_weights_at(grid)
    if k == 1:
        expected = importance_weighted_bound(log_w[None]) @ weight
    else:
        pairs = torch.stack(torch.broadcast_tensors(log_w[:, None], log_w))
        expected = weight @ importance_weighted_bound(pairs) @ weight
    assert float(expected) == pytest.approx(KNOWN[k], rel=1e-9)


@pytest.mark.parametrize("rungs", [(1, 10, 100, 1000, 5000), (2, 10, 50, 1000)])
def test_every_rung_has_its_known_expectation(rungs):
    ladder = Ladder(1500, rungs)
    for piece in range(50):
        ladder.add(drawn(100, 1500, seed=piece))
    for rung in ladder.climb():
        stderr = float(rung.bound.std()) / math.sqrt(1500)
        assert abs(float(rung.bound.mean()) - KNOWN[rung.samples]) < 4 * stderr
        assert rung.groups == 5000 // rung.samples


def test_a_ladder_that_forgets_ln_k_is_found_out():
    """The mutant adds up weights in place of averaging them."""
    log_w = drawn(1000, 500)
    sums = log_w.view(-1, 10, 500).logsumexp(1).mean(0)
    assert abs(float(sums.mean()) - KNOWN[10]) > 100 * float(sums.std()) / math.sqrt(500)
    (rung,) = climbed(log_w, (10,))
    torch.testing.assert_close(sums - rung.bound, torch.full_like(sums, math.log(10)), rtol=0, atol=1e-12)


@given(st.integers(0, 2**31), st.floats(0.1, 30), st.integers(1, 61))
def test_no_bound_is_ever_below_that_of_the_rung_before(seed, spread, size):
    """For every draw, not in the mean alone: all rungs average over the same weights."""
    log_w = spread * drawn(120, 5, seed)
    rungs = climbed(log_w, (1, 2, 6, 12, 60), size)
    for low, high in pairwise(rungs):
        assert bool((high.bound >= low.bound - 1e-12 * low.bound.abs()).all())


def test_one_group_of_some_weights_is_not_monotone_where_the_ladder_is():
    """The mutant takes the first K weights for each K."""
    log_w = 5 * drawn(120, 200)
    first = torch.stack([importance_weighted_bound(log_w[:k]) for k in (1, 2, 6, 12, 60)])
    assert bool((first.diff(dim=0) < 0).any())


@pytest.mark.parametrize("size", [1, 3, 50, 64, 777])
def test_pieces_of_any_size_give_the_same_ladder(size):
    log_w = 3 * drawn(2000, 6) - 700
    log_w[5, 0], log_w[:1000, 1], log_w[7, 2] = -math.inf, -math.inf, math.nan
    rungs = (1, 10, 100, 1000)
    for whole, pieces in zip(climbed(log_w, rungs), climbed(log_w, rungs, size), strict=True):
        k = whole.samples
        bounds = importance_weighted_bound(log_w.view(-1, k, 6), dim=1)
        shares = log_w.view(-1, k, 6).softmax(1).nan_to_num(1.0).amax(1)
        known = (bounds.mean(0), bounds.var(0) / len(bounds), effective_samples(log_w.view(-1, k, 6), 1).mean(0))
        for found in (whole, pieces):
            measured = (found.bound, found.variance, found.effective_samples)
            for a, b in zip(measured, known, strict=True):
                torch.testing.assert_close(a[3:], b[3:], rtol=1e-9, atol=1e-12)
            assert found.bound[1] == -math.inf and bool(found.bound[2].isnan())
            torch.testing.assert_close(found.largest_weight[3:], shares.mean(0)[3:], rtol=1e-9, atol=0)


def test_zero_weights_count_as_nothing_and_carry_nothing():
    ladder = climbed(torch.tensor([[0.0, -math.inf], [-math.inf, -math.inf]], dtype=torch.float64), (2,))[0]
    assert ladder.bound.tolist() == pytest.approx([-math.log(2), -math.inf])
    assert ladder.effective_samples.tolist() == [1.0, 0.0]
    assert ladder.largest_weight.tolist() == [1.0, 1.0]
    assert bool(ladder.variance.isnan()[1])


def test_effective_samples_of_equal_weights_are_all_of_them():
    (rung,) = climbed(torch.full((50, 2), -800.0), (50,))
    assert rung.effective_samples.tolist() == pytest.approx([50.0, 50.0])
    assert rung.largest_weight.tolist() == pytest.approx([0.02, 0.02])
    assert rung.variance.tolist() == pytest.approx([0.0, 0.0], abs=1e-15)


@pytest.mark.parametrize(("rungs", "k"), [((1, 10, 100), 5000), ((1000,), 1000)])
def test_standard_errors_are_as_large_as_the_errors(rungs, k):
    """Over 200 seeds, z-scores have a standard deviation near one: by the spread of groups, and by the weights."""
    for rung in climbed(torch.cat([drawn(k, 1, seed) for seed in range(200)], 1), rungs):
        z = (rung.bound - KNOWN[rung.samples]) / rung.variance.sqrt()
        assert 0.85 <= float(z.std()) <= 1.15
        assert abs(float(z.mean())) < 4 / math.sqrt(200)


def test_a_single_weight_says_nothing_about_its_error():
    assert bool(climbed(drawn(1, 3), (1,))[0].variance.isnan().all())


@pytest.mark.parametrize("rungs", [(), (0, 1), (1, 10, 25), (10, 10), (100, 10)])
def test_rungs_that_do_not_nest_are_refused(rungs):
    with pytest.raises(ValueError, match="each divides the next"):
        Ladder(3, rungs)


def test_weights_that_make_no_whole_group_are_refused():
    ladder = Ladder(2, (1, 10))
    with pytest.raises(ValueError, match="add 10 more"):
        ladder.climb()
    ladder.add(torch.zeros(14, 2))
    with pytest.raises(ValueError, match="was given 14: add 6 more"):
        ladder.climb()


def test_memory_does_not_grow_with_the_number_of_weights():
    """What a ladder holds is some numbers per rung and example, however many weights went by."""

    def held(pieces):
        ladder = Ladder(10)
        for seed in range(pieces):
            ladder.add(drawn(77, 10, seed))
        return sum(len(level._begun) for level in ladder._levels)

    assert held(200) <= 5 and held(3) <= 5
