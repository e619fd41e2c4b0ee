"""Samples lie where the model says, and are new where the data are."""

import math

import pytest
import torch
from torchstone_extension import invariants
from torchstone_extension.data import dataset

from torchstone.models import Continuous, Discrete, Space, Split
from torchstone.models.randomness import generator
from torchstone.suites.audits.support import Freshness, Support
from torchstone.suites.data.dataset import Dataset


@pytest.mark.parametrize(
    ("mutant", "words"),
    [
        (invariants.OutOfRange, "outside of Discrete(levels=4), such as 4"),
        (invariants.Unrounded, "return integers"),
        (invariants.TooFew, "is due"),
    ],
)
def test_samples_outside_of_the_declared_support_are_proof(look, images, mutant, words):
    finding = look(Support(), mutant(images.space), images).finding
    assert finding.verdict == "fail" and finding.grade == "A" and words in finding.witness


def test_honest_samplers_pass(look, images):
    for model in (invariants.Factorised, invariants.Masked):
        assert look(Support(), model(images.space), images).finding.verdict == "pass"


def test_bad_samplers_are_flagged_and_no_more(look, images):
    for model, words in (
        (invariants.Constant(images.space), "collapsed"),
        (invariants.PointMass(images.space), "collapsed"),
        (invariants.FixedSeed(images.space), "one and the same batch"),
        (invariants.Diverged(images.space), "not finite"),
    ):
        finding = look(Support(), model, images).finding
        assert finding.verdict == "flag" and words in finding.witness


class Edge(invariants.Factorised):
    """On the unit interval, and past its end by a rounding or by more; dense everywhere inside."""

    def __init__(self, space, past):
        super().__init__(space)
        self.space, self.past = Space(space.event_shape, Continuous()), past

    def log_prob(self, x, y=None):
        return torch.zeros(len(x))

    def sample(self, n, y=None, *, rng):
        x = torch.rand(n, *self.space.event_shape, generator=rng)
        x[0] = 1 + self.past
        return x


def test_past_the_end_by_rounding_is_flagged_and_by_more_is_proof(look, images):
    assert look(Support(), Edge(images.space, -1e-6), images).finding.verdict == "pass"
    assert look(Support(), Edge(images.space, 1e-6), images).finding.verdict == "flag"
    assert look(Support(), Edge(images.space, 1e-2), images).finding.verdict == "fail"


class Impossible(invariants.Factorised):
    """Holds for impossible what it draws."""

    def log_prob(self, x, y=None):
        return torch.full((len(x),), -math.inf)


def test_samples_that_their_own_model_holds_for_impossible_are_flagged(look, images):
    finding = look(Support(), Impossible(images.space), images).finding
    assert finding.verdict == "flag" and "no finite log-density" in finding.witness


def apart(n=120):
    """Distinct images whose three splits share none."""
    x = torch.randint(4, (3 * n, 2, 2, 6), generator=generator(0, "apart"))
    splits = {
        name: Split(x[i * n : (i + 1) * n], None, torch.arange(i * n, (i + 1) * n))
        for i, name in enumerate(("train", "validation", "test"))
    }
    return Dataset("apart", Space((2, 2, 6), Discrete(4)), splits, licence="CC0-1.0")


def test_copies_of_the_training_split_are_flagged_with_their_null(look):
    data = apart()
    finding = look(Freshness(), invariants.Copies(data), data).finding
    assert finding.verdict == "flag"
    assert "30 of 30 samples stand in the train split" in finding.witness
    assert "Of 120 test examples 0 stand in the train split" in finding.witness
    assert look(Freshness(), invariants.Factorised(data.space), data).finding.verdict == "pass"


def test_a_sampler_that_repeats_itself_is_flagged(look):
    data = apart()
    finding = look(Freshness(), invariants.Constant(data.space), data).finding
    assert finding.verdict == "flag" and "30 have a twin" in finding.witness


def test_data_of_low_entropy_are_hit_honestly(look):
    data = dataset(torch.randint(2, (200, 3), generator=generator(0, "low")), 2)
    assert look(Freshness(), invariants.Factorised(data.space), data).finding.verdict == "pass"
    assert look(Freshness(), invariants.Copies(data), data).finding.verdict == "pass"


def test_continuous_samples_are_taken_back_to_the_data(look):
    data = apart()

    class Dequantised(invariants.Copies):
        def __init__(self, data):
            super().__init__(data)
            self.space = Space(data.space.event_shape, Continuous())

        def sample(self, n, y=None, *, rng):
            return (super().sample(n, rng=rng) + torch.rand((n, 2, 2, 6), generator=rng)) / 4

    assert look(Freshness(), Dequantised(data), data).finding.verdict == "flag"


def test_models_without_samples_are_not_asked(look, images):
    from torchstone_extension.honest import Uniform

    model = Uniform(images.space, discrete=True)
    assert look(Support(), model, images).finding.verdict == "not-applicable"
    assert look(Freshness(), model, images).finding.verdict == "not-applicable"
