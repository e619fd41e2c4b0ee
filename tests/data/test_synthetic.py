from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from torch import Tensor

from torchstone.models.randomness import generator
from torchstone.suites.data import Dataset, Source, synthetic
from torchstone.suites.data.synthetic import FINGERPRINTS, Bernoulli, Ising, LinearGaussian, Markov, Mixture, truth

NAMES = sorted(FINGERPRINTS)
EXACT = {"rel": 1e-9, "abs": 0.0}


def dataset(name: str) -> Dataset:
    return {
        "bernoulli": synthetic.bernoulli,
        "ising": synthetic.ising,
        "linear_gaussian": synthetic.linear_gaussian,
        "markov": synthetic.markov,
        "mixture": synthetic.mixture,
    }[name]()


def states(levels: int, shape: tuple[int, ...]) -> Tensor:
    """Every example of a small discrete space."""
    return torch.tensor(list(itertools.product(range(levels), repeat=math.prod(shape)))).reshape(-1, *shape)


ENUMERABLE: list[Source] = [Bernoulli(), Markov(5), Markov(1), Ising(2, 0.7, -0.3), Ising(3, 0.4, 0.1)]


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_never_change(name: str) -> None:
    assert dataset(name).fingerprint == FINGERPRINTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_datasets_keep_their_promises(name: str, check_dataset) -> None:
    data = dataset(name)
    check_dataset(data, content=name in ("linear_gaussian", "mixture"))
    assert [len(split) for split in data.splits.values()] == [8000, 1000, 2000]
    assert data.name == name and data.source is not None and data.source.space == data.space
    assert data.splits["train"].x.dtype == (torch.float64 if name in ("linear_gaussian", "mixture") else torch.uint8)
    assert truth(source=data.source) is data.source


def test_settings_are_in_the_variant_and_in_the_data() -> None:
    assert synthetic.markov(length=5).variant == {"length": 5}
    small = synthetic.ising(side=3, coupling=0.2, field=0.0)
    assert small.variant == {"side": 3, "coupling": 0.2, "field": 0.0}
    assert small.space.event_shape == (3, 3)
    assert small.fingerprint != synthetic.ising(side=3, coupling=0.3, field=0.0).fingerprint


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("draw", ["stored", "fresh"])
def test_examples_have_the_entropy_as_their_mean_surprise(name: str, draw: str) -> None:
    """Four standard errors: a true source fails one such test in 16,000, and the seed is fixed."""
    data = dataset(name)
    source = data.source
    x = data.splits["train"].x if draw == "stored" else source.sample(20000, rng=generator(1, name))
    surprise = -source.log_prob(x)
    assert surprise.dtype == torch.float64 and surprise.shape == (len(x),)
    assert abs(float(surprise.mean()) - source.entropy) < 4 * float(surprise.std()) / math.sqrt(len(x))


@pytest.mark.parametrize("source", ENUMERABLE, ids=lambda s: f"{type(s).__name__}{s.space.event_shape}")
def test_probabilities_sum_to_one_and_give_the_entropy(source: Source) -> None:
    log_p = source.log_prob(states(source.space.support.levels, source.space.event_shape))
    assert float(log_p.exp().sum()) == pytest.approx(1.0, **EXACT)
    assert float(-(log_p.exp() * log_p).sum()) == pytest.approx(source.entropy, **EXACT)


@pytest.mark.parametrize("source", ENUMERABLE, ids=lambda s: f"{type(s).__name__}{s.space.event_shape}")
def test_samples_have_the_probabilities(source: Source) -> None:
    """Pearson's chi-square at level 1e-4 on 50,000 draws; states expected less than five times are pooled."""
    every = states(source.space.support.levels, source.space.event_shape).flatten(1)
    radix = source.space.support.levels ** torch.arange(every.shape[1]).flip(0)
    codes = (source.sample(50000, rng=generator(2, "chi-square")).flatten(1) * radix).sum(1)
    observed = torch.bincount(codes, minlength=len(every)).double().numpy()
    expected = 50000 * source.log_prob(every.reshape(-1, *source.space.event_shape)).exp().numpy()
    rare = expected < 5
    observed = np.append(observed[~rare], observed[rare].sum())[: None if rare.any() else -1]
    expected = np.append(expected[~rare], expected[rare].sum())[: None if rare.any() else -1]
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-4


