"""Nats, bits and dimensions."""

import math

import pytest

from torchstone.suites.metrics.units import bits_per_dim, nats_to_bits


def test_a_uniform_image_of_256_levels_has_eight_bits_per_dimension():
    nats = 3072 * math.log(256)
    assert nats == pytest.approx(17034.785109441214, rel=1e-12)
    assert bits_per_dim(nats, 3072) == pytest.approx(8.0, rel=1e-12)


@pytest.mark.parametrize(
    ("nats", "dims", "known"), [(6388.0, 3072, 2.9999791410152015), (2.6364, 1, 3.8035212057996635)]
)
def test_known_conversions(nats, dims, known):
    assert bits_per_dim(nats, dims) == pytest.approx(known, rel=1e-9)


def test_a_density_clamped_at_1e_minus_12_cannot_cost_more_than_39_86_bits():
    assert nats_to_bits(-math.log(1e-12)) == pytest.approx(39.86313713864835, rel=1e-9)


def test_an_example_without_dimensions_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        bits_per_dim(1.0, 0)
