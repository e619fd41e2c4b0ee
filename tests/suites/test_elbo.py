"""The elbo suite on models whose every number is known: bounds, what is between them, and what is said of them."""

import math
from typing import ClassVar

import pytest
import torch
from torch.distributions import Bernoulli, Exponential, Independent, MultivariateNormal, Normal, Uniform
from torchstone_extension.data import dataset
from torchstone_extension.honest import FreeBound, GaussianVAE, LabelledNormal, LinearGaussianVAE
from torchstone_extension.honest import Uniform as Noise

from torchstone.models import (
    Continuous,
    Discrete,
    Elbo,
    Encoder,
    ExplicitApproximate,
    LatentVariable,
    ModelError,
    Space,
)
from torchstone.models.approximate.vae import vae
from torchstone.results.record import Kind
from torchstone.suites.context import Context
from torchstone.suites.elbo import EvidenceBounds
from torchstone.suites.latent.annealed import _prior_draws
from torchstone.suites.latent.examples import Examples, Rows
from torchstone.suites.latent.scores import Sheet
from torchstone.suites.latent.terms import rungs_up_to
from torchstone.suites.latent.usage import ask_reliance
from torchstone.suites.metrics.latents import derangement

REALS = Continuous(-math.inf, math.inf)
POINT = torch.tensor([[0.9, -0.4, 1.2]], dtype=torch.float64)
LOG_PROB, ELBO, RATE = -3.545899506493611, -4.623879416314, 0.721705358380
FEW = {"importance_samples": 100, "temperatures": 10, "chains": 2, "annealed_examples": 0, "simulated_examples": 0}


class MeanField(LinearGaussianVAE):
    """The same model with one diagonal posterior for every example, N((0.2, -0.3), diag(0.3, 0.2))."""

    def posterior(self, x, y=None):
        mean = torch.tensor([0.2, -0.3], dtype=torch.float64).expand(len(x), 2)
        return Independent(Normal(mean, torch.tensor([0.3, 0.2], dtype=torch.float64).sqrt().expand(len(x), 2)), 1)


def reals(x, **more):
    return dataset(x, None, support=REALS, **more)


def measure(model, data, *, batch_size=64, seed=0, **settings):
    suite = EvidenceBounds(**(FEW | settings))
    assert suite.skip(model, data) is None
    return suite.evaluate(model, data, Context(batch_size=batch_size, seed=seed))


def scores(evaluation):
    found = {}
    for score in evaluation.scores:
        found[f"{score.metric}_{score.parameters['K']}" if score.metric == "iwae" else score.metric] = score
    return found


@pytest.fixture(scope="module")
def solid():
    """300 draws from the linear-Gaussian model itself."""
    model, rng = LinearGaussianVAE(), torch.Generator().manual_seed(0)
    z = torch.randn(300, 2, generator=rng, dtype=torch.float64)
    return reals(z @ model.w.T + model.b + 0.5 * torch.randn(300, 3, generator=rng, dtype=torch.float64))


def test_with_the_exact_posterior_every_bound_is_the_truth(solid):
    model = LinearGaussianVAE()
    covariance = model.w @ model.w.T + 0.25 * torch.eye(3, dtype=torch.float64)
    truth = MultivariateNormal(model.b, covariance).log_prob(solid.split("test").x)
    found = measure(model, solid, annealed_examples=10)
    assert torch.allclose(found.columns["elbo"], truth, rtol=1e-9)
    assert torch.allclose(found.columns["iwae_100"], truth, rtol=1e-9)
    by_name = scores(found)
    assert by_name["elbo"].value == pytest.approx(float(truth.mean()), rel=1e-9)
    assert by_name["elbo"].stderr == pytest.approx(float(truth.std()) / math.sqrt(300), rel=1e-9)
    assert by_name["elbo"].parameters["estimator_stderr"] < 1e-9
    assert by_name["elbo_gap"].value == pytest.approx(0, abs=1e-9)
    assert not [note for note in found.warnings if "off its closed form" in note]