def test_continuous_samples_have_the_distribution() -> None:
    """Kolmogorov-Smirnov at level 1e-4: the mixture itself, and three whitened coordinates of the Gaussian."""
    x = Mixture().sample(20000, rng=generator(3, "ks")).numpy()[:, 0]
    assert stats.kstest(x, lambda t: 0.3 * special.ndtr((t + 1) / 0.5) + 0.7 * special.ndtr(t - 2)).pvalue > 1e-4
    source = LinearGaussian()
    covariance = source.weight @ source.weight.T + 0.25 * torch.eye(3, dtype=torch.float64)
    white = torch.linalg.solve(
        torch.linalg.cholesky(covariance), (source.sample(20000, rng=generator(3, "ks")) - source.bias).T
    )
    assert all(stats.kstest(row.numpy(), special.ndtr).pvalue > 1e-4 for row in white)


def test_golden_linear_gaussian() -> None:
    x = torch.tensor([[0.9, -0.4, 1.2]], dtype=torch.float64)
    weight = np.array([[1, 0.5], [-0.3, 0.8], [0.2, -1.1]])
    normal = stats.multivariate_normal([0.1, -0.2, 0.3], weight @ weight.T + 0.25 * np.eye(3))
    assert float(LinearGaussian().log_prob(x)) == pytest.approx(-3.545899506493611, **EXACT)
    assert float(LinearGaussian().log_prob(x)) == pytest.approx(normal.logpdf(x.numpy()), **EXACT)
    assert LinearGaussian().entropy == pytest.approx(4.151671086675014, **EXACT)


def test_golden_bernoulli() -> None:
    x = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 1], [1, 1, 1, 0], [1, 1, 1, 1]])
    golden = [-2.770967758103797, -4.698780788237761, -2.073540771828748, -2.273540771828748]
    assert Bernoulli().log_prob(x).tolist() == pytest.approx(golden, **EXACT)
    assert Bernoulli().entropy == pytest.approx(2.6425982648592186, **EXACT)


def test_golden_markov() -> None:
    assert float(Markov(5).log_prob(torch.tensor([[0, 0, 1, 2, 2]]))) == pytest.approx(-4.55638002181866, **EXACT)
    assert Markov(5).entropy == pytest.approx(4.596364293571684, **EXACT)
    rate = Markov(2001).entropy - Markov(2000).entropy
    assert rate == pytest.approx(0.9041217478828756, rel=1e-8)


@pytest.mark.parametrize(
    ("side", "log_z", "entropy", "magnetisation"),
    [
        (3, 7.419458052829186, 4.768212702250828, 0.32760813004562944),
        (4, 13.55719885429556, 7.735317133491194, 0.4351035356829283),
    ],
)
def test_golden_ising(side: int, log_z: float, entropy: float, magnetisation: float) -> None:
    source = Ising(side, 0.4, 0.1)
    x = states(2, (side, side))
    p = source.log_prob(x).exp()
    assert source.log_partition == pytest.approx(log_z, **EXACT)
    assert source.entropy == pytest.approx(entropy, **EXACT)
    assert float((p * (2.0 * x.double() - 1).mean((1, 2))).sum()) == pytest.approx(magnetisation, **EXACT)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([2, 3]), st.floats(-3, 3), st.floats(-3, 3))
