"""Four bits, and what densities that cheat on them look like: known sums, known numbers, and a warning for each."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid
from torchstone_extension.data import dataset
from torchstone_extension.honest import Uniform

from torchstone.suites.data.synthetic import bernoulli, ising, markov

BIAS = torch.tensor([0.2, -0.5, 0.3, -0.1], dtype=torch.float64)
LOWER = torch.tensor([[0, 0, 0, 0], [1.2, 0, 0, 0], [-0.7, 0.9, 0, 0], [0.4, -1.1, 0.6, 0]], dtype=torch.float64)
STATES = torch.tensor(list(itertools.product([0, 1], repeat=4)))


class Bits(Uniform):
    """Each bit given the others that its row of ``weights`` shows it: a density only where that is strictly lower."""

    def __init__(self, space, bias, weights):
        super().__init__(space, discrete=True)
        self.bias, self.weights = bias, weights

    def log_prob(self, x, y=None):
        logits = self.bias + x.double() @ self.weights.T
        return (x * logsigmoid(logits) + (1 - x) * logsigmoid(-logits)).sum(1)


def log_prob(bias, weights):
    return Bits(dataset(STATES, 2).space, bias, weights).log_prob(STATES)


def test_the_honest_one_is_the_source_and_sums_to_one():
    honest = log_prob(BIAS, LOWER)
    assert torch.allclose(honest, bernoulli().source.log_prob(STATES), rtol=1e-12)
    assert float(honest.exp().sum()) == pytest.approx(1.0, abs=1e-12)
    entropy = float(-(honest.exp() * honest).sum())
    assert entropy == pytest.approx(2.6425982648592186, rel=1e-9)
    assert entropy / 4 / math.log(2) == pytest.approx(0.9531158529435435, rel=1e-9)


@pytest.mark.parametrize(
    ("bias", "weights", "total"),
    [
        (BIAS, LOWER + LOWER.T, 1.1885227396802809),
        (BIAS, LOWER + 6 * torch.eye(4), 4.364889474349008),
        (torch.full((4,), -6.0, dtype=torch.float64), 12 * torch.eye(4, dtype=torch.float64), 15.842338082133587),
    ],
    ids=["peeking", "self-copy", "pure copy"],
)
def test_a_mask_that_lets_a_bit_see_too_much_has_its_known_sum_and_is_warned_of(measure, bias, weights, total):
    assert float(log_prob(bias, weights).exp().sum()) == pytest.approx(total, rel=1e-9)
    data = bernoulli()
    warnings = measure(Bits(data.space, bias, weights), data, batch_size=500).warnings
    assert any("no probability of discrete data" in warning for warning in warnings)


def test_what_the_cheaters_would_report():
    honest, peeking = log_prob(BIAS, LOWER), log_prob(BIAS, LOWER + LOWER.T)
    assert float(-(honest.exp() * peeking).sum()) == pytest.approx(2.5529744488746724, rel=1e-9)
    copying = log_prob(BIAS, LOWER + 6 * torch.eye(4))
    pure = log_prob(torch.full((4,), -6.0, dtype=torch.float64), 12 * torch.eye(4, dtype=torch.float64))
    for cheat, bits in ((copying, 0.5808859292651889), (pure, 0.00357165867100623)):
        assert float(-cheat.mean()) / 4 / math.log(2) == pytest.approx(bits, rel=1e-9)


def test_the_stationary_distribution_and_entropy_rate_of_the_chain():
    """Entropies of longer chains grow by the rate, which is that of the stationary distribution."""
    source = markov(length=200).source
    longer = markov(length=201).source
    rate = longer.entropy - source.entropy
    assert rate == pytest.approx(0.9041217478828756, rel=1e-9)
    assert rate / math.log(2) == pytest.approx(1.3043719620304863, rel=1e-9)


@pytest.mark.parametrize(
    ("side", "total", "fake", "noise"),
    [
        (3, 2.5157624644761887, 4.155235597685126, 1.2734830294337052),
        (4, 5.5203278757103345, 6.707143038929264, 1.3019968350470146),
    ],
)
def test_a_pseudo_likelihood_is_no_density(side, total, fake, noise):
    """The product of each spin given all its neighbours: its sum, and a mean below the true entropy.

    On uniform noise it costs more than a bit per spin, as a density must: noise alone does not find it out.
    """
    source = ising(side=side).source
    states = torch.tensor(list(itertools.product([0, 1], repeat=side * side))).view(-1, side, side)
    spins = 2.0 * states.double() - 1
    field = torch.full_like(spins, 0.1)
    field[:, 1:] += 0.4 * spins[:, :-1]
    field[:, :-1] += 0.4 * spins[:, 1:]
    field[:, :, 1:] += 0.4 * spins[:, :, :-1]
    field[:, :, :-1] += 0.4 * spins[:, :, 1:]
    pseudo = logsigmoid(2 * spins * field).sum((1, 2))
    assert float(pseudo.exp().sum()) == pytest.approx(total, rel=1e-9)
    mean = float(-(source.log_prob(states).exp() * pseudo).sum())
    assert mean == pytest.approx(fake, rel=1e-9) and mean < source.entropy
    assert float(-pseudo.mean()) / side**2 / math.log(2) == pytest.approx(noise, rel=1e-9) and noise > 1


def test_a_density_at_the_centre_of_a_bin_is_not_its_mass():
    """Logistic density times bin width over 256 levels: known sums far from one."""
    centre = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    for mean, log_scale, total in ((0.0, -1.0, 0.8774278795579471), (0.1, -7.0, 0.8172964569954948)):
        at = (centre - mean) * math.exp(-log_scale)
        log_density = at - log_scale - 2 * torch.nn.functional.softplus(at)
        assert float(log_density.exp().sum() * 2 / 255) == pytest.approx(total, rel=1e-9)


def test_uniform_dequantisation_loses_its_known_share():
    """Of N(2.3, 0.6²) on unit bins, in bits, averaged over the masses of the bins from 0 to 4."""
    x = torch.arange(5, dtype=torch.float64)
    edges = torch.special.ndtr((torch.arange(6, dtype=torch.float64) - 2.3) / 0.6)
    mass = edges.diff()
    off = x - 2.3
    bound = -0.5 * math.log(2 * math.pi * 0.36) - (off**2 + off + 1 / 3) / (2 * 0.36)
    lost = (mass / mass.sum() * (mass.log() - bound)).sum() / math.log(2)
    assert float(lost) == pytest.approx(0.18338155407521808, rel=1e-9)


def test_a_bin_mass_that_is_clamped_sums_to_one_and_hides_what_it_costs():
    """A Gaussian decoder on 256 levels whose bins hold at least 1e-12: at most 27.63 nats where 1796 are due."""
    mean, scale = 0.1, math.exp(-4.0)
    edges = ((torch.arange(1, 256, dtype=torch.float64) - 0.5) / 127.5 - 1 - mean) / scale
    below = 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (edges + 0.044715 * edges**3)))  # as such decoders have it
    mass = torch.cat([below[:1], below.diff(), 1 - below[-1:]]).clamp_min(1e-12)
    assert float(mass.sum()) - 1 == pytest.approx(2.2527824050655454e-10, rel=1e-4)
    assert float(mass[0].log()) == pytest.approx(-27.631021115928547, rel=1e-12)
    assert float(torch.special.log_ndtr(edges[0])) == pytest.approx(-1795.654425651602, rel=1e-9)


def test_a_bernoulli_of_grey_values_lacks_a_constant():
    """The integral of ``p^x (1 - p)^(1 - x)`` over [0, 1] at p = 0.9, by quadrature, is far below one."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    x = (nodes + 1) / 2
    assert float((weights / 2) @ (0.9**x * 0.1 ** (1 - x))) == pytest.approx(0.36409569065073494, rel=1e-9)