def test_the_ladder_and_the_gaps_of_a_poor_encoder_are_the_known_ones():
    """One example 400 times over, and draws enough for standard errors that can be trusted."""
    data = reals(POINT.expand(400, 3).contiguous())
    more = {"importance_samples": 1000, "annealed_examples": 400, "temperatures": 60, "chains": 8}
    found = scores(measure(MeanField(), data, **more))
    assert found["elbo"].value == pytest.approx(ELBO, abs=4 * found["elbo"].parameters["estimator_stderr"])
    assert found["rate"].value == pytest.approx(RATE, abs=4 * found["rate"].parameters["estimator_stderr"])
    assert found["elbo"].value < found["iwae_10"].value < found["iwae_100"].value < found["iwae_1000"].value
    for bound in ("iwae_1000", "ais"):
        assert found[bound].value < LOG_PROB + 4 * found[bound].stderr
        assert found[bound].value == pytest.approx(LOG_PROB, abs=0.05)
    assert found["elbo_gap"].value == pytest.approx(LOG_PROB - ELBO, abs=4 * found["elbo_gap"].stderr + 0.05)
    assert found["approximation_gap"].value == pytest.approx(
        2.467460e-4, abs=4 * found["approximation_gap"].stderr + 0.02
    )
    assert found["amortisation_gap"].value == pytest.approx(1.077733163779, abs=4 * found["amortisation_gap"].stderr)
    assert found["elbo_gap"].kind is Kind.LOWER_BOUND and found["approximation_gap"].kind is Kind.ESTIMATE


def test_simulated_examples_are_bounded_from_both_sides_and_say_so(solid):
    found = scores(measure(MeanField(), solid, simulated_examples=100, temperatures=100, chains=8))
    lower, upper, gap = (found[name] for name in ("bdmc_lower", "bdmc_upper", "bdmc_gap"))
    assert {each.contract["data"] for each in (lower, upper, gap)} == {"simulated by the model"}
    assert (lower.kind, upper.kind, gap.kind) == (Kind.LOWER_BOUND, Kind.UPPER_BOUND, Kind.UPPER_BOUND)
    assert gap.value == pytest.approx(upper.value - lower.value, abs=1e-9) and 0 < gap.value < 0.2
    entropy = 4.151671086675
    assert lower.value - 4 * lower.stderr < -entropy < upper.value + 4 * upper.stderr
    assert len(lower.parameters["acceptance_by_temperature"].split()) == 99
    assert 0.3 < lower.parameters["acceptance_lowest"] <= lower.parameters["acceptance"] <= 1


def test_numbers_do_not_depend_on_the_batch_size(solid):
    whole, parts = (
        scores(measure(MeanField(), solid, batch_size=size, annealed_examples=5, simulated_examples=5))
        for size in (512, 7)
    )
    assert whole.keys() == parts.keys()
    for name, score in whole.items():
        assert parts[name].value == pytest.approx(score.value, rel=1e-9, abs=1e-9), name


def test_latents_that_carry_nothing_are_seen(solid):
    class Deaf(MeanField):
        """A posterior that is the prior, and a decoder that does not listen."""

        def posterior(self, x, y=None):
            return Independent(Normal(torch.zeros(len(x), 2, dtype=torch.float64), 1.0), 1)

        def likelihood(self, z, y=None):
            return Independent(Normal(self.b.expand(len(z), 3), 1.5), 1)

    found = measure(Deaf(), solid)
    by_name = scores(found)
    assert by_name["active_units"].value == 0 and by_name["collapsed_latents"].value == 1
    assert by_name["decoder_reliance"].value == pytest.approx(0, abs=1e-12)
    assert any("collapsed" in note for note in found.warnings)
    listening = scores(measure(LinearGaussianVAE(), solid))
    assert listening["active_units"].value == 2
    assert listening["decoder_reliance"].value > 1


def test_rate_is_information_plus_marginal_kl(solid):
    found = scores(measure(LinearGaussianVAE(), solid))
    rate = found["mutual_information"].value + found["marginal_kl"].value
    assert rate == pytest.approx(found["mutual_information_upper"].value + found["marginal_kl_lower"].value, rel=1e-9)
    assert found["mutual_information"].value <= found["mutual_information_upper"].value
    assert found["mutual_information"].kind is Kind.LOWER_BOUND and found["marginal_kl"].kind is Kind.UPPER_BOUND