def test_transfer_matrix_agrees_with_enumeration(side: int, coupling: float, field: float) -> None:
    s = 2.0 * states(2, (side, side)).double() - 1
    energy = coupling * ((s[:, 1:] * s[:, :-1]).sum((1, 2)) + (s[:, :, 1:] * s[:, :, :-1]).sum((1, 2)))
    energy += field * s.sum((1, 2))
    log_z = torch.logsumexp(energy, 0)
    source = Ising(side, coupling, field)
    assert source.log_partition == pytest.approx(float(log_z), rel=1e-9, abs=1e-12)
    p = (energy - log_z).exp()
    assert source.entropy == pytest.approx(float(-(p * (energy - log_z)).sum()), rel=1e-9, abs=1e-12)


def test_a_large_ising_model_without_coupling_is_independent() -> None:
    p = float(torch.sigmoid(torch.tensor(0.6, dtype=torch.float64)))
    bit = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert Ising(12, 0.0, 0.3).entropy == pytest.approx(144 * bit, **EXACT)
    assert Ising(12, 0.0, 0.3).log_partition == pytest.approx(144 * math.log(2 * math.cosh(0.3)), **EXACT)


def test_golden_mixture() -> None:
    x = torch.tensor([[-1.0], [0.0], [2.5]], dtype=torch.float64)
    golden = [-1.416886929541243, -2.656574268737182, -1.4006134771211656]
    assert Mixture().log_prob(x).tolist() == pytest.approx(golden, **EXACT)
    assert Mixture().entropy == pytest.approx(1.7591030178979685, **EXACT)
    t = torch.linspace(-12, 14, 20001, dtype=torch.float64)
    assert float(torch.trapezoid(Mixture().log_prob(t[:, None]).exp(), t)) == pytest.approx(1.0, **EXACT)


def test_outside_the_support_the_density_is_zero() -> None:
    assert Bernoulli().log_prob(torch.tensor([[0, 0, 0, 2], [-1, 0, 0, 0]])).tolist() == [-math.inf] * 2
    halves = torch.tensor([[0.0, 1.0, 0.0, 0.5], [0.0, math.nan, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
    assert Bernoulli().log_prob(halves).isfinite().tolist() == [False, False, True]
    assert Markov(3).log_prob(torch.tensor([[0, 1, 3], [0, 1, 2]])).isfinite().tolist() == [False, True]
    assert Ising(2, 0.4, 0.1).log_prob(torch.full((1, 2, 2), 9)).tolist() == [-math.inf]
    for source in (Mixture(), LinearGaussian()):
        far = torch.zeros(3, source.space.dims, dtype=torch.float64)
        far[0, -1], far[1, 0] = math.inf, math.nan
        assert source.log_prob(far).isfinite().tolist() == [False, False, True]


@pytest.mark.parametrize("name", NAMES)
def test_samples_follow_the_generator_and_nothing_else(name: str) -> None:
    source = dataset(name).source
    first = source.sample(7, rng=generator(4, "a"))
    torch.manual_seed(0)
    assert torch.equal(first, source.sample(7, rng=generator(4, "a")))
    assert not torch.equal(first, source.sample(7, rng=generator(5, "a")))
    assert first.shape == (7, *source.space.event_shape)
    assert source.sample(0, rng=generator(4, "a")).shape == (0, *source.space.event_shape)


def test_normals_agree_with_scipy_up_to_the_grid() -> None:
    u = torch.linspace(1e-12, 1 - 1e-12, 1001, dtype=torch.float64)
    x = Mixture().examples(torch.stack([torch.ones_like(u), u], 1))[:, 0]
    assert np.abs(x.numpy() - (2 + special.ndtri(u.numpy()))).max() <= 2.0**-25 + 1e-12
    assert torch.equal(x * 2**24, (x * 2**24).round())


@pytest.mark.parametrize("name", NAMES)
def test_sources_follow_the_device_of_their_input(name: str) -> None:
    """On the meta device any constant that stayed behind is an error."""
    source = dataset(name).source
    x = source.examples(torch.full((3, source.uniforms), 0.5, dtype=torch.float64, device="meta"))
    assert x.device.type == "meta" and x.shape == (3, *source.space.event_shape)
    log_p = source.log_prob(x)
    assert log_p.device.type == "meta" and log_p.shape == (3,)
