from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Distribution, Independent, Normal

from torchstone.models.approximate.two_levels import TwoLevels
from torchstone.models.randomness import draw, generator

SCALE, SLOPE, NOISE = 1.5, 0.7, 0.4


def chain(batch: tuple[int, ...] = ()) -> TwoLevels:
    """z_1 ~ N(0, 1.5²) in two dimensions, z_2 = 0.7 (z_11 + z_12) + 0.4 e in one: jointly Gaussian."""
    zero = torch.zeros((*batch, 2), dtype=torch.double)

    def lower(upper: torch.Tensor) -> Distribution:
        return Independent(Normal(SLOPE * upper.sum(-1, keepdim=True), NOISE), 1)

    return TwoLevels(Independent(Normal(zero, SCALE), 1), lower, 1)


def closed_form(z: torch.Tensor) -> torch.Tensor:
    """By hand: three Gaussian exponents and their constants."""
    quadratic = (z[..., :2] / SCALE).square().sum(-1) + ((z[..., 2] - SLOPE * (z[..., 0] + z[..., 1])) / NOISE) ** 2
    return -0.5 * quadratic - 1.5 * math.log(2 * math.pi) - 2 * math.log(SCALE) - math.log(NOISE)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3)])
def test_the_density_is_that_of_the_chain(shape):
    z = torch.randn(shape, dtype=torch.double, generator=generator(0, "z"))
    assert chain().log_prob(z).shape == shape[:-1]
    assert chain().log_prob(z).allclose(closed_form(z), rtol=1e-9, atol=0)


def test_levels_in_the_other_order_are_another_density():
    z = torch.randn((4, 3), dtype=torch.double, generator=generator(0, "z"))
    assert not chain().log_prob(z.flip(-1)).allclose(closed_form(z))


def test_draws_have_the_moments_of_the_chain():
    z = draw(chain(), generator(0, "z"), (40000,))
    covariance = torch.tensor([[SCALE**2, 0.0], [0.0, SCALE**2]])
    cross = SLOPE * SCALE**2
    expected = torch.zeros(3, 3, dtype=torch.double)
    expected[:2, :2], expected[2, :2], expected[:2, 2] = covariance, cross, cross
    expected[2, 2] = 2 * SLOPE**2 * SCALE**2 + NOISE**2
    products = z[:, :, None] * z[:, None]
    assert ((products.mean(0) - expected).abs() < 4 * products.std(0) / 200).all()


def test_shapes_and_expansion():
    z = torch.zeros((5, 4, 3), dtype=torch.double)
    for distribution in (chain((4,)), chain().expand((4,)), chain((1,)).expand((4,))):
        assert (distribution.batch_shape, distribution.event_shape) == ((4,), (3,))
        assert distribution.rsample((5,)).shape == (5, 4, 3)
        assert torch.equal(distribution.log_prob(z), closed_form(z))


def test_draws_and_densities_have_gradients():
    z = torch.randn((4, 3), dtype=torch.double, generator=generator(0, "z")).requires_grad_()
    (found,) = torch.autograd.grad(chain().log_prob(z).sum(), z)
    (expected,) = torch.autograd.grad(closed_form(z).sum(), z)
    assert found.allclose(expected, rtol=1e-9)
    mean = torch.zeros(2, requires_grad=True)
    TwoLevels(
        Independent(Normal(mean, 1.0), 1), lambda z1: Independent(Normal(z1, 1.0), 1), 2
    ).rsample().sum().backward()
    assert torch.equal(mean.grad, torch.full((2,), 2.0))


def test_values_are_checked():
    distribution = TwoLevels(chain().upper, chain().lower, 1, validate_args=True)
    with pytest.raises(ValueError, match="support"):
        distribution.log_prob(torch.full((3,), math.nan, dtype=torch.double))
    with pytest.raises(ValueError, match="event_shape"):
        distribution.log_prob(torch.zeros(4, dtype=torch.double))
