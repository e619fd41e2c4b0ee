"""The honest fixtures have their known values, in closed form or by enumeration, and some of the cheats theirs."""

import math

import pytest
import torch
from torchstone_extension.cheats import bounds, densities, masks, samplers, units
from torchstone_extension.fixtures import continuous, discrete, generators, latent
from torchstone_extension.fixtures.honest import FIXTURES

from torchstone.models.checks import check_model
from torchstone.models.randomness import generator

PLANE_POINT = torch.ones(1, 2, dtype=torch.float64)


def every(model):
    space = model.space
    rows = torch.cartesian_prod(*[torch.arange(space.support.levels)] * space.dims)
    return rows.view(-1, *space.event_shape)


@torch.no_grad()
def table(model):
    return model.log_prob(every(model)).double()


@torch.no_grad()
def at(model, *x):
    return model.log_prob(torch.tensor(x)).tolist()


@pytest.mark.parametrize("name", [name for name in FIXTURES if name != "bits, bfloat16"])
def test_fixtures_keep_the_contract(name):
    check_model(FIXTURES[name].build())


@pytest.mark.parametrize(
    ("model", "entropy"),
    [
        (discrete.Causal, 2.6425982648592186),
        (discrete.Chain, 4.596364293572),
        (discrete.Hidden, 3.404662612878),
        (discrete.Spins, 4.768212702251),
    ],
)
def test_discrete_ones_add_up_to_one_and_have_their_entropy(model, entropy):
    log_p = table(model())
    assert float(log_p.exp().sum()) == pytest.approx(1.0, rel=1e-9)
    assert -float((log_p.exp() * log_p).sum()) == pytest.approx(entropy, rel=1e-9)


@pytest.mark.parametrize(
    "model",
    [
        discrete.Holes(), discrete.OnePoint(), discrete.Logistics(), discrete.Causal(discrete.COLOURS),
        discrete.Causal(order=torch.arange(4).flip(0)), discrete.Mirrored(discrete.FOUR_BITS),
    ],
)  # fmt: skip
def test_the_others_add_up_to_one(model):
    assert float(table(model).exp().sum()) == pytest.approx(1.0, rel=1e-9)


def test_single_probabilities_and_densities():
    bits = at(discrete.Causal(), [0, 0, 0, 0], [0, 1, 0, 1], [1, 1, 1, 0], [1, 1, 1, 1])
    assert bits == pytest.approx([-2.770967758104, -4.698780788238, -2.073540771829, -2.273540771829], rel=1e-9)
    assert at(discrete.Chain(), [0, 0, 1, 2, 2]) == pytest.approx([-4.556380021819], rel=1e-9)
    assert at(discrete.Hidden(), [0, 1, 1, 0, 1]) == pytest.approx([-3.677553238541], rel=1e-9)
    assert at(discrete.Logistics(), [0], [140], [255]) == pytest.approx(
        [-4.607110188, -3.734656077, -11.969467855], rel=1e-9
    )
    assert at(continuous.TwoNormals(), [-1.0], [0.0], [2.5]) == pytest.approx(
        [-1.416886930, -2.656574269, -1.400613477], abs=1e-8
    )
    assert float(continuous.Affine().log_prob(PLANE_POINT)) == pytest.approx(-4.238629395884, rel=1e-9)
    x = torch.tensor([[0.9, -0.4, 1.2]], dtype=torch.float64)
    assert float(latent.FactorWithDensity().log_prob(x)) == pytest.approx(-3.545899506493611, rel=1e-9)
    assert at(latent.OwnWeights(), [1.5]) == pytest.approx([-1.871671087258755], rel=1e-9)
    images = discrete.Grey((3, 32, 32)).sample(2, rng=generator(0, "grey"))
    assert discrete.Grey((3, 32, 32)).log_prob(images).tolist() == pytest.approx([-17034.785109441214] * 2, rel=1e-12)


