"""Votes of neighbours are those of scikit-learn, whatever the blocks."""

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from torchstone.suites.metrics import knn
from torchstone.suites.metrics.knn import knn_log_prob

F64 = torch.float64


def features(n, d=5, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=F64)


@pytest.mark.parametrize("k", [1, 3, 40])
def test_votes_are_those_of_scikit_learn(k):
    train, test, y = features(60), features(25, seed=1), torch.arange(60) % 3
    peer = KNeighborsClassifier(
        k, metric="cosine", algorithm="brute", weights=lambda distance: np.exp((1 - distance) / 0.07)
    ).fit(train, y)
    found = knn_log_prob(train, y, test, 3, (k,))[0].exp()
    np.testing.assert_allclose(found, peer.predict_proba(test), rtol=1e-9, atol=1e-12)


def test_a_vote_by_hand():
    """Two neighbours at cosines 1 and 0 with a temperature of one: e to 1."""
    train, y = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]), torch.tensor([1, 0, 0])
    found = knn_log_prob(train, y, torch.tensor([[5.0, 0.0]]), 3, (1, 2), temperature=1.0)
    assert found[0, 0].tolist() == [-math.inf, 0.0, -math.inf]
    torch.testing.assert_close(found[1, 0, :2].exp(), torch.tensor([1, math.e], dtype=F64) / (1 + math.e))


def test_several_numbers_of_neighbours_at_once_are_each_alone():
    train, test, y = features(60), features(9, seed=1), torch.arange(60) % 4
    both = knn_log_prob(train, y, test, 4, (20, 5))
    assert torch.equal(both[0], knn_log_prob(train, y, test, 4, (20,))[0])
    assert torch.equal(both[1], knn_log_prob(train, y, test, 4, (5,))[0])


def test_blocks_change_nothing(monkeypatch):
    train, test, y = features(200), features(50, seed=1), torch.arange(200) % 4
    whole = knn_log_prob(train, y, test, 4, (1, 30))
    monkeypatch.setattr(knn, "TRAIN_ROWS", 17)
    monkeypatch.setattr(knn, "TEST_ROWS", 7)
    torch.testing.assert_close(knn_log_prob(train, y, test, 4, (1, 30)), whole, rtol=1e-12, atol=1e-12)


def test_the_length_of_features_does_not_matter_and_zeros_are_equally_far_from_all():
    train, test, y = features(30), features(9, seed=1), torch.arange(30) % 2
    found = knn_log_prob(train * torch.arange(1, 31)[:, None], y, test * 7, 2, (5,))
    torch.testing.assert_close(found, knn_log_prob(train, y, test, 2, (5,)))
    nowhere = knn_log_prob(train, y, torch.zeros(1, 5, dtype=F64), 2, (30,))
    torch.testing.assert_close(nowhere[0, 0].exp(), torch.tensor([0.5, 0.5], dtype=F64))


def test_a_small_temperature_overflows_nothing():
    train, y = features(30), torch.arange(30) % 2
    assert bool(knn_log_prob(train, y, train, 2, (30,), temperature=1e-5).exp().isfinite().all())


def test_no_more_than_a_block_of_similarities_is_held(monkeypatch):
    monkeypatch.setattr(knn, "TRAIN_ROWS", 256)
    sizes, real = [], torch.Tensor.topk
    monkeypatch.setattr(torch.Tensor, "topk", lambda x, *given: (sizes.append(x.numel()), real(x, *given))[1])
    knn_log_prob(features(5000), torch.arange(5000) % 2, features(1500, seed=1), 2, (10,))
    assert len(sizes) == 3 * 20 * 2 and max(sizes) <= knn.TEST_ROWS * 256


@pytest.mark.parametrize("neighbours", [(0,), (31,), ()])
def test_neighbours_that_cannot_be_had_are_refused(neighbours):
    with pytest.raises(ValueError, match="from 1 to 30"):
        knn_log_prob(features(30), torch.zeros(30).long(), features(2), 1, neighbours)


def test_shapes_that_do_not_agree_are_refused():
    with pytest.raises(ValueError, match=r"\(30, 5\), \(2, 4\)"):
        knn_log_prob(features(30), torch.zeros(30).long(), features(2, 4), 1, (1,))
