"""Clusters and densities of features, where the answer is known."""

import math

import pytest
import torch

from torchstone.models.randomness import generator
from torchstone.suites.metrics.clustering import cluster_agreement, mixture_gain

F64 = torch.float64


def clusters(n, apart, seed, dims=4):
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 4
    return apart * torch.eye(4, dims, dtype=F64)[y] + torch.randn(n, dims, generator=rng, dtype=F64), y


def test_clusters_that_lie_apart_are_the_labels():
    (train, _), (test, y) = clusters(400, 30.0, 0), clusters(200, 30.0, 1)
    assert cluster_agreement(train, test, y, 4, generator(0, "clusters")) == 1.0


def test_labels_that_have_nothing_to_do_with_features_agree_by_chance():
    """The index has mean zero, and here a deviation of about 0.006 (measured over 200 seeds)."""
    (train, _), (test, _) = clusters(400, 0.0, 0), clusters(400, 0.0, 1)
    y = torch.randint(4, (400,), generator=generator(0, "labels"))
    assert abs(cluster_agreement(train, test, y, 4, generator(0, "clusters"))) < 0.03


def test_fewer_different_features_than_clusters_are_clusters_of_their_own():
    x = torch.tensor([[0.0], [1.0]]).repeat(20, 1)
    assert cluster_agreement(x, x, torch.arange(40) % 2, 10, generator(0, "clusters")) == 1.0


def test_a_mixture_far_apart_gains_what_the_single_gaussian_cannot_see():
    r"""Two points of equal weight at ±a with noise 1: the gain tends to ½ log(1 + a²) - log 2 for large a."""
    a, rng = 20.0, torch.Generator().manual_seed(0)
    x = torch.where(torch.arange(8000)[:, None] % 2 == 0, a, -a) + torch.randn(8000, 1, generator=rng, dtype=F64)
    found = mixture_gain(x[:4000], x[4000:], 2, generator(0, "mixture"))
    scale = 1 + a**2
    ridge = 0.5 * math.log((1 / scale + 1e-2) * scale)  # the ridge widens each component by a hundredth of the variance
    lost = ridge + 0.5 * (1 / (1 + 1e-2 * scale) - 1)
    assert abs(found.value - (0.5 * math.log(scale) - math.log(2) - lost)) < 4 * found.stderr + 0.01


def test_a_mixture_gains_nothing_on_a_gaussian_and_does_not_depend_on_scale():
    x = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    found = mixture_gain(x[:2000], x[2000:], 3, generator(0, "mixture"))
    assert -0.05 < found.value < 4 * found.stderr
    again = mixture_gain(100 * x[:2000] + 5, 100 * x[2000:] + 5, 3, generator(0, "mixture"))
    assert math.isclose(again.value, found.value, abs_tol=1e-6)


@pytest.mark.parametrize("x", [torch.ones(20, 3), torch.zeros(1, 3)])
def test_where_nothing_varies_nothing_is_gained(x):
    found = mixture_gain(x, torch.ones(5, 3), 3, generator(0, "mixture"))
    assert found.value == 0.0 and found.n == 5
