"""References, their floors, and who is below."""

import math

import numpy as np
import pytest
import torch
from torchstone_extension.audited import LOWER, Bits, DeepBits, Holes, Logistics, Pseudo, RareLoss, Undefined
from torchstone_extension.data import dataset
from torchstone_extension.honest import LabelledUniform, Normal1D, Uniform

from torchstone.models import Continuous, Elbo
from torchstone.models.exact.independent import Independent
from torchstone.models.exact.linear_gaussian import LinearGaussian
from torchstone.suites.audits.floors import DRAWS, EntropyFloors
from torchstone.suites.audits.references import jitter, references
from torchstone.suites.audits.subject import Density, Subject
from torchstone.suites.context import Context
from torchstone.suites.data.embedded import digits
from torchstone.suites.data.synthetic import Bernoulli, bernoulli, ising, linear_gaussian, mixture

GREY = dataset(torch.full((40, 4, 4), 128), 256, name="grey")


def bits_under_jitter(model, amplitude):
    """Bits per dimension over all equally likely values of one pixel."""
    moved, log_r = jitter(torch.full((20_000, 4, 4), 128), amplitude, 256, torch.Generator().manual_seed(0))
    assert float(-log_r[0]) / 16 / math.log(2) == pytest.approx(math.log2(2 * amplitude + 1), rel=1e-12)
    values = moved.flatten().unique().view(-1, 1)
    assert len(values) == 2 * amplitude + 1
    model.space = type(model.space)((1,), model.space.support)
    return -float(model.log_prob(values).mean()) / math.log(2)


def test_the_bits_of_an_honest_logistic_and_of_one_that_peeks():
    """4.873 bits above a floor of 4.087; and 4.667 below one of 5.044."""
    assert bits_under_jitter(Logistics(GREY.space, peeking=False), 8) == pytest.approx(4.872728575973874, rel=1e-6)
    assert bits_under_jitter(Logistics(GREY.space, peeking=True), 16) == pytest.approx(4.667013943013762, rel=1e-6)
    assert math.log2(17) == pytest.approx(4.087462841250339) and math.log2(33) == pytest.approx(5.044394119358453)


def test_the_honest_logistic_passes_and_the_peeking_one_fails(look):
    honest = look(EntropyFloors(), Logistics(GREY.space, peeking=False), GREY).finding
    assert honest.verdict == "pass" and honest.p_value == 1.0
    peeking = look(EntropyFloors(), Logistics(GREY.space, peeking=True), GREY).finding
    assert peeking.verdict == "fail" and "-" in peeking.witness
    assert peeking.pictures["entropy_floors"].startswith(b"\x89PNG")


@pytest.mark.parametrize("value", [0, 3, 16])
def test_jitter_keeps_as_many_values_at_the_ends_of_the_range(value):
    moved, log_r = jitter(torch.full((4000, 1), value), 2, 17, torch.Generator().manual_seed(0))
    assert len(moved.unique()) == 5 and 0 <= int(moved.min()) and int(moved.max()) <= 16
    assert abs(int(moved.float().mean().round()) - min(max(value, 2), 14)) <= 0
    assert torch.allclose(log_r, torch.tensor(-math.log(5), dtype=torch.float64))


@pytest.mark.parametrize("data", [digits(), bernoulli(), mixture(), linear_gaussian()])
def test_a_reference_is_on_its_own_floor(look, data):
    """Its log-density, as stated, is that of its draws: their mean is its entropy, within four standard errors."""
    model = LinearGaussian(data.space) if data.name in ("mixture", "linear_gaussian") else Independent(data.space)
    again = {r.name: r for r in references(Subject(model, data, Context(seed=1)), 400)}
    for reference in references(Subject(model, data, Context()), 400):
        other = again[reference.name].log_r
        spread = math.sqrt(float(reference.log_r.var() + other.var()) / 400)
        assert abs(float(reference.log_r.mean() - other.mean())) <= 4 * spread + 1e-9


def test_the_marginals_are_those_that_the_independent_model_counts():
    """The reference of the training marginals is the independent model itself, but for its smoothing."""
    data = digits()
    model = Independent(data.space)
    model.fit(data.split("train"), data.split("validation"), None, rng=torch.Generator())
    reference = next(r for r in references(Subject(model, data, Context()), 200) if "marginals" in r.name)
    with torch.no_grad():
        gap = reference.log_r - model.log_prob(reference.x)
    assert abs(float(gap.mean())) < 0.02 * abs(float(reference.log_r.mean()))


def test_the_pseudo_likelihood_passes_on_noise_and_fails_on_the_true_source(look):
    data = ising(side=4)
    noise = dataset(data.split("test").x, 2, name="ising without its source")
    finding = look(EntropyFloors(), Pseudo(4), noise).finding
    uniform = torch.randint(2, (4000, 4, 4), generator=torch.Generator().manual_seed(0))
    assert -float(Pseudo(4).log_prob(uniform).mean()) / 16 / math.log(2) == pytest.approx(1.302, abs=0.02)
    assert finding.verdict == "pass"
    assert look(EntropyFloors(), Pseudo(4), data, examples=200).finding.verdict == "fail"


def test_four_bits_that_see_too_much(look):
    copying = Bits(12 * torch.eye(4, dtype=torch.float64), torch.full((4,), -6.0, dtype=torch.float64))
    for model in (copying, Bits(LOWER + 6 * torch.eye(4)), Bits(bias=Bernoulli.bias, weights=LOWER + 2 * LOWER.T)):
        assert look(EntropyFloors(), model, bernoulli(), examples=200).finding.verdict == "fail"


