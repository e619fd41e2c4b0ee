"""Asking leaves no trace, and answers follow the question and its generator."""

import math

import numpy as np
import pytest
import torch
from torchstone_extension import invariants
from torchstone_extension.data import dataset
from torchstone_extension.honest import FreeBound, GaussianVAE, Labelled

from torchstone.models import Continuous
from torchstone.models.exact.pixelcnn import PixelCNN
from torchstone.suites.audits.purity import Purity


@pytest.mark.parametrize("model", [invariants.Factorised, invariants.Masked, invariants.Constant, invariants.PointMass])
def test_honest_models_pass(look, images, model):
    finding = look(Purity(), model(images.space), images).finding
    assert finding.verdict == "pass" and finding.grade == "C"


def test_reference_models_pass_with_labels_too(look, images):
    labelled = dataset(images.split("test").x, 4, y=torch.arange(150) % 3, classes=3)
    assert look(Purity(), PixelCNN(labelled.space, width=4, conditional=True), labelled).finding.verdict == "pass"
    assert look(Purity(), Labelled(labelled.space), labelled).finding.verdict == "pass"


def test_latents_and_bounds_pass(look):
    x = torch.randn(40, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    data = dataset(x, None, support=Continuous(-math.inf, math.inf))
    for model in (GaussianVAE(data.space), FreeBound(data.space)):
        assert look(Purity(), model, data).finding.verdict == "pass"


@pytest.mark.parametrize(
    ("mutant", "words"),
    [
        (invariants.Dropped, "under two global seeds"),
        (invariants.Learns, "differ"),
        (invariants.FirstBatch, "the first batch leaves its mark"),
        (invariants.WritesInput, "writes into its input"),
        (invariants.FixedSeed, "sample ignores its generator"),
        (invariants.Unseeded, "follows no generator"),
    ],
)
def test_what_depends_on_more_than_the_question_is_proved(look, images, mutant, words):
    model = mutant(images.space)
    if mutant is invariants.Unseeded:
        images = dataset(torch.randint(4, (60, 30)), 4)
        model = mutant(images.space)
    finding = look(Purity(), model, images).finding
    assert finding.verdict == "fail" and words in finding.witness


@pytest.mark.parametrize(
    ("mutant", "words"),
    [
        (invariants.Renormed, "moves parameters or buffers"),
        (invariants.Switches, "another default dtype"),
        (invariants.Trains, "training flags"),
        (invariants.GlobalSampler, "global generator although it was given one"),
    ],
)
def test_what_is_careless_is_flagged(look, images, mutant, words):
    finding = look(Purity(), mutant(images.space), images).finding
    assert finding.verdict == "flag" and words in finding.witness


class Numpy(invariants.Factorised):
    """Draws from numpy's global generator."""

    def sample(self, n, y=None, *, rng):
        return torch.from_numpy(np.random.randint(0, 4, (n, *self.space.event_shape)))


def test_generators_of_other_libraries_are_seen_and_everything_is_put_back(look, images):
    dtype, state = torch.get_default_dtype(), torch.get_rng_state()
    np.random.seed(3)
    expected = np.random.randint(0, 1000)
    np.random.seed(3)
    for mutant in (Numpy, invariants.Switches, invariants.GlobalSampler):
        assert look(Purity(), mutant(images.space), images).finding.verdict == "flag"
    assert torch.get_default_dtype() == dtype and torch.equal(torch.get_rng_state(), state)
    assert np.random.randint(0, 1000) == expected


def test_a_conditional_sampler_that_has_collapsed_within_each_class_is_honest(look, images):
    class ByClass(Labelled):
        def sample(self, n, y=None, *, rng):
            return y.view(n, *[1] * len(self.space.event_shape)).expand(n, *self.space.event_shape).clone()

    class Sampling(ByClass, invariants.Sampler):
        pass

    labelled = dataset(images.split("test").x, 4, y=torch.arange(150) % 3, classes=3)
    assert look(Purity(), Sampling(labelled.space), labelled).finding.verdict == "pass"


def test_two_values_in_one_order_are_proof_and_one_is_none(look, images):
    class Alternating(invariants.Factorised):
        def sample(self, n, y=None, *, rng):
            return (torch.arange(n) % 2).view(n, 1, 1, 1).expand(n, 2, 2, 2).clone()

    assert look(Purity(), invariants.Constant(images.space), images).finding.verdict == "pass"
    # sixteen rows of two values come in one order by chance once in 12,870 times: no proof
    assert look(Purity(), Alternating(images.space), images).finding.verdict == "pass"
