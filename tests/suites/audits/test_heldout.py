"""A test split that the model remembers stands out against the other held-out one."""

import math

import pytest
import torch
from scipy.stats import mannwhitneyu
from torchstone_extension.audited import Bits
from torchstone_extension.cheats.units import TrainedOnTest
from torchstone_extension.data import dataset
from torchstone_extension.fixtures.honest import FIXTURES

from torchstone.models import Continuous, ExplicitExact, Space, Split
from torchstone.suites.audits.heldout import HeldOut
from torchstone.suites.audits.subject import Subject
from torchstone.suites.context import Context
from torchstone.suites.data import Dataset
from torchstone.suites.data.synthetic import bernoulli

DATA = FIXTURES["mirrored"].data()


def remembering(split):
    return TrainedOnTest(DATA.split(split).x)


def test_who_remembers_the_test_split_is_flagged_and_nobody_else(look):
    """Who remembers the training split is overfitted, and has not seen the test."""
    assert look(HeldOut(), FIXTURES["mirrored"].build(), DATA).finding.verdict == "pass"
    assert look(HeldOut(), remembering("train"), DATA).finding.verdict == "pass"
    assert look(HeldOut(), remembering("validation"), DATA).finding.verdict == "pass"
    finding = look(HeldOut(), remembering("test"), DATA).finding
    assert finding.verdict == "flag" and finding.statistic > 0.95 and finding.p_value is None


def test_the_share_is_that_of_mann_and_whitney(look):
    subject = Subject(Bits(), bernoulli(), Context(), 60)
    test, validation = (Bits().log_prob(subject.examples_of(name, 1000)[0]) for name in ("test", "validation"))
    expected = mannwhitneyu(test, validation, alternative="greater")
    finding = look(HeldOut(), Bits(), bernoulli()).finding
    wins = (test[:, None] > validation).double() + 0.5 * (test[:, None] == validation).double()
    assert finding.statistic == pytest.approx(float(wins.mean()), rel=1e-12)
    assert f"p = {float(expected.pvalue):.2g}" in finding.witness


def test_a_split_that_is_merely_a_little_easier_is_not_accused(look):
    """Two thirds of zeros against a half: the test example has the larger density 58 % of the time."""

    class Zeros(Bits):
        def log_prob(self, x, y=None):
            return -x.double().sum(1) * 0.1 - 2.6

    rng = torch.Generator().manual_seed(0)
    easy = dataset((torch.rand(600, 4, generator=rng) < 0.45).long(), 2)
    hard = dataset((torch.rand(600, 4, generator=rng) < 0.55).long(), 2)

    class Mixed:
        space, source, name = easy.space, None, "mixed"

        def split(self, name):
            return easy.split("test") if name == "test" else hard.split("test")

    finding = look(HeldOut(), Zeros(), Mixed()).finding
    assert finding.verdict == "pass" and 0.55 < finding.statistic < 0.65


class Height(ExplicitExact):
    """Its density is the value itself."""

    def __init__(self, undefined=False):
        self.space, self.undefined = Space((1,), Continuous(-math.inf, math.inf)), undefined

    def log_prob(self, x, y=None):
        return torch.where(x.double()[:, 0] > 1.5, math.nan, x.double()[:, 0]) if self.undefined else x.double()[:, 0]


@pytest.mark.parametrize(("n", "verdict"), [(30, "pass"), (600, "flag")])
def test_a_share_must_be_large_and_rare(look, n, verdict):
    """Seven tenths of thirty are no evidence yet, and the certificate says how much would be."""
    quantiles = torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(n, dtype=torch.float64) + 0.5) / n)[:, None]
    splits = {
        name: Split(quantiles + shift, None, torch.arange(n) + n * place)
        for place, (name, shift) in enumerate({"train": 0.0, "validation": 0.0, "test": 0.75}.items())
    }
    data = Dataset("heights", Height().space, splits, licence="CC0-1.0")
    finding = look(HeldOut(), Height(), data).finding
    assert finding.verdict == verdict and finding.statistic == pytest.approx(0.70, abs=0.01)
    assert ("wins 86% of the time" if n == 30 else "wins 65% of the time") in finding.power
    assert look(HeldOut(), Height(undefined=True), data).finding.statistic < 0.7  # what is no number is no gain


def test_too_few_examples_say_so(look):
    data = dataset(torch.zeros(20, 4, dtype=torch.long), 2)
    finding = look(HeldOut(), Bits(), data).finding
    assert finding.verdict == "not-applicable" and "30 examples of both splits" in finding.witness
