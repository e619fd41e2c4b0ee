"""Differences of means: closed forms, coverage, and what is done with values that have no mean."""

import math

import numpy as np
import pytest
from scipy import stats

from torchstone.results.comparison.differences import Difference, exactly, over_seeds, paired, resampled, unpaired


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_paired_difference_is_scipys_t_test_of_related_samples(rng):
    a = rng.normal(5, 2, 300)
    b = a + rng.normal(0.1, 0.3, 300)
    found, test = paired(a, b), stats.ttest_rel(a, b)
    assert found.value == pytest.approx(a.mean() - b.mean(), rel=1e-9)
    assert found.interval() == pytest.approx(tuple(test.confidence_interval()), rel=1e-9)
    assert found.p_above(0.0) == pytest.approx(stats.ttest_rel(a, b, alternative="greater").pvalue, rel=1e-9)
    assert found.p_below(0.0) == pytest.approx(stats.ttest_rel(a, b, alternative="less").pvalue, rel=1e-9)
    shifted = stats.ttest_rel(a, b + 0.05, alternative="greater").pvalue
    assert found.p_above(0.05) == pytest.approx(shifted, rel=1e-9)
    assert found.paired and found.n == 300 and not found.same


def test_an_unpaired_difference_is_welchs_t_test(rng):
    a, b = rng.normal(1, 2, 50), rng.normal(1.3, 0.5, 200)
    errors = [stats.sem(each) for each in (a, b)]
    found, test = unpaired(a.mean(), b.mean(), *errors, 50, 200), stats.ttest_ind(a, b, equal_var=False)
    assert found.interval() == pytest.approx(tuple(test.confidence_interval()), rel=1e-9)
    assert found.degrees == pytest.approx(test.df, rel=1e-9)
    normal = unpaired(a.mean(), b.mean(), *errors)
    assert normal.interval()[1] - normal.value == pytest.approx(1.959963984540054 * math.hypot(*errors), rel=1e-9)


def test_pairing_pays_what_the_correlation_says():
    """A spread of 0.5 per example, correlated by 0.98, over 10,000 examples: 0.00707 unpaired and 0.00100 paired."""
    z = np.random.default_rng(1).normal(size=(2, 10_000))
    z = (z - z.mean(1, keepdims=True)) / z.std(1, ddof=1, keepdims=True)
    z[1] -= (z[1] @ z[0]) / (z[0] @ z[0]) * z[0]
    z[1] /= z[1].std(ddof=1)
    a, b = 0.5 * z[0], 0.5 * (0.98 * z[0] + math.sqrt(1 - 0.98**2) * z[1])
    assert paired(a, b).stderr == pytest.approx(0.001, rel=1e-9)
    assert unpaired(a.mean(), b.mean(), stats.sem(a), stats.sem(b)).stderr == pytest.approx(
        0.5 * 2**0.5 / 100, rel=1e-9
    )


def test_identical_values_differ_by_exactly_zero_and_are_certain_of_it(rng):
    a = rng.normal(size=20)
    found = paired(a, a.copy())
    assert (found.value, found.stderr, found.same) == (0.0, 0.0, True)
    assert found.interval() == (0.0, 0.0)
    assert found.p_above(0.0) == 1.0 and found.p_below(0.0) == 0.0
    broken = np.array([1.0, math.nan, math.inf])
    assert paired(broken, broken).same


def test_a_constant_shift_is_certain_whatever_rounding_leaves_of_it(rng):
    a = rng.normal(100, 10, 297)
    found = paired(a + 0.1, a)
    assert found.stderr == 0.0 and found.value == pytest.approx(0.1, rel=1e-9)
    assert found.p_above(0.05) == 0.0 and found.p_below(0.2) == 0.0 and found.p_below(0.05) == 1.0


def test_one_huge_value_that_both_have_does_not_make_the_others_certain(rng):
    a = rng.normal(85, 10, 297)
    b = a + rng.normal(0, 0.5, 297)
    a[3] = b[3] = 1e13
    assert paired(a, b).stderr == pytest.approx(stats.sem(a - b), rel=1e-9)


def test_a_value_that_is_not_finite_makes_its_mean_infinite_and_is_never_dropped():
    for bad in (math.nan, math.inf, -math.inf):
        worse = paired([1.0, bad, 3.0], [1.0, 2.0, 3.0])
        assert worse.value == math.inf and worse.stderr is None and "first mean is infinite" in worse.note
        assert worse.p_above(0.1) == 0.0 and worse.p_below(0.1) == 1.0 and worse.interval() is None
    better = paired([1.0, 2.0], [1.0, math.nan])
    assert better.value == -math.inf and better.p_above(0.1) == 1.0 and better.p_below(0.1) == 0.0
    gain = paired([math.nan, 1.0], [0.0, 1.0], worst=-math.inf)
    assert gain.value == -math.inf
    both = paired([math.nan, 1.0], [math.inf, 1.0])
    assert math.isnan(both.value) and both.p_above(0.0) is None and "Both means are infinite" in both.note