def test_the_linear_flow_has_the_covariance_of_its_equation():
    field = torch.linalg.matrix_exp(continuous.FIELD)
    density = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), field @ field.T)
    x = torch.randn(20, 2, generator=generator(0, "flow"), dtype=torch.float64)
    assert torch.allclose(continuous.Flowing().log_prob(x), density.log_prob(x), rtol=1e-9)


@pytest.mark.parametrize("steps", [1000, 100, 50, 10])
def test_the_bound_of_the_diffusion_is_exact_for_any_number_of_steps(steps):
    """It is quadratic in x, so that its mean over N(0, 0.25) is its value at 0.5."""
    x = torch.tensor([[0.5]], dtype=torch.float64)
    bound = latent.Diffusion(steps=steps).elbo(x, rng=generator(0, "diffusion"))
    assert float(bound.rate - bound.reconstruction) == pytest.approx(0.7257913529, abs=1e-9)


def test_one_step_of_the_diffusion_is_right_in_the_mean():
    x = torch.full((20_000, 1), 0.5, dtype=torch.float64)
    whole = latent.Diffusion().elbo(x[:1], rng=generator(0, "whole"))
    drawn = latent.OneStep().elbo(x, rng=generator(0, "drawn"))
    rate = drawn.rate
    assert abs(float(rate.mean() - whole.rate)) < 4 * float(rate.std()) / math.sqrt(len(x))


@pytest.mark.parametrize("sharp", [True, False])
def test_the_bound_over_codes_lies_below_its_density(sharp):
    model = latent.Codes(sharp=sharp)
    x = every(model)
    bound = model.elbo(x, rng=generator(0, "codes"))
    given, _ = model.joint(x)
    exact = (given + model.weights).logsumexp(1)
    assert float(exact.exp().sum()) == pytest.approx(1.0, rel=1e-9)
    assert bool((bound.reconstruction - bound.rate <= exact + 1e-12).all())


def test_the_deterministic_sampler_is_as_narrow_as_it_is_known_to_be():
    for steps, deviation in ((10, 0.361611723), (50, 0.471915108)):
        x = generators.Denoiser().sample(4, rng=generator(0, "noise"), steps=steps)
        noise = torch.randn(4, 4, generator=generator(0, "noise"), dtype=torch.float64)
        assert torch.allclose(x, deviation * noise, rtol=1e-6)


@pytest.mark.parametrize(
    ("cheat", "total"),
    [
        (masks.Peeking, 1.1885227396802809),
        (masks.SelfCopy, 4.364889474349008),
        (densities.PseudoLikelihood, 2.5157624644761887),
        (units.DensityTimesWidth, 0.8774278795579471),
        (units.Bins255, (256 / 255) ** 48),
    ],
)
def test_cheats_add_up_to_what_they_are_known_to(cheat, total):
    model = cheat()
    model = model.tiny() if model.space.dims > 16 else model
    power = 48 if cheat is units.Bins255 else 1
    assert float(table(model).exp().sum()) ** power == pytest.approx(total, rel=1e-9)


def test_a_sampler_at_another_temperature_is_as_far_away_as_it_is_known_to_be():
    model = samplers.Cold()
    x = every(model)
    with torch.no_grad():
        cold, log_p = model.drawn(x).log_prob(x).sum(1), model.log_prob(x)
    assert float((cold.exp() * (cold - log_p)).sum()) == pytest.approx(0.006952958333, abs=1e-11)


def test_the_wrong_sign_of_a_determinant_and_a_sum_without_its_number():
    assert float(densities.WrongSign().log_prob(PLANE_POINT)) == pytest.approx(-3.362119534021, rel=1e-9)
    x = torch.full((50, 1), 1.5, dtype=torch.float64)
    few, many = (
        each.elbo(x, rng=generator(0, "weights")).reconstruction for each in (latent.OwnWeights(), bounds.NoLogK())
    )
    assert torch.allclose(many - few, torch.full((50,), math.log(20), dtype=torch.float64))
