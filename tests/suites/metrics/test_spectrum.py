"""The effective rank of a cloud of features, in closed form."""

import math

import pytest
import torch

from torchstone.suites.metrics.spectrum import spectrum

F64 = torch.float64


def cloud(sizes, n=64, seed=0):
    """Features with the given singular values about any mean."""
    rng = torch.Generator().manual_seed(seed)
    left = torch.randn(n, len(sizes), generator=rng, dtype=F64)
    left = torch.linalg.qr(left - left.mean(0))[0]
    right = torch.linalg.qr(torch.randn(len(sizes), len(sizes), generator=rng, dtype=F64))[0]
    return left * torch.tensor(sizes, dtype=F64) @ right + 3


def test_the_effective_rank_is_the_exponential_of_an_entropy():
    sizes = torch.tensor([4.0, 2.0, 1.0, 1.0], dtype=F64)
    share = sizes / 8
    found = spectrum(cloud(sizes.tolist()))
    assert math.isclose(found.effective_rank, math.exp(-float((share * share.log()).sum())), rel_tol=1e-9)
    assert math.isclose(found.condition_number, 4.0, rel_tol=1e-9) and found.dead == 0.0


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_equal_directions_count_one_each(rank):
    assert math.isclose(spectrum(cloud([2.0] * rank)).effective_rank, rank, rel_tol=1e-9)


def test_scale_rotation_and_mean_do_not_matter():
    x = cloud([3.0, 2.0, 0.5])
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=F64))[0]
    assert math.isclose(spectrum(x).effective_rank, spectrum(100 * x @ turn - 5).effective_rank, rel_tol=1e-9)


def test_features_that_do_not_vary_are_dead_and_fill_no_direction():
    x = torch.cat([cloud([2.0, 1.0]), torch.full((64, 2), 7.0, dtype=F64)], 1)
    found = spectrum(x)
    assert found.dead == 0.5 and math.isclose(found.condition_number, 2.0, rel_tol=1e-9)
    still = spectrum(torch.ones(5, 3))
    assert still.effective_rank == 0.0 and still.dead == 1.0 and math.isnan(still.condition_number)


def test_a_copy_of_a_feature_adds_no_direction():
    x = cloud([2.0, 1.0])
    found = spectrum(torch.cat([x, x[:, :1]], 1))
    assert found.dead == 0.0 and found.effective_rank < 2 + 1e-9


@pytest.mark.parametrize("x", [torch.zeros(0, 3), torch.zeros(3), torch.tensor([[math.nan, 1.0]])])
def test_what_has_no_spectrum_is_refused(x):
    with pytest.raises(ValueError, match=r"features of shape|NaN"):
        spectrum(x)
