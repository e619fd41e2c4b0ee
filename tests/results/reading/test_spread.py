"""The spread of seeds, at every size."""

import math
import statistics

import pytest

from torchstone.results.reading.spread import complete, spread


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e200, 1e307])
def test_it_is_the_sample_deviation_whatever_the_size(scale):
    numbers = [1.0, 2.5, 4.0, -3.0]
    assert spread([scale * each for each in numbers]) == pytest.approx(scale * statistics.stdev(numbers), rel=1e-12)


def test_what_is_rounding_is_none_and_zeros_have_none():
    assert spread([1.9, 1.9 + 1e-15]) == 0.0 and spread([0.0, 0.0]) == 0.0
    assert spread([1.9, 1.9 + 1e-9]) == pytest.approx(1e-9 / math.sqrt(2), rel=1e-6)


@pytest.mark.parametrize("numbers", [[], [1.0], [1.0, math.inf], [math.nan, 1.0]])
def test_it_needs_two_finite_numbers(numbers):
    assert spread(numbers) is None


def test_one_that_is_missing_makes_all_of_them_incomplete():
    assert complete([1.0, 2.0]) == [1.0, 2.0] and complete([1.0, None]) is None