def test_one_example_has_no_standard_error_and_none_is_an_error():
    found = paired([1.0], [2.0])
    assert found.value == -1.0 and found.stderr is None and found.p_above(0.0) is None
    assert "One example" in found.note
    for a, b in (([], []), ([1.0], [1.0, 2.0]), ([[1.0]], [[1.0]])):
        with pytest.raises(ValueError, match="should be one"):
            paired(a, b)


@pytest.mark.parametrize("error", [None, math.nan, math.inf, -0.1])
def test_a_standard_error_that_is_none_leaves_the_difference_without_interval(error):
    found = unpaired(2.0, 1.0, 0.1, error)
    assert found.value == 1.0 and found.interval() is None and found.p_above(0.0) is None
    assert found.note == "The second value has not a standard error that is a finite number."
    assert "Neither value has" in unpaired(2.0, 1.0, error, error).note


def test_values_that_are_not_numbers_or_infinite_are_said_in_words():
    assert "not a number" in unpaired(math.nan, 1.0, 0.1, 0.1).note
    assert unpaired(math.inf, 1.0, None, 0.1).value == math.inf
    assert "Both means" in unpaired(math.inf, math.inf, None, None).note
    assert exactly(math.nan, 1.0).stderr is None


def test_counts_without_noise_are_certain():
    assert exactly(3.0, 2.0).p_above(0.0) == 0.0
    assert exactly(2.0, 2.0).same and exactly(2.0, 2.0).p_below(0.0) == 0.0


def test_seeds_are_a_noise_of_their_own_and_add_to_that_of_examples():
    base = unpaired(1.0, 0.9, 0.03, 0.04)
    a, b = [1.0, 1.1, 0.9], [0.8, 0.9, 1.0]
    apart = over_seeds(base, a, b, matched=False)
    assert apart.seed_stderr == pytest.approx(math.sqrt(0.01 / 3 + 0.01 / 3), rel=1e-9)
    assert apart.error == pytest.approx(math.hypot(0.05, apart.seed_stderr), rel=1e-9)
    assert apart.seed_freedom == pytest.approx(4.0, rel=1e-9)
    assert apart.degrees == pytest.approx(4.0, rel=1e-9)  # 7.6 by Satterthwaite, of a spread that may be a chance one
    few = over_seeds(paired([1.0, 2.0, 4.0], [0.0, 0.0, 0.0]), a, b, matched=False)
    shares = few.stderr**2 / few.error**2, few.seed_stderr**2 / few.error**2
    assert few.degrees == pytest.approx(1 / (shares[0] ** 2 / 2 + shares[1] ** 2 / 4), rel=1e-9) and few.degrees < 4
    together = over_seeds(base, a, [each - 0.2 for each in a], matched=True)
    assert together.seed_stderr == 0.0 and together.error == base.error and together.degrees == math.inf
    related = over_seeds(exactly(0.1, 0.0), a, b, matched=True)
    assert related.interval() == pytest.approx(tuple(stats.ttest_rel(a, b).confidence_interval()), rel=1e-9)
    assert over_seeds(base, [1.0], b, matched=False).seed_stderr is None
    assert over_seeds(base, [1.0, math.inf], b, matched=False).seed_stderr is None


def test_the_bootstrap_agrees_with_the_t_interval_on_normal_values_and_repeats_itself(rng):
    a = rng.normal(0.2, 1, 400)
    found = resampled(a, np.zeros(400), np.random.default_rng(5))
    assert found.interval == pytest.approx(paired(a, np.zeros(400)).interval(), abs=0.01)
    assert resampled(a, np.zeros(400), np.random.default_rng(5)) == found
    assert found.wilcoxon == pytest.approx(stats.wilcoxon(a).pvalue, rel=1e-9)


@pytest.mark.parametrize("values", [[1.0], [1.0, 1.0, 1.0], [0.0, 0.0], [1.0, math.nan, 2.0], [1.0, math.inf]])
def test_where_resampling_says_nothing_it_says_none(values, rng):
    found = resampled(values, np.zeros(len(values)), rng)
    assert found.interval is None and found.wilcoxon is None


