"""Nothing honest beats the truth, and what does is found by how much it does."""

import math

import pytest
import torch
from torchstone_extension.audited import Pseudo
from torchstone_extension.honest import FreeBound, Uniform

from torchstone.models import ExplicitExact
from torchstone.suites.audits.known import KnownSource
from torchstone.suites.data.synthetic import bernoulli, ising, linear_gaussian, markov, mixture


@pytest.mark.parametrize("data", [bernoulli(), markov(), linear_gaussian()])
def test_the_truth_passes_with_no_evidence_at_all(look, data):
    finding = look(KnownSource(), data.source, data).finding
    assert finding.verdict == "pass" and finding.statistic == pytest.approx(0.0, abs=1e-9) and finding.p_value == 1


class Tempered(ExplicitExact):
    """The truth, and some nats more for every example."""

    def __init__(self, source, more):
        self.space, self.source, self.more = source.space, source, more

    def log_prob(self, x, y=None):
        return self.source.log_prob(x) + self.more


def test_a_hundredth_of_a_nat_too_much_is_seen_and_the_tiniest_part_of_it_is_not(look):
    data = markov()
    judged = look(KnownSource(), Tempered(data.source, 0.01), data)
    assert judged.finding.verdict == "fail" and judged.finding.statistic == pytest.approx(20.0)
    assert judged.finding.p_value == pytest.approx(math.exp(-20.0))
    assert look(KnownSource(), Tempered(data.source, 0.001), data).finding.verdict == "pass"


def test_a_pseudo_likelihood_beats_the_truth(look):
    data = ising(side=4)
    finding = look(KnownSource(), Pseudo(4), data).finding
    assert finding.verdict == "fail"
    # 7.735317133491 - 6.707143038929 nats of each example, by enumeration
    assert finding.statistic / 2000 == pytest.approx(1.0281740945620, abs=0.1)


def test_a_model_that_learned_nothing_is_flagged_and_no_more(look):
    data = bernoulli()
    finding = look(KnownSource(), Tempered(data.source, -1.0), data).finding
    assert finding.verdict == "flag" and "has not learned" in finding.witness and finding.p_value == 1
    x = torch.full((5, 4), 2)
    assert not math.isfinite(float(data.source.log_prob(x).max()))


def test_what_cannot_be_tested_says_so(look, images):
    assert look(KnownSource(), Uniform(images.space, discrete=True), images).finding.verdict == "not-applicable"
    data = mixture()
    finding = look(KnownSource(), FreeBound(data.space), data).finding
    assert finding.verdict == "inconclusive" and "no test" in finding.witness
