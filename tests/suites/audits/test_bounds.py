"""Bounds in their order."""

import math

import pytest
import torch
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    Uniform,
    VonMises,
    constraints,
)
from torchstone_extension.audited import Bits, Bounded, DeepBits, RareLoss
from torchstone_extension.data import dataset
from torchstone_extension.honest import FreeBound, GaussianVAE, LabelledNormal, LinearGaussianVAE

from torchstone.models import Continuous, Elbo, ExplicitApproximate, ExplicitExact, Space
from torchstone.models.approximate.vae import vae
from torchstone.suites.audits.bounds import BoundOrdering, _at_truth, _lower
from torchstone.suites.audits.simulation import simulated
from torchstone.suites.audits.subject import Subject
from torchstone.suites.context import Context
from torchstone.suites.data.embedded import digits
from torchstone.suites.data.synthetic import bernoulli, linear_gaussian, mixture


def test_both_bounds_meet_the_density_where_the_encoder_is_exact():
    """The weight is then p(x) at every latent, drawn or true: both bounds equal it, in float64."""
    data = linear_gaussian()
    subject = Subject(LinearGaussianVAE(), data, Context(), 50)
    found = simulated(subject, 50, "test")
    truth = data.source.log_prob(found.x)
    assert torch.allclose(_at_truth(subject, found), truth, rtol=1e-9)
    assert torch.allclose(_lower(subject, found.x, found.y), truth, rtol=1e-9)


def test_honest_encoders_pass_however_bad(look):
    for model, data in (
        (LinearGaussianVAE(), linear_gaussian()),
        (GaussianVAE(), mixture()),
        (DeepBits(), bernoulli()),
        (DeepBits(slope=3.0), bernoulli()),
        (vae(digits().space), digits()),
        (vae(digits().space, decoder="gaussian"), digits()),
        (vae(digits().space, conditional=True), digits()),
    ):
        finding = look(BoundOrdering(), model, data).finding
        assert finding.verdict == "pass" and finding.p_value > 0.05, type(model)


class Wider(LinearGaussianVAE):
    """Draws from the exact posterior, and states a density that is twice as wide: each weight is too large."""

    def posterior(self, x, y=None):
        exact = super().posterior(x)
        return Misstated(exact, MultivariateNormal(exact.mean, 4 * self.covariance))


class Misstated(Distribution):
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, drawn, stated):
        self.drawn, self.stated = drawn, stated
        super().__init__(drawn.batch_shape, drawn.event_shape, validate_args=False)

    def sample(self, sample_shape=()):
        return self.drawn.sample(torch.Size(sample_shape))

    def log_prob(self, value):
        return self.stated.log_prob(value)


def test_an_encoder_that_states_more_than_it_draws_from_fails(look):
    finding = look(BoundOrdering(), Wider(), linear_gaussian(), examples=200).finding
    assert finding.verdict == "fail" and finding.grade == "B"


def test_labels_go_with_their_latents(look):
    y = torch.arange(40) % 3
    data = dataset(torch.randn(40, 1, dtype=torch.float64), 0, y=y, classes=3, support=Continuous(-9.0, 9.0))
    space = Space((1,), Continuous(-float("inf"), float("inf")), 3)
    subject = Subject(LabelledNormal(space), data, Context(), 40)
    found = simulated(subject, 40, "test")
    assert torch.allclose(_at_truth(subject, found), _lower(subject, found.x, found.y), rtol=1e-9)
    finding = look(BoundOrdering(), LabelledNormal(space), data).finding
    assert finding.verdict == "pass" and finding.p_value > 0.05


class Both(GaussianVAE, ExplicitExact):
    """A latent-variable model that knows its exact density, N(0, 3/2), and states it ``short`` nats too low."""

    def __init__(self, short):
        super().__init__()
        self.short = short

    def log_prob(self, x, y=None):
        return torch.distributions.Normal(0.0, 1.5**0.5).log_prob(x.double())[:, 0] - self.short


def test_weights_against_an_exact_density(look):
    assert look(BoundOrdering(), Both(0.0), mixture(), examples=200).finding.verdict == "pass"
    assert look(BoundOrdering(), Both(2.0), mixture(), examples=200).finding.verdict == "fail"


def test_a_bound_without_draws_above_the_density_is_a_proof(look):
    assert look(BoundOrdering(), Bounded(slack=0.0), bernoulli()).finding.verdict == "pass"
    finding = look(BoundOrdering(), Bounded(slack=-1e-3), bernoulli()).finding
    assert finding.verdict == "fail" and finding.grade == "A" and finding.statistic == pytest.approx(1e-3, rel=1e-6)


def test_a_bound_with_draws_is_at_most_flagged(look):
    assert look(BoundOrdering(), Bounded(slack=0.1, noise=0.5), bernoulli()).finding.verdict == "pass"
    assert look(BoundOrdering(), Bounded(slack=-2.0, noise=0.5), bernoulli()).finding.verdict == "flag"

    class Rare(RareLoss, ExplicitExact):
        """Draws that all agree and lie above the density, honestly."""

        def log_prob(self, x, y=None):
            return Bits().log_prob(x)

    assert look(BoundOrdering(), Rare(), bernoulli()).finding.verdict == "flag"


