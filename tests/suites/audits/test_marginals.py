"""What belongs to one joint density, and what does not."""

import math

import pytest
import torch
from torchstone_extension.audited import Bits, DeepBits
from torchstone_extension.cheats.densities import MarginalOfAnother, MarginalWithoutPrior, PriorAboveOne
from torchstone_extension.data import dataset
from torchstone_extension.fixtures.discrete import Together
from torchstone_extension.fixtures.honest import FIXTURES
from torchstone_extension.honest import Labelled

from torchstone.models import Discrete, Joint, Space
from torchstone.suites.audits.marginals import ConditionalMarginal, _densities, _points
from torchstone.suites.audits.subject import Subject
from torchstone.suites.context import Context
from torchstone.suites.data.synthetic import bernoulli

DATA = FIXTURES["bits and labels"].data()


@torch.no_grad()
def test_the_marginal_is_the_sum_over_labels():
    x = DATA.split("test").x[:20].long()
    marginal, composed = _densities(Subject(Together(), DATA, Context()), x)
    given = torch.stack([Together().log_prob(x, torch.full((20,), label)) for label in range(3)], 1)
    by_hand = (given.exp() * torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)).sum(1).log()
    assert torch.allclose(composed, by_hand, rtol=1e-12) and torch.allclose(marginal, by_hand, rtol=1e-12)
    states = torch.cartesian_prod(*[torch.arange(2)] * 4)
    assert float(Together().log_prob(states).logsumexp(0)) == pytest.approx(0.0, abs=1e-12)


def test_an_honest_joint_density_passes(look):
    finding = look(ConditionalMarginal(), Together(), DATA).finding
    assert finding.verdict == "pass" and finding.grade == "C" and "over 3 labels" in finding.witness


class Single(Together):
    """The same in single precision."""

    def __init__(self):
        super().__init__()
        self.inner.float()

    def log_prior_label(self):
        return super().log_prior_label().float()


class Impossible(Together):
    """Cannot give one of its labels any example but one."""

    def every(self, x):
        given = super().every(x)
        possible = (x == 1).all(1)
        return torch.cat([torch.where(possible, 0.0, -math.inf)[:, None], given[:, 1:]], 1)

    def log_prob(self, x, y=None):
        if y is None:
            return super().log_prob(x)
        return self.every(x).gather(1, y[:, None])[:, 0]


@pytest.mark.parametrize("model", [Single, Impossible])
def test_rounding_and_impossible_labels_are_honest(look, model):
    assert look(ConditionalMarginal(), model(), DATA).finding.verdict == "pass"


class Off(Together):
    """Its marginal is a part in ten thousand too large."""

    def log_prob(self, x, y=None):
        return super().log_prob(x, y) + (1e-4 if y is None else 0.0)


@pytest.mark.parametrize("model", [MarginalWithoutPrior, MarginalOfAnother, PriorAboveOne, Off])
def test_what_does_not_belong_together_is_proof(look, model):
    finding = look(ConditionalMarginal(), model(), DATA).finding
    assert finding.verdict == "fail" and finding.grade == "A"


class Tables(torch.nn.Module, Joint):
    """Naive Bayes in single precision, which keeps its probabilities and their logarithms apart: honest."""

    def __init__(self):
        super().__init__()
        self.space = Space((4,), Discrete(5), 3)
        table = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)).softmax(-1)
        self.register_buffer("table", table)
        self.register_buffer("logs", table.log())
        self.register_buffer("labels", torch.tensor([0.5, 0.3, 0.2]).log())

    def log_prior_label(self):
        return self.labels

    def log_prob(self, x, y=None):
        place = torch.arange(4)
        if y is None:
            return (self.labels.exp()[:, None] * self.table[:, place, x].prod(-1)).sum(0).log()
        return self.logs[y[:, None], place, x].sum(1)


class Half(Together):
    """States its p(y) in half precision, in which it adds up to 1.0057."""

    def log_prior_label(self):
        return super().log_prior_label().to(torch.bfloat16)

    def log_prob(self, x, y=None):
        if y is None:
            return (self.log_prior_label().double() + self.every(x)).logsumexp(1)
        return super().log_prob(x, y)


class Lacking(Together):
    """Leaves a tenth to a label that does not exist, and says so in its marginal, too."""

    weights = (0.5, 0.2, 0.2)


def test_what_was_rounded_once_is_no_proof(look):
    labels = torch.arange(100) % 3
    data = dataset(torch.randint(5, (100, 4), generator=torch.Generator().manual_seed(0)), 5, y=labels, classes=3)
    assert look(ConditionalMarginal(), Tables(), data).finding.verdict in ("pass", "flag")
    assert look(ConditionalMarginal(), Half(), DATA).finding.verdict in ("pass", "flag")


def test_labels_that_lack_mass_harm_the_model_alone(look):
    finding = look(ConditionalMarginal(), Lacking(), DATA).finding
    assert finding.verdict == "flag" and "these add up to 0.9, and what is left over" in finding.witness


class Spiked(Together):
    """Has an infinite density at some examples, given one label."""

    def every(self, x):
        given = super().every(x)
        spike = (x[:, :2] == 0).all(1) & (torch.arange(3)[:, None] == 1)
        return torch.where(spike.T, math.inf, given)

    def log_prob(self, x, y=None):
        return super().log_prob(x) if y is None else self.every(x).gather(1, y[:, None])[:, 0]


def test_an_infinite_density_is_told_and_not_compared(look):
    finding = look(ConditionalMarginal(), Spiked(), DATA).finding
    assert finding.verdict == "flag" and "count as impossible" in finding.witness


def test_noise_is_asked_about_as_well_as_examples():
    x = _points(Subject(Together(), DATA, Context(), 60))
    images = Subject(Together(), DATA, Context(), 60).examples_of("test", 30)[0]
    assert len(x) == 60 and torch.equal(x[:30], images) and not torch.equal(x[30:], images)
    assert torch.equal(x[30:].sort(0).values, images.sort(0).values)  # each place keeps its values


class NoLabels(Together):
    """Promises a joint density of labels that it does not have."""

    def __init__(self):
        super().__init__()
        self.space = Space((4,), Discrete(2))


class WrongShape(Together):
    """Gives p(y) as one number."""

    def log_prior_label(self):
        return torch.zeros(())


@pytest.mark.parametrize(
    ("model", "words"), [(NoLabels, "its space has none"), (WrongShape, "return one log-probability per class, (3,)")]
)
def test_a_broken_promise_is_named(look, model, words):
    finding = look(ConditionalMarginal(), model(), DATA).finding
    assert finding.verdict == "fail" and words in finding.witness


def test_who_promises_no_joint_density_is_left_alone(look):
    labelled = FIXTURES["bits, labelled"]
    for model, data, reason in (
        (Bits(), bernoulli(), "takes no labels"),
        (DeepBits(), bernoulli(), "no exact density"),
        (Labelled(labelled.build().space), labelled.data(), "promises p(x|y) alone"),
    ):
        finding = look(ConditionalMarginal(), model, data).finding
        assert finding.verdict == "not-applicable" and reason in finding.witness