def test_two_examples_are_too_few_for_the_bootstrap_and_no_warning_escapes(rng):
    resampled([1.0, 2.0], [0.5, 0.1], rng, resamples=100)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Of 95 % intervals over 1,000 draws between 927 and 971 cover, but for one run in a thousand; seeds in them."""
    rng, covered = np.random.default_rng(2), {"examples": 0, "seeds": 0}
    for _ in range(1000):
        covered["examples"] += _inside(paired(rng.normal(0.3, 1, 100), rng.normal(0, 1, 100)), 0.3)
        shift_a, shift_b = rng.normal(0.3, 0.2, 4), rng.normal(0, 0.2, 4)
        noise = rng.normal(0, 1, 200)
        a, b = noise + shift_a.mean(), noise + shift_b.mean() + rng.normal(0, 0.5, 200)
        covered["seeds"] += _inside(over_seeds(paired(a, b), shift_a, shift_b, matched=False), 0.3)
    assert 927 <= covered["examples"] <= 971, covered
    assert covered["seeds"] >= 927, covered


def test_a_mutant_that_forgets_the_seeds_covers_far_too_seldom():
    rng, covered = np.random.default_rng(2), 0
    for _ in range(300):
        a = rng.normal(0, 1, 200) + rng.normal(0, 0.2, 4).mean()
        covered += _inside(paired(a, np.zeros(200)), 0.0)
    assert covered < 250


def missed(seeds: int, spread: float, rounds: int = 1000) -> int:
    """How often an interval of 95 % misses the truth, paired over 300 examples, with so many seeds of each side."""
    rng, misses = np.random.default_rng(8), 0
    for _ in range(rounds):
        base = rng.normal(0, 1, 300)
        a, b = base + rng.normal(0, 0.3, (2, seeds, 300)) + rng.normal(0, spread, (2, seeds, 1))
        found = over_seeds(paired(a.mean(0), b.mean(0)), list(a.mean(1)), list(b.mean(1)), matched=True)
        misses += not _inside(found, 0.0)
    return misses


@pytest.mark.parametrize(("seeds", "spread"), [(2, 0.05), (2, 0.2), (3, 0.05), (3, 0.2)])
def test_with_two_or_three_seeds_an_interval_misses_no_more_often_than_it_says(seeds, spread):
    """Of 1,000 intervals of 95 % more than 71 miss with a probability of 0.15 %."""
    assert missed(seeds, spread) <= 71


def test_a_mutant_that_takes_a_small_spread_at_its_word_misses_too_often(monkeypatch):
    """It has the degrees of freedom of Satterthwaite, which grow where the spread of two seeds is small by chance."""

    def degrees(self):
        shares = ((self.stderr, self.freedom), (self.seed_stderr, self.seed_freedom))
        return 1 / sum((error / self.error) ** 4 / freedom for error, freedom in shares)

    monkeypatch.setattr(Difference, "degrees", property(degrees))
    assert missed(2, 0.05) > 71


@pytest.mark.parametrize("size", [1e200, 1e-200, 5e-324])
def test_squares_that_are_no_numbers_do_not_matter(size):
    a, b = [1.0, 3.0, 2.0], [4.0, 4.0, 7.0]
    plain = over_seeds(unpaired(2.0, 5.0, 1.0, 2.0, 9, 9), a, b, matched=False)
    found = over_seeds(
        unpaired(2 * size, 5 * size, size, 2 * size, 9, 9), [size * x for x in a], [size * x for x in b], matched=False
    )
    if size > 1e-300:
        assert found.degrees == pytest.approx(plain.degrees, rel=1e-9)
        assert found.p_above(0.0) == pytest.approx(plain.p_above(0.0), rel=1e-9)
        assert paired(np.multiply(a, size), np.multiply(b, size)).stderr == pytest.approx(paired(a, b).stderr * size)
    assert 0 <= found.p_below(0.0) <= 1 and len(found.interval()) == 2


def test_what_is_too_large_to_be_subtracted_is_said_in_words():
    too_large = "The numbers are too large for their difference, or its standard error, to be one."
    for found in (
        unpaired(1e308, -1e308, 1.0, 1.0),
        unpaired(1e308, 1.0, 1.7e308, 1.7e308),
        exactly(1e308, -1e308),
        paired([1e308, 1e308], [-1e308, 1.0]),
        over_seeds(exactly(0.0, 0.0), [1e308, -1e308], [-1e308, 1e308], matched=True),
    ):
        assert found.stderr is None and found.interval() is None and found.note == too_large
    assert unpaired(1e308, 1.0, 1e308, 0.1, 100, 100).p_above(0.0) == pytest.approx(0.16, abs=0.01)


def _inside(difference, truth):
    low, high = difference.interval()
    return low <= truth <= high