def test_a_bound_with_nothing_to_hold_it_to_is_left_alone(look):
    assert look(BoundOrdering(), FreeBound(), mixture()).finding.verdict == "not-applicable"
    assert look(BoundOrdering(), Bits(), bernoulli()).finding.verdict == "not-applicable"


class Unnormalised(DeepBits):
    """Draws from its posterior, and states a density that lacks ``nats``: each weight is too large by as much.

    At the latent that an example was made of the weight is too large by as much, too: against its own upper bound such
    an encoder is never caught.
    """

    def __init__(self, nats):
        super().__init__()
        self.nats = nats

    def posterior(self, x, y=None):
        return Lacking(super().posterior(x, y), self.nats)


class Lacking(Misstated):
    def __init__(self, base, nats):
        super().__init__(base, base)
        self.nats = nats

    def log_prob(self, value):
        return self.stated.log_prob(value) - self.nats


def test_annealing_catches_what_the_encoder_cannot_be_held_to_by_itself(look, monkeypatch):
    assert look(BoundOrdering(), Unnormalised(0.0), bernoulli(), examples=200).finding.verdict == "pass"
    finding = look(BoundOrdering(), Unnormalised(2.0), bernoulli(), examples=200).finding
    assert finding.verdict == "fail" and finding.grade == "B" and "Annealed bounds of 32 of them" in finding.witness
    monkeypatch.setattr("torchstone.suites.audits.bounds._annealed", lambda *arguments: "It was left out.")
    assert look(BoundOrdering(), Unnormalised(2.0), bernoulli(), examples=200).finding.verdict == "pass"


def test_latents_that_are_no_numbers_are_not_annealed_and_that_is_said(look):
    class Codes(DeepBits):
        """One of two codes, without a gradient."""

        def prior(self, y=None):
            return Categorical(torch.tensor([0.5, 0.5], dtype=torch.float64))

        def posterior(self, x, y=None):
            return Categorical(torch.full((len(x), 2), 0.5, dtype=torch.float64))

        def likelihood(self, z, y=None):
            logit = (z[:, None].double() * 2 - 1).expand(-1, 4)
            return Independent(Categorical(logits=torch.stack([-logit, logit], -1)), 1)

    finding = look(BoundOrdering(), Codes(), bernoulli()).finding
    assert finding.verdict == "pass" and "Annealing is not applicable: the latents of Codes" in finding.witness


