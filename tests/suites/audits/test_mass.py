"""Masses of distinct points, and integrals."""

import math

import pytest
import torch
from torchstone_extension.audited import BITS, Bits, DeepBits, Gaussian, Lookup, PointMass, Undefined
from torchstone_extension.data import dataset
from torchstone_extension.honest import PLANE, AffineFlow, GaussianVAE, Normal1D, Uniform

from torchstone.models import Continuous
from torchstone.models.exact.flow import Flow
from torchstone.models.exact.linear_gaussian import LinearGaussian
from torchstone.suites.audits.mass import ImportanceMass, SuperUnity
from torchstone.suites.audits.proposal import HeavyTails
from torchstone.suites.data.embedded import digits
from torchstone.suites.data.synthetic import Bernoulli, bernoulli, linear_gaussian, mixture

FLAT = dataset(torch.randint(4, (60, 2), generator=torch.Generator().manual_seed(0)), 4)
POINTS = dataset(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)), 0, support=PLANE.support)


def test_a_lookup_of_training_images_is_proved_at_full_size(look):
    """Half of the mass, under every label, on each of a thousand images: any two of one label have all of it."""
    data = digits()
    finding = look(SuperUnity(), Lookup(data.space, data.split("train").x), data).finding
    assert finding.verdict == "fail" and finding.grade == "A" and finding.statistic > math.log(4)
    assert finding.pictures["super_unity"].startswith(b"\x89PNG")
    assert look(SuperUnity(), Lookup(data.space, data.split("train").x[:2]), data).finding.verdict == "pass"


def test_a_copy_of_its_input_is_proved(look):
    copy = Bits(12 * torch.eye(4, dtype=torch.float64), torch.full((4,), -6.0, dtype=torch.float64))
    finding = look(SuperUnity(), copy, bernoulli()).finding
    assert finding.verdict == "fail" and finding.statistic == pytest.approx(math.log(15.842338082134), rel=1e-9)


def test_a_point_mass_in_single_precision_and_the_truth_pass(look):
    for model in (PointMass(BITS), bernoulli().source, Bits()):
        assert look(SuperUnity(), model, bernoulli()).finding.verdict == "pass"
    finding = look(SuperUnity(), Undefined(FLAT.space), FLAT).finding
    assert finding.verdict == "flag" and "count as impossible" in finding.witness


def test_repeated_images_count_once(look):
    data = dataset(torch.ones(60, 4, dtype=torch.long), 2)
    finding = look(SuperUnity(), PointMass(data.space), data).finding
    assert finding.verdict == "pass" and abs(finding.statistic) < 1e-3


def test_a_dequantised_density_that_fills_its_bins_passes_and_one_with_a_wrong_constant_fails(look):
    """A single draw of log w may be above zero, honestly; a factor of 256 in each of four dimensions is not."""
    assert look(SuperUnity(), Uniform(FLAT.space), FLAT).finding.verdict == "pass"
    assert look(SuperUnity(), LinearGaussian(FLAT.space), FLAT).finding.verdict == "pass"

    class Forgotten(Uniform):
        def log_prob(self, x, y=None):
            return super().log_prob(x) + self.space.dims * math.log(256)

    finding = look(SuperUnity(), Forgotten(FLAT.space), FLAT).finding
    assert finding.verdict == "fail" and finding.grade == "B"


def test_latent_weights_are_evidence_too(look):
    finding = look(SuperUnity(), DeepBits(), bernoulli()).finding
    assert finding.verdict == "pass" and finding.grade == "C"
    assert look(SuperUnity(), DeepBits(inflated=10.0), bernoulli()).finding.verdict == "fail"


