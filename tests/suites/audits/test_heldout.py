"""A test split that the model remembers stands out against the other held-out one."""

import pytest
import torch
from scipy.stats import mannwhitneyu
from torchstone_extension.audited import Bits
from torchstone_extension.cheats.units import TrainedOnTest
from torchstone_extension.data import dataset
from torchstone_extension.fixtures.honest import FIXTURES

from torchstone.suites.audits.heldout import HeldOut
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
    test, validation = (Bits().log_prob(bernoulli().split(name).x[:1000].long()) for name in ("test", "validation"))
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


def test_too_few_examples_say_so(look):
    data = dataset(torch.zeros(20, 4, dtype=torch.long), 2)
    finding = look(HeldOut(), Bits(), data).finding
    assert finding.verdict == "not-applicable" and "30 examples of both splits" in finding.witness
