"""A floor under probabilities is seen where values share it, and nowhere else."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, Normal
from torchstone_extension.cheats.units import ClampedBins, Probabilities
from torchstone_extension.data import dataset
from torchstone_extension.fixtures.discrete import IMAGES, Logistics
from torchstone_extension.fixtures.honest import FIXTURES

from torchstone.models import Autoregressive, Discrete, LatentVariable, Space
from torchstone.models.exact.independent import Independent as Counting
from torchstone.suites.audits.clamping import Clamping

GREY = Space((1,), Discrete(256))
NARROW = {"weights": (1.0,), "means": (0.1,), "log_scales": (-6.0,)}


def test_the_floor_of_a_decoder_is_told_in_bits(look):
    """ln 1e-12 is 27.63 nats, 39.86 bits: no dimension ever costs more."""
    finding = look(Clamping(), ClampedBins(), FIXTURES["logistics"].data()).finding
    assert finding.verdict == "flag" and finding.statistic == pytest.approx(math.log(1e-12), rel=1e-4)
    assert float(finding.witness.split("no more than ")[1].split()[0]) == pytest.approx(39.8631, abs=0.005)


def test_the_same_logistic_without_a_floor_passes(look):
    """It is as narrow, and its far bins differ by a hundred nats and more."""
    finding = look(Clamping(), Logistics(**NARROW), FIXTURES["logistics"].data()).finding
    assert finding.verdict == "pass" and finding.statistic > 50


def test_probabilities_that_torch_clamps_are_seen(look):
    finding = look(Clamping(), Probabilities(IMAGES), FIXTURES["images"].data()).finding
    assert finding.verdict == "flag" and finding.statistic == pytest.approx(math.log(2**-23), rel=0.01)


class Sure(Probabilities):
    """The same, by logits: nothing is clamped."""

    def conditionals(self, x, y=None):
        return Categorical(logits=self.logits(x, y))


def test_the_same_by_logits_pass(look):
    assert look(Clamping(), Sure(IMAGES), FIXTURES["images"].data()).finding.verdict == "pass"


class Table(Autoregressive):
    """Six levels in two places, of the log-probabilities that it is given, up to a constant."""

    def __init__(self, *rows):
        self.space, self.order = Space((2,), Discrete(6)), torch.arange(2)
        self.logits = torch.tensor([rows[0], rows[-1]], dtype=torch.float64)

    def conditionals(self, x, y=None):
        return Categorical(logits=self.logits.expand(len(x), 2, 6))


INF = math.inf


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (([0, -1, -2, -27, -27, -27],), "flag"),
        (([0, -1, -2, -3, -27, -27],), "pass"),  # two may be equal by chance
        (([0, -1, -2, -14, -14, -14],), "pass"),  # counting may do that
        (([0, -1, -2, -27, -27.1, -27.2],), "pass"),
        (([0, -INF, -2, -27, -27, -27],), "flag"),  # impossible is another matter
        (([0, -1, -INF, -INF, -INF, -INF],), "pass"),
        (([0, -1, -2, -3, -4, -5], [0, -20, -25, -30, -30, -30]), "flag"),  # in one place only
    ],
)
def test_a_floor_is_three_values_far_down_in_one_distribution(look, rows, verdict):
    data = dataset(torch.randint(6, (40, 2), generator=torch.Generator().manual_seed(0)), 6)
    assert look(Clamping(), Table(*rows), data).finding.verdict == verdict


class Decoder(LatentVariable):
    """Values of nine levels around a latent, whose distribution keeps ``floor`` in every level."""

    def __init__(self, floor):
        self.space, self.floor = Space((3,), Discrete(9)), floor

    def prior(self, y=None):
        return Independent(Normal(torch.zeros(3, dtype=torch.float64), 1.0), 1)

    def posterior(self, x, y=None):
        return Independent(Normal(x.double() - 4, 0.5), 1)

    def likelihood(self, z, y=None):
        logits = -3 * (torch.arange(9, dtype=torch.float64) - 4 - z[..., None]).square()
        return Independent(Categorical(logits=logits.log_softmax(-1).clamp_min(self.floor)), 1)


def test_decoders_are_looked_at_given_a_latent(look):
    data = dataset(torch.randint(9, (40, 3), generator=torch.Generator().manual_seed(0)), 9)
    assert look(Clamping(), Decoder(-math.inf), data).finding.verdict == "pass"
    finding = look(Clamping(), Decoder(math.log(1e-12)), data).finding
    assert finding.verdict == "flag" and finding.statistic == pytest.approx(math.log(1e-12), rel=1e-3)


class Uncertain(Autoregressive):
    """Is uniform over all levels but ``share`` of the likeliest."""

    def __init__(self, space, share):
        self.space, self.order = space, torch.arange(space.dims)
        rest = (1 - share) / (space.support.levels - 1)
        self.logits = torch.tensor([share, *[rest] * (space.support.levels - 1)], dtype=torch.float64).log()

    def conditionals(self, x, y=None):
        return Categorical(logits=self.logits.expand(*x.shape, -1))


def test_smoothed_counts_and_equal_guesses_are_no_floor(look):
    """Levels that were never seen are as improbable as each other, and by no more than counting makes them."""
    data = dataset(torch.zeros(400, 4, dtype=torch.long), 9)
    counting = Counting(data.space)
    counting.fit(data.split("train"), data.split("validation"), None, rng=torch.Generator())
    for model in (counting, Uncertain(data.space, 0.999)):
        assert look(Clamping(), model, data).finding.verdict == "pass"
    assert look(Clamping(), Uncertain(data.space, 1 - 1e-7), data).finding.verdict == "flag"


@pytest.mark.parametrize(("name", "words"), [("bits", "fewer than 5 values"), ("affine", "discrete data")])
def test_where_no_floor_could_show_that_is_said(look, name, words):
    finding = look(Clamping(), FIXTURES[name].build(), FIXTURES[name].data()).finding
    assert finding.verdict == "not-applicable" and words in finding.witness