def test_points_of_continuous_data_have_no_probability(look):
    assert look(SuperUnity(), mixture().source, mixture()).finding.verdict == "not-applicable"


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("support", [Continuous(0.0, 1.0), Continuous(-math.inf, math.inf)])
def test_the_reference_is_a_density_and_draws_from_it(dims, support):
    """Its integral by quadrature, and the mean of a known ratio under its own draws."""
    rng = torch.Generator().manual_seed(0)
    points = 0.5 + 0.1 * torch.randn(300, dims, dtype=torch.float64, generator=rng)
    reference = HeavyTails(points, support)
    line = torch.linspace(-4.003, 5.0, 361 if dims == 2 else 40_001, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line) if dims == 2 else line[:, None]
    sums = [float(reference.log_density(part).exp().sum()) for part in grid.split(20_000)]
    assert sum(sums) * float(line[1] - line[0]) ** dims == pytest.approx(1.0, abs=5e-3)
    x, log_r = reference.draw(20_000, rng)
    assert torch.allclose(log_r, reference.log_density(x))
    normal = torch.distributions.Independent(torch.distributions.Normal(torch.full((dims,), 0.5).double(), 0.1), 1)
    ratio = (normal.log_prob(x) - log_r).exp()
    assert abs(float(ratio.mean()) - 1) < 4 * float(ratio.std()) / math.sqrt(20_000)


def test_honest_integrals_are_one(look):
    """The models themselves where they have few dimensions, else their tiny instances; bounded, unbounded, latent."""
    for model, data in (
        (AffineFlow(), POINTS),
        (Gaussian(), POINTS),
        (mixture().source, mixture()),
        (linear_gaussian().source, linear_gaussian()),
        (Flow(digits().space).eval(), digits()),
        (LinearGaussian(digits().space), digits()),
        (Uniform(FLAT.space), FLAT),
    ):
        finding = look(ImportanceMass(), model, data).finding
        assert finding.verdict == "pass" and finding.grade == "B" and finding.p_value > 0.01, type(model)
    weights = look(ImportanceMass(), GaussianVAE(), mixture()).finding  # an encoder that is the same everywhere
    assert weights.verdict in ("pass", "inconclusive") and weights.p_value > 0.01


def test_a_wrong_sign_of_the_log_determinant_has_too_much_mass(look):
    finding = look(ImportanceMass(), AffineFlow(sign=-1.0), POINTS).finding
    assert finding.verdict == "fail"
    mass = float(finding.witness.split("mass of ")[1].split(" ")[0])
    assert mass == pytest.approx(math.exp(2 * 0.4383045), rel=0.1)


@pytest.mark.parametrize("excess", [0.1, 1.0])
def test_an_excess_of_a_tenth_is_seen(look, excess):
    assert look(ImportanceMass(), Gaussian(excess=excess), POINTS).finding.verdict == "fail"


@pytest.mark.parametrize("temperature", [0.8, 0.9, 1.1, 1.25])
def test_samples_of_another_temperature_than_their_density_are_seen(look, temperature):
    finding = look(ImportanceMass(), Gaussian(temperature=temperature), POINTS).finding
    assert finding.verdict == "fail", finding
    assert "mass of 1" in finding.witness or "mass of 0.99" in finding.witness  # the density itself is one


def test_a_bet_against_honest_samples_gains_as_markov_allows(look):
    """Above ln 10 in at most a tenth of all seeds: of 20, more than 7 are a false alarm of 0.04 % (binomial)."""
    gains = [look(ImportanceMass(), Gaussian(), POINTS, seed=seed).finding.statistic for seed in range(20)]
    assert sum(gain > math.log(10) for gain in gains) <= 7


def test_tails_beyond_a_bounded_support_are_missing_mass_and_never_fail(look):
    finding = look(ImportanceMass(), Gaussian(Continuous(0.0, 1.0)), POINTS).finding
    assert finding.verdict == "flag" and finding.p_value == 1.0 and "outside" in finding.witness
    assert look(ImportanceMass(), Normal1D(FLAT.space), FLAT).finding.verdict == "pass"


def test_a_spike_that_cannot_be_integrated_is_inconclusive(look):
    class Spike(Gaussian):
        def sample(self, n, y=None, *, rng):
            return torch.zeros(n, 2, dtype=torch.float64)

    finding = look(ImportanceMass(), Spike(scale=1e-9), POINTS).finding
    assert finding.verdict == "inconclusive"


def test_discrete_and_large_models_have_no_integral(look):
    assert look(ImportanceMass(), Bits(), bernoulli()).finding.verdict == "not-applicable"
    assert look(ImportanceMass(), Uniform(digits().space), digits()).finding.verdict == "not-applicable"
    assert Bernoulli().space.dims == 4
