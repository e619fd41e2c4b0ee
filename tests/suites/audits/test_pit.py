"""Samplers that agree with their density, and those that do not."""

import math

import pytest
import torch
from torchstone_extension.audited import BITS, Bits, DeepBits, Gaussian, Holes, PointMass, Sequential
from torchstone_extension.data import dataset
from torchstone_extension.honest import PLANE, AffineFlow

from torchstone.models import Continuous, Discrete, Sampler, Space
from torchstone.models.exact.flow import Flow
from torchstone.models.exact.linear_gaussian import LinearGaussian
from torchstone.models.exact.mixture import mixture as categorical_mixture
from torchstone.models.exact.rnn import RNN
from torchstone.suites.audits.pit import ConditionalPIT
from torchstone.suites.audits.slices import continuous_slices
from torchstone.suites.audits.subject import Subject
from torchstone.suites.context import Context
from torchstone.suites.data.embedded import digits
from torchstone.suites.data.synthetic import bernoulli, ising, linear_gaussian, mixture

POINTS = dataset(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)), 0, support=PLANE.support)
LARGE = Space((3, 4), Discrete(5))


def five_levels():
    return dataset(torch.randint(5, (50, 3, 4), generator=torch.Generator().manual_seed(0)), 5)


def test_honest_samplers_pass(look):
    for model, data in (
        (Bits(), bernoulli()),
        (Sequential(), bernoulli()),
        (Holes(LARGE), five_levels()),
        (RNN(LARGE), five_levels()),
        (categorical_mixture(LARGE), five_levels()),
        (ising(side=4).source, ising(side=4)),
        (Gaussian(), POINTS),
        (mixture().source, mixture()),
        (linear_gaussian().source, linear_gaussian()),
        (Flow(PLANE).eval(), POINTS),
        (DeepBits(), bernoulli()),
    ):
        finding = look(ConditionalPIT(), model, data).finding
        assert finding.verdict == "pass" and finding.grade == "B" and finding.p_value > 1e-3, type(model)


@pytest.mark.slow
@pytest.mark.parametrize("model", [Bits(temperature=0.7), Bits(temperature=1.4)], ids=["cold", "hot"])
def test_a_temperature_shows_on_its_side_of_zero(look, model):
    finding = look(ConditionalPIT(), model, bernoulli()).finding
    assert finding.verdict == "fail"
    assert (finding.statistic > 0) == (model.temperature < 1)


@pytest.mark.parametrize("temperature", [0.8, 1.25])
def test_an_autoregressive_model_shows_it_in_every_coordinate(look, temperature):
    finding = look(ConditionalPIT(), Sequential(temperature=temperature), bernoulli()).finding
    assert finding.verdict == "fail" and (finding.statistic > 0) == (temperature < 1)
    assert "16000 values" in finding.witness


def test_a_constant_sampler_of_a_uniform_density_fails_though_no_log_probability_has_any_spread(look):
    class Stuck(Holes):
        def sample(self, n, y=None, *, rng):
            return torch.full((n, *self.space.event_shape), 4)

    assert look(ConditionalPIT(), Stuck(LARGE), five_levels()).finding.verdict == "fail"


def test_a_point_mass_has_nothing_to_see(look):
    finding = look(ConditionalPIT(), PointMass(BITS), bernoulli()).finding
    assert finding.verdict == "not-applicable" and "only possible one" in finding.witness


def test_samples_that_are_impossible_fail(look):
    class Stray(Holes):
        def sample(self, n, y=None, *, rng):
            return super().sample(n, rng=rng) - (torch.rand(n, 1, 1, generator=rng) < 0.5).long()

    assert look(ConditionalPIT(), Stray(LARGE), five_levels()).finding.verdict == "fail"


def test_a_gaussian_drawn_too_wide_or_with_another_correlation_fails(look):
    assert look(ConditionalPIT(), Gaussian(temperature=2.0), POINTS).finding.verdict == "fail"
    assert look(ConditionalPIT(), Gaussian(temperature=0.5), POINTS).finding.verdict == "fail"

    class Uncorrelated(Gaussian):
        def sample(self, n, y=None, *, rng):
            return torch.randn(n, 2, dtype=torch.float64, generator=rng)

    assert look(ConditionalPIT(), Uncorrelated(), POINTS).finding.verdict == "fail"


def test_samples_moved_to_the_ends_of_the_support_are_left_out(look):
    """Half have a coordinate at an end: the rest follow the density inside, and pass; a temperature does not."""
    unit = Continuous(-1.0, 1.0)
    data = dataset(torch.zeros(20, 2), 0, support=unit)
    assert look(ConditionalPIT(), Gaussian(unit), data).finding.verdict == "pass"
    assert look(ConditionalPIT(), Gaussian(unit, temperature=0.2), data).finding.verdict == "fail"


def test_where_every_sample_has_a_clamped_value_the_tiny_instance_is_asked(look):
    model = LinearGaussian(digits().space)
    finding = look(ConditionalPIT(), model, digits()).finding
    assert finding.verdict == "pass" and "tiny instance" in finding.witness
    wide = Gaussian(Continuous(0.0, 0.01))
    found = continuous_slices(Subject(wide, dataset(torch.zeros(20, 2), 0, support=wide.space.support), Context()))
    assert isinstance(found, str) and "ends of the support" in found


def test_a_density_too_sharp_to_integrate_is_inconclusive(look):
    class Sharp(Gaussian):
        """On a bounded support the cells are far wider than the density."""

    data = dataset(torch.zeros(20, 2), 0, support=Continuous(-1000.0, 1000.0))
    finding = look(ConditionalPIT(), Sharp(data.space.support, scale=1e-3), data).finding
    assert finding.verdict == "inconclusive" and "too sharp" in finding.witness


def test_samples_of_a_latent_variable_model_come_from_its_prior_and_likelihood(look):
    class OtherPrior(DeepBits):
        def sample(self, n, y=None, *, rng):
            z = 1.5 + torch.randn(n, 8, dtype=torch.float64, generator=rng)
            return (torch.rand(n, 4, dtype=torch.float64, generator=rng) < torch.sigmoid(2 * z @ self.weight.T)).long()

    assert look(ConditionalPIT(), OtherPrior(), bernoulli(), examples=200).finding.verdict == "fail"
    constant = dataset(torch.zeros(30, 4, dtype=torch.long), 2)
    biased = DeepBits(means=True, slope=0.2)
    biased.weight = biased.weight.abs() * torch.tensor([[1.0], [0.0], [0.0], [0.0]], dtype=torch.float64)
    assert look(ConditionalPIT(), biased, constant, examples=200).finding.verdict == "fail"


def test_what_draws_nothing_or_bounds_nothing_is_left_alone(look):
    class Draws(Sampler):
        space = BITS

        def sample(self, n, y=None, *, rng):
            return torch.zeros(n, 4, dtype=torch.long)

    for model in (AffineFlow(), Draws()):
        data = POINTS if isinstance(model, AffineFlow) else bernoulli()
        assert look(ConditionalPIT(), model, data).finding.verdict == "not-applicable"


@pytest.mark.parametrize("seed", range(15))
def test_honest_samplers_pass_whatever_the_seed(look, seed):
    for model, data in ((Sequential(), bernoulli()), (Gaussian(), POINTS)):
        assert look(ConditionalPIT(), model, data, seed=seed).finding.p_value > 1e-4
    assert math.isfinite(look(ConditionalPIT(), DeepBits(), bernoulli(), seed=seed).finding.statistic)