def test_a_model_with_a_bound_and_no_distributions_gives_its_terms_and_the_reason_for_the_rest():
    line = reals(torch.full((200, 1), 1.5, dtype=torch.float64))
    found = measure(FreeBound(), line, draws=50)
    by_name = scores(found)
    assert by_name.keys() == {"elbo", "reconstruction", "rate"}
    assert by_name["elbo"].value == pytest.approx(
        -1.974039886863, abs=4 * by_name["elbo"].parameters["estimator_stderr"]
    )
    assert any("not applicable" in note for note in found.warnings)


def test_bounds_of_a_conditional_model_are_given_its_labels():
    y = torch.arange(40) % 2
    x = y[:, None].double() + torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
    data = reals(x, y=y, classes=2)
    found = measure(LabelledNormal(data.space), data)
    truth = Normal(y.double(), math.sqrt(2)).log_prob(x[:, 0])
    assert torch.allclose(found.columns["elbo"], truth, rtol=1e-9)
    assert found.contract["conditional"] is True


class Labels(LatentVariable):
    """p(z|y) = N(3y, 1) and p(x|z, y) = N(z + y, 1/4), with the posterior that follows: p(x|y) = N(4y, 5/4)."""

    def __init__(self, space):
        self.space = space

    def prior(self, y=None):
        return Independent(Normal(3 * y[:, None].double(), 1.0), 1)

    def posterior(self, x, y=None):
        y = y[:, None].double()
        return Independent(Normal((3 * y + 4 * (x - y)) / 5, math.sqrt(0.2)), 1)

    def likelihood(self, z, y=None):
        return Independent(Normal(z + y[:, None], 0.5), 1)


def test_labels_stay_with_their_examples_in_every_estimator():
    """Unequal labels in no regular order; a row that got another's label would be nats away."""
    y = torch.tensor([0, 2, 1, 1, 0, 2, 2, 0, 1, 2])
    x = 4.0 * y[:, None].double() + torch.linspace(-1, 1, 10, dtype=torch.float64)[:, None]
    data = reals(x, y=y, classes=3)
    more = {"annealed_examples": 10, "simulated_examples": 10, "temperatures": 60, "chains": 16}
    found = measure(Labels(data.space), data, **more)
    truth = Normal(4.0 * y.double(), math.sqrt(1.25)).log_prob(x[:, 0])
    assert torch.allclose(found.columns["elbo"], truth, rtol=1e-9)
    assert torch.allclose(found.columns["best_posterior_elbo"], truth, atol=1e-3)
    assert torch.allclose(found.columns["ais"], truth, atol=0.6)
    by_name = scores(found)
    assert by_name["amortisation_gap"].value == pytest.approx(0, abs=1e-3)
    assert abs(by_name["bdmc_gap"].value) < 0.5
    assert "mutual_information" not in by_name and any("depends on the label" in note for note in found.warnings)
    assert found.columns["decoder_reliance"].mean() > 0


def test_reliance_takes_the_other_latent_from_the_other_example_and_keeps_the_label():
    """Posteriors of no width make it a closed form: own and foreign latent are read off example and label."""

    class Sure(Labels):
        def posterior(self, x, y=None):
            return Independent(Normal(x - 2.0 * y[:, None], 1e-9), 1)

    y = torch.tensor([0, 2, 1, 1, 0, 2])
    x = torch.tensor([[0.3], [4.0], [-1.0], [2.5], [7.0], [1.1]], dtype=torch.float64)
    data, context = reals(x, y=y, classes=3), Context(seed=3)
    model = Sure(data.space)
    found = ask_reliance(model, Examples(model, data, "test", 4, context), 6, context)
    other = derangement(6, Context(seed=3).rng("reliance/others"))
    own, foreign = x[:, 0] - 2.0 * y, x[other, 0] - 2.0 * y[other]
    known = Normal(own + y, 0.5).log_prob(x[:, 0]) - Normal(foreign + y, 0.5).log_prob(x[:, 0])
    torch.testing.assert_close(found, known, rtol=1e-6, atol=1e-6)


