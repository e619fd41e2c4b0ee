"""Transforms and Z, on four bits whose conditionals are known."""

import math

import pytest
import torch
from torchstone_extension.audited import Bits

from torchstone.suites.metrics.pit import Slices, kolmogorov_p_value


def sliced(n, seed, temperature=1.0):
    """One random coordinate of each of ``n`` samples, given the others."""
    model, rng = Bits(temperature=temperature), torch.Generator().manual_seed(seed)
    x = model.sample(n, rng=rng)
    position = torch.randint(4, (n,), generator=rng)
    both = x[:, None].repeat(1, 2, 1)
    both.scatter_(2, position[:, None, None].expand(-1, 2, 1), torch.arange(2).expand(n, -1)[..., None])
    log_p = model.log_prob(both.flatten(0, 1)).view(n, 2).log_softmax(1)
    return Slices(log_p.exp(), log_p, x.gather(1, position[:, None])[:, 0])


def test_z_has_mean_zero_and_deviation_one_where_samples_follow_the_density():
    z = torch.tensor([float(sliced(1000, seed).statistic()) for seed in range(600)])
    assert abs(float(z.mean())) < 4 / math.sqrt(600)
    assert float(z.std()) == pytest.approx(1.0, abs=4 / math.sqrt(1200))


@pytest.mark.parametrize(
    ("temperature", "n", "known"), [(0.8, 1000, 2.5826), (1.25, 1000, -2.4332), (0.8, 4000, 5.1561)]
)
def test_z_of_samplers_that_are_too_cold_or_too_hot(temperature, n, known):
    repeats = 200 if n == 1000 else 60
    z = torch.tensor([float(sliced(n, 7000 + seed, temperature).statistic()) for seed in range(repeats)])
    both = math.sqrt(2) * float(z.std()) / math.sqrt(repeats)  # the known values are means over as many repeats
    assert float(z.mean()) == pytest.approx(known, abs=4 * both)


def test_p_values_are_uniform_under_the_claim():
    rng = torch.Generator().manual_seed(3)
    slices = [sliced(200, seed) for seed in range(200)]
    for found in (
        [s.p_value(rng) for s in slices],
        [kolmogorov_p_value(s.transforms(rng)) for s in slices],
    ):
        rate = sum(p <= 0.1 for p in found) / len(found)
        assert abs(rate - 0.1) < 4 * math.sqrt(0.09 / 200)


def test_transforms_of_one_row_are_uniform_whatever_its_law():
    rng = torch.Generator().manual_seed(0)
    law = torch.tensor([0.7, 0.0, 0.2, 0.1], dtype=torch.float64)
    n = 20_000
    index = torch.multinomial(law, n, replacement=True, generator=rng)
    rows = Slices(law.expand(n, -1), law.log().expand(n, -1), index)
    assert kolmogorov_p_value(rows.transforms(rng)) > 1e-3
    assert rows.log_tempered() < 3
    wrong = Slices(law.flip(0).expand(n, -1), law.flip(0).log().expand(n, -1), index)
    assert kolmogorov_p_value(wrong.transforms(rng)) < 1e-9
    assert wrong.log_tempered() == math.inf  # the impossible value came


def test_temperatures_are_evidence_and_the_truth_is_not():
    honest = [sliced(1000, seed).log_tempered() for seed in range(300)]
    assert sum(value > math.log(20) for value in honest) / 300 <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 300)
    assert sliced(4000, 0, 0.7).log_tempered() > 10 and sliced(4000, 0, 1.5).log_tempered() > 10


def test_certain_and_impossible_values():
    sure = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert Slices(sure, sure.log(), torch.tensor([0])).certain
    assert float(Slices(sure, sure.log(), torch.tensor([0])).statistic()) == 0.0
    refused = Slices(sure, sure.log(), torch.tensor([1]))
    assert not refused.certain and float(refused.statistic()) == -math.inf
    assert refused.p_value(torch.Generator().manual_seed(0)) < 1e-4