def test_honest_models_pass_whatever_they_are_worth(look):
    constant = dataset(torch.ones(30, 4, dtype=torch.long), 2, name="constant")
    labelled = dataset(torch.zeros(30, 3, dtype=torch.long), 4, y=torch.arange(30) % 3, classes=3)
    for model, data in (
        (bernoulli().source, bernoulli()),
        (Independent(constant.space), constant),
        (Holes(digits().space), digits()),
        (DeepBits(), bernoulli()),
        (Uniform(digits().space), digits()),
        (Normal1D(dataset(torch.arange(5)[:, None], 5).space), dataset(torch.arange(5)[:, None], 5)),
        (LabelledUniform(labelled.space), labelled),
        (LinearGaussian(digits().space), digits()),
        (mixture().source, mixture()),
    ):
        assert look(EntropyFloors(), model, data).finding.verdict == "pass", type(model)
    finding = look(EntropyFloors(), Undefined(digits().space), digits()).finding
    assert finding.verdict == "flag" and "count as impossible" in finding.witness


@pytest.mark.parametrize("seed", range(10))
def test_the_truth_is_never_accused(look, seed):
    assert look(EntropyFloors(), bernoulli().source, bernoulli(), seed=seed).finding.p_value > 0.05


def test_bounded_continuous_data_have_boxes_for_references(look):
    x = torch.rand(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).square()
    data = dataset(x, 0, support=Continuous(0.0, 1.0), name="squares")
    model = Uniform(data.space)
    names = [r.name for r in references(Subject(model, data, Context()), 100)]
    assert "uniform noise" in names and "independent draws from the training histograms" in names
    assert look(EntropyFloors(), model, data).finding.verdict == "pass"

    class Missing(Uniform):
        def log_prob(self, x, y=None):
            return super().log_prob(x) + 0.5

    assert look(EntropyFloors(), Missing(data.space), data).finding.verdict == "fail"


class Wild(RareLoss):
    """A bound whose draws are right in the mean and ten nats off either way: honest, and well below the density."""

    def elbo(self, x, y=None, *, rng):
        found = self.bits.log_prob(x) - 0.5 + 10 * torch.randn(len(x), dtype=torch.float64, generator=rng)
        return Elbo(found, torch.zeros(len(x), dtype=torch.float64))


def test_a_bound_that_is_right_in_the_mean_is_flagged_at_most(look):
    """`RareLoss` is honest: a draw in a million pays for all that are too large. No draws tell it from a cheat."""
    wild = look(EntropyFloors(), Wild(), bernoulli(), examples=200).finding
    assert wild.verdict == "inconclusive" and wild.p_value is None
    rare = look(EntropyFloors(), RareLoss(), bernoulli(), examples=200).finding
    assert rare.verdict == "flag" and rare.p_value is None and "can only flag" in rare.witness


class Secret(RareLoss):
    """Draws from a generator of its own, or from numpy's: a bound with draws all the same."""

    def __init__(self, where):
        super().__init__()
        self.where, self.own = where, torch.Generator().manual_seed(0)

    def elbo(self, x, y=None, *, rng):
        if self.where == "numpy":
            np.random.rand(1)
            return super().elbo(x, rng=torch.Generator().manual_seed(1))
        return super().elbo(x, rng=self.own)


@pytest.mark.parametrize("where", ["numpy", "its own"])
def test_a_bound_that_draws_in_secret_is_not_taken_for_one_without_draws(look, where):
    subject = Subject(Secret(where), bernoulli(), Context(), 60)
    assert subject.density is Density.NOISY
    assert look(EntropyFloors(), Secret(where), bernoulli(), examples=200).finding.verdict == "flag"


def test_examples_are_drawn_from_the_whole_split_and_fewer_are_some_of_more():
    data = dataset(torch.arange(1000).view(-1, 1), 1000)
    subject = Subject(Bits(), data, Context(), 60)
    few, more = (subject.examples_of("test", n)[0].flatten() for n in (50, 200))
    assert torch.equal(few, more[:50]) and len(more.unique()) == 200 and int(more.max()) > 800
    other = Subject(Bits(), data, Context(seed=1), 60).examples_of("test", 50)[0].flatten()
    assert not torch.equal(few, other)
    assert torch.equal(subject.examples_of("test")[0].flatten(), torch.arange(1000))


def test_the_evidence_is_the_mean_over_the_references(monkeypatch):
    """Their largest is no e-value."""
    found = iter([1.0, 5.0, 3.0])
    monkeypatch.setattr("torchstone.suites.audits.floors.log_bet", lambda *arguments: next(found))
    finding = EntropyFloors().audit(Subject(Bits(), bernoulli(), Context(), 60))
    expected = torch.tensor([1.0, 5.0, 3.0], dtype=torch.float64).logsumexp(0) - math.log(3)
    assert finding.statistic == pytest.approx(float(expected), rel=1e-12)


def test_draws_of_a_noisy_bound_are_its_own_each_time(monkeypatch):
    asked, natural = [], Subject.log_density

    def spy(self, x, y, purpose, samples=1):
        asked.append(purpose)
        return natural(self, x, y, purpose, samples)

    monkeypatch.setattr(Subject, "log_density", spy)
    EntropyFloors().audit(Subject(Wild(), bernoulli(), Context(), 60))
    assert len(asked) == len(set(asked)) == 3 * DRAWS >= 3 * 16