def test_every_chain_starts_at_the_prior_of_its_own_label():
    """Three chains of each example, chain after chain, from priors that are far apart."""

    class Apart(Labels):
        def prior(self, y=None):
            return Independent(Normal(100 * y[:, None].double(), 1.0), 1)

    y = torch.tensor([0, 2, 1, 1, 0])
    start = _prior_draws(Apart(None), Rows(torch.zeros(5, 1), y), 3, torch.Generator().manual_seed(0))
    assert torch.equal((start.view(3, 5) / 100).round().long(), y.expand(3, 5))


def test_latents_outside_of_the_prior_weigh_nothing():
    """z ~ Exp(1) and x|z ~ N(z, 0.3) at x below zero: a chain that stepped out of the prior would gain eleven nats."""

    class Waiting(LatentVariable):
        space = Space((1,), REALS)

        def prior(self, y=None):
            return Independent(Exponential(torch.ones(1, dtype=torch.float64)), 1)

        def posterior(self, x, y=None):
            return Independent(Exponential(torch.full((len(x), 1), 9.0, dtype=torch.float64)), 1)

        def likelihood(self, z, y=None):
            return Independent(Normal(z, 0.3), 1)

    x = torch.linspace(-2, -1, 20, dtype=torch.float64)[:, None]
    grid = torch.linspace(0, 8, 400_001, dtype=torch.float64)
    joint = -grid + Normal(grid, 0.3).log_prob(x)
    truth = torch.logsumexp(joint, 1) + math.log(8 / 400_000)
    more = {"annealed_examples": 20, "simulated_examples": 20, "temperatures": 60, "chains": 16}
    found = measure(Waiting(), reals(x), **more)
    by_name = scores(found)
    assert by_name["ais"].value < float(truth.mean()) + 0.05
    assert by_name["bdmc_gap"].value > -4 * by_name["bdmc_gap"].stderr


@pytest.mark.parametrize(("kind", "worst"), [(Kind.UPPER_BOUND, math.inf), (Kind.LOWER_BOUND, -math.inf)])
@pytest.mark.parametrize("up", [True, False])
def test_a_bound_that_is_not_finite_says_nothing_on_its_own_side(kind, worst, up):
    sheet = Sheet()
    sheet._paired("a bound", kind, torch.tensor([1.0, math.nan]), {}, {}, up=up)
    assert sheet.scores[0].value == worst and sheet.scores[0].parameters["nonfinite"] == 1


def test_parts_of_a_bound_are_neither_its_terms_nor_unchecked(solid):
    class Parts(FreeBound):
        parts: ClassVar = {"elbo": 9.0, "rate": 9.0}

        def elbo(self, x, y=None, *, rng):
            n = torch.ones(len(x), dtype=torch.float64)
            return Elbo(-200 * n, 0 * n, {name: value * n for name, value in self.parts.items()})

    line = reals(torch.full((20, 1), 1.5, dtype=torch.float64))
    assert scores(measure(Parts(), line))["elbo"].value == -200
    assert scores(measure(Parts(), line))["part_elbo"].value == 9

    class Averaged(Parts):
        def elbo(self, x, y=None, *, rng):
            return Elbo(torch.tensor(-200.0), torch.tensor(0.0))

    with pytest.raises(ModelError, match="one log-density"):
        measure(Averaged(), line)


def test_discrete_and_bounded_latents_are_measured_and_not_annealed(solid):
    class Switches(LinearGaussianVAE):
        def prior(self, y=None):
            return Independent(Bernoulli(torch.full((2,), 0.5, dtype=torch.float64)), 1)

        def posterior(self, x, y=None):
            return Independent(Bernoulli(torch.full((len(x), 2), 0.3, dtype=torch.float64)), 1)

    found = measure(Switches(), solid, annealed_examples=3, simulated_examples=3)
    assert "ais" not in scores(found) and any("needs latents that are real numbers" in note for note in found.warnings)
    kl = 2 * (0.3 * math.log(0.6) + 0.7 * math.log(1.4))
    assert scores(found)["rate"].value == pytest.approx(
        kl, abs=4 * scores(found)["rate"].parameters["estimator_stderr"]
    )

    class Boxes(LinearGaussianVAE):
        def posterior(self, x, y=None):
            low = x.double()[:, :2] - 0.5
            return Independent(Uniform(low, low + 1), 1)

    found = scores(measure(Boxes(), solid))
    assert found["mutual_information_upper"].value == math.inf  # some box touches no other