class Binary(Distribution):
    """Independent zeros and ones as floating-point numbers, with no word of where they live."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, logits):
        self.base = Independent(Bernoulli(logits=logits), 1)
        super().__init__(self.base.batch_shape, self.base.event_shape, validate_args=False)

    def sample(self, sample_shape=()):
        return self.base.sample(torch.Size(sample_shape))

    def log_prob(self, value):
        return self.base.log_prob(value)


class Declared(Binary):
    """The same, which claims to live on the real numbers."""

    support = constraints.real_vector


class Switches(DeepBits):
    """Eight binary latents, honest: their probabilities are none over real numbers."""

    kind = Binary

    def prior(self, y=None):
        return self.kind(torch.zeros(8, dtype=torch.float64) - 1)

    def posterior(self, x, y=None):
        return self.kind((2.0 * x.double() - 1) @ self.weight - 1)


class DeclaredSwitches(Switches):
    kind = Declared


@pytest.mark.parametrize(
    ("model", "words"),
    [(Switches, "does not say where its latents live"), (DeclaredSwitches, "draws numbers that repeat")],
)
def test_latents_with_probabilities_are_not_annealed_whatever_they_declare(look, model, words):
    finding = look(BoundOrdering(), model(slope=1.5), bernoulli(), examples=200).finding
    assert finding.verdict == "pass" and finding.p_value > 0.05 and words in finding.witness


class Angles(DeepBits):
    """Angles for latents, whose density torch gives for any number and is one over a turn: honest."""

    def prior(self, y=None):
        return Independent(VonMises(torch.zeros(8, dtype=torch.float64), torch.ones(8, dtype=torch.float64)), 1)

    def posterior(self, x, y=None):
        return Independent(VonMises((2.0 * x.double() - 1) @ self.weight, torch.ones(8, dtype=torch.float64)), 1)


class Mixed(DeepBits):
    """A mixture for a prior."""

    def prior(self, y=None):
        corners = torch.stack([torch.ones(8, dtype=torch.float64), -torch.ones(8, dtype=torch.float64)])
        return MixtureSameFamily(Categorical(torch.ones(2, dtype=torch.float64)), Independent(Normal(corners, 0.5), 1))


class Boxed(DeepBits):
    """A posterior that ends: outside of it nothing was drawn from it."""

    def posterior(self, x, y=None):
        middle = 0.5 * (2.0 * x.double() - 1) @ self.weight
        return Independent(Uniform(middle - 2, middle + 2), 1)


@pytest.mark.parametrize("model", [Angles, Mixed, Boxed])
def test_other_families_of_latents_are_annealed_too(look, model):
    finding = look(BoundOrdering(), model(), bernoulli(), examples=200).finding
    assert finding.verdict == "pass" and finding.p_value > 0.05 and "Annealed bounds of 32" in finding.witness


class Principal(torch.nn.Module, ExplicitExact, ExplicitApproximate):
    """Probabilistic principal components in single precision, with the exact posterior: bound and density are equal.

    Computed in two ways, they differ by rounding: by nats, where the noise is small.
    """

    def __init__(self, deviation, *, excess=0.0):
        super().__init__()
        self.space = Space((20,), Continuous(-math.inf, math.inf))
        self.weight = torch.nn.Parameter(torch.randn(20, 5, generator=torch.Generator().manual_seed(0)))
        self.deviation, self.excess = deviation, excess

    def log_prob(self, x, y=None):
        noise = self.deviation**2 * torch.eye(20, dtype=self.weight.dtype)
        return MultivariateNormal(x.new_zeros(20), self.weight @ self.weight.T + noise).log_prob(x)

    def elbo(self, x, y=None, *, rng):
        precision = torch.eye(5, dtype=self.weight.dtype) + self.weight.T @ self.weight / self.deviation**2
        covariance = torch.linalg.inv(precision)
        mean = x @ self.weight @ covariance / self.deviation**2
        left = (x - mean @ self.weight.T).square().sum(1) + torch.trace(self.weight.T @ self.weight @ covariance)
        given = -0.5 * (left / self.deviation**2 + 20 * math.log(2 * math.pi * self.deviation**2))
        rate = 0.5 * (mean.square().sum(1) + torch.trace(covariance) - 5 - torch.logdet(covariance))
        return Elbo(given + self.excess, rate)


class Escaping(Principal):
    """The same, which leaves for numpy on the way, so that nobody can make it compute in double precision."""

    def log_prob(self, x, y=None):
        with torch.no_grad():
            return super().log_prob(torch.from_numpy(x.numpy().astype("float32"))) - 5.0


@pytest.mark.parametrize("deviation", [0.1, 0.01])
def test_what_rounding_lifts_above_the_density_is_honest(look, deviation):
    rng = torch.Generator().manual_seed(1)
    data = dataset(torch.randn(100, 20, generator=rng), 0, support=Continuous(-math.inf, math.inf))
    with torch.no_grad():
        model, x = Principal(deviation), data.split("test").x
        assert float((model.elbo(x, rng=rng).reconstruction - model.log_prob(x)).abs().max()) > 1e-3
    assert look(BoundOrdering(), model, data).finding.verdict == "pass"
    finding = look(BoundOrdering(), Principal(deviation, excess=1e-2), data).finding
    assert finding.verdict == "fail" and finding.grade == "A" and finding.statistic == pytest.approx(1e-2, rel=1e-3)
    escaped = look(BoundOrdering(), Escaping(0.3), data).finding
    assert escaped.verdict == "flag" and "this may be rounding" in escaped.witness


def test_the_evidence_is_the_mean_of_three_and_its_draws_are_independent(look, monkeypatch):
    """Their largest is no e-value; and runs that share noise bound nothing together."""
    evidence = iter([3.0, 9.0, 6.0])
    monkeypatch.setattr("torchstone.suites.audits.bounds._bet", lambda lower, upper: next(evidence))
    asked = []
    natural = Context.rng

    def spy(self, purpose, block=0, **more):
        asked.append((purpose, block))
        return natural(self, purpose, block, **more)

    monkeypatch.setattr(Context, "rng", spy)
    finding = BoundOrdering().audit(Subject(DeepBits(), bernoulli(), Context(), 60))
    expected = torch.tensor([3.0, 9.0, 6.0], dtype=torch.float64).logsumexp(0) - math.log(3)
    assert finding.statistic == pytest.approx(float(expected), rel=1e-12)
    runs = [each for each in asked if "annealed" in each[0] or each[0].endswith("lower")]
    assert len(runs) == len(set(runs)) and {name.rpartition("/")[2] for name, _ in runs} >= {
        "start", "pilot", "forward", "reverse", "lower",
    }  # fmt: skip


def test_a_decoder_without_a_backward_pass_keeps_the_evidence_of_its_encoder(look):
    class Stubborn(Unnormalised):
        """Raises where a gradient is wanted."""

        def likelihood(self, z, y=None):
            if z.requires_grad:
                raise RuntimeError("No gradient is to be had.")
            return super().likelihood(z, y)

    honest = look(BoundOrdering(), Stubborn(0.0), bernoulli(), examples=200).finding
    assert honest.verdict == "pass" and "could not be tried: RuntimeError: No gradient" in honest.witness