def test_dequantised_bounds_carry_the_constant_of_their_map():
    """The levels 0 to 3 as bins of [0, 1]: N(z, ...) densities there, and ln 4 for each dimension less."""

    class Flat(LatentVariable):
        def __init__(self, space):
            self.space = Space(space.event_shape, Continuous(0.0, 1.0))

        prior = GaussianVAE.prior

        def posterior(self, x, y=None):
            return Independent(Normal(torch.zeros(len(x), 1, dtype=torch.float64), 1.0), 1)

        def likelihood(self, z, y=None):
            return Independent(Normal((0.0 * z[:, :, None]).expand(-1, 2, 2), 1e3), 2)

    data = dataset(torch.zeros(20, 2, 2, dtype=torch.uint8), 4)
    found = scores(measure(Flat(data.space), data, annealed_examples=5))
    density = 4 * (-0.5 * math.log(2 * math.pi) - math.log(1e3))
    for bound in ("elbo", "iwae_100", "ais"):
        assert found[bound].value == pytest.approx(density - 4 * math.log(4), abs=1e-5)
    assert found["elbo"].value == pytest.approx(found["reconstruction"].value - found["rate"].value, rel=1e-9)
    for gap in ("elbo_gap", "approximation_gap", "amortisation_gap"):
        assert found[gap].value == pytest.approx(0, abs=1e-5)


def test_a_dequantised_bound_without_distributions_carries_the_constant_too():
    """The uniform density on [0, 1] is one over the number of levels in each dimension of the data as stored."""

    class Level(ExplicitApproximate):
        def __init__(self, space):
            self.space = Space(space.event_shape, Continuous(0.0, 1.0))

        def elbo(self, x, y=None, *, rng):
            return Elbo(torch.zeros(len(x)), torch.zeros(len(x)))

    data = dataset(torch.zeros(20, 2, 2, dtype=torch.uint8), 4)
    found = scores(measure(Level(data.space), data))
    assert found["elbo"].value == found["reconstruction"].value == pytest.approx(-4 * math.log(4), rel=1e-9)


def test_a_decoder_that_is_not_a_number_somewhere_is_named(solid):
    class Broken(MeanField):
        def likelihood(self, z, y=None):
            return Independent(Normal(torch.where(z[:, :1] > 0, torch.nan, z @ self.w.T + self.b), 0.5), 1)

    with pytest.raises(ValueError, match="parameter loc"):
        measure(Broken(), solid)


def test_what_is_skipped_says_what_to_do(solid):
    class Features(Encoder):
        space = solid.space

        def encode(self, x):
            return x

    suite = EvidenceBounds()
    assert "suite=density measures it" in suite.skip(Noise(Space((3,), Discrete(2)), discrete=True), solid)
    assert "no bound on a likelihood" in suite.skip(Features(), solid)


def test_evaluation_weighs_the_rate_with_one_whatever_the_training():
    space = Space((4, 4), Discrete(3))
    data = dataset(torch.randint(3, (20, 4, 4), generator=torch.Generator().manual_seed(1)), 3)

    def made(beta):
        torch.manual_seed(0)
        return vae(space, latents=3, width=16, beta=beta)

    one, other = (scores(measure(made(beta), data)) for beta in (1.0, 5.0))
    assert {name: score.value for name, score in one.items()} == {name: score.value for name, score in other.items()}


def test_pictures_come_with_it():
    data = dataset(torch.randint(3, (20, 4, 4), generator=torch.Generator().manual_seed(1)), 3)
    torch.manual_seed(0)
    figures = measure(
        vae(Space((4, 4), Discrete(3)), latents=3, width=16), data, annealed_examples=4, simulated_examples=4
    ).figures
    assert set(figures) == {"bound-ladder", "rate-distortion", "latent-kl", "traversals", "reconstructions"}
    assert all(png.startswith(b"\x89PNG") for png in figures.values())


@pytest.mark.parametrize(
    ("samples", "rungs"), [(1, (1,)), (7, (1, 7)), (1000, (1, 10, 100, 1000)), (5000, (1, 10, 100, 1000, 5000))]
)
def test_the_rungs_are_nested(samples, rungs):
    assert rungs_up_to(samples) == rungs
