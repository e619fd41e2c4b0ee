"""Votes of the most similar: counted one by one, scikit-learn's own, and what must not change them."""

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from torchstone.suites.metrics import knn
from torchstone.suites.metrics.knn import knn_log_prob

F64 = torch.float64


def sets(n=300, m=80, d=8, classes=4, seed=0):
    rng = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (n,), generator=rng)
    centres = torch.randn(classes, d, generator=rng, dtype=F64)
    train = centres[y] + torch.randn(n, d, generator=rng, dtype=F64)
    return train, y, centres[torch.arange(m) % classes] + torch.randn(m, d, generator=rng, dtype=F64)


def test_votes_are_counted_one_by_one():
    train, y, test = sets()
    found = knn_log_prob(train, y, test, 5, k=(1, 7, 300)).exp()
    similar = torch.nn.functional.cosine_similarity(test[:, None], train[None], dim=2)
    for place, k in enumerate((1, 7, 300)):
        for row in range(len(test)):
            votes = torch.zeros(5, dtype=F64)
            for neighbour in similar[row].argsort(descending=True)[:k].tolist():
                votes[y[neighbour]] += math.exp(float(similar[row, neighbour]) / 0.07)
            assert torch.allclose(found[place, row], votes / votes.sum(), atol=1e-12)


@pytest.mark.parametrize("k", [1, 10, 200])
def test_it_is_scikit_learns_classifier(k):
    train, y, test = sets()
    peer = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.07))
    expected = torch.tensor(peer.fit(train.numpy(), y.numpy()).predict_proba(test.numpy()))
    assert torch.allclose(knn_log_prob(train, y, test, 4, k=(k,))[0].exp(), expected, atol=1e-9)


@pytest.mark.parametrize(("rows", "columns"), [(7, 1000), (1000, 64), (13, 250)])
def test_blocks_change_nothing(monkeypatch, rows, columns):
    train, y, test = sets()
    whole = knn_log_prob(train, y, test, 4)
    monkeypatch.setattr(knn, "ROWS", rows)
    monkeypatch.setattr(knn, "COLUMNS", columns)
    assert torch.allclose(whole.exp(), knn_log_prob(train, y, test, 4).exp(), atol=1e-12)


def test_length_and_direction_of_turned_axes_do_not_matter():
    train, y, test = sets()
    turn = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(3), dtype=F64))[0]
    scale = torch.arange(1, 301)[:, None] / 10.0
    assert torch.allclose(
        knn_log_prob(train, y, test, 4).exp(),
        knn_log_prob(train @ turn * scale, y, 5 * test @ turn, 4).exp(),
        atol=1e-9,
    )


def test_twins_of_two_labels_share_the_vote():
    train = torch.tensor([[1.0, 0], [2.0, 0], [0, 1.0]], dtype=F64)
    found = knn_log_prob(train, torch.tensor([0, 1, 2]), torch.tensor([[3.0, 0]], dtype=F64), 4, k=(2,))
    assert found[0, 0].exp().tolist() == pytest.approx([0.5, 0.5, 0, 0]) and found[0, 0, 3] == -math.inf


def test_the_temperature_is_the_one_of_the_weights():
    train = torch.tensor([[1.0, 0], [0, 1.0]], dtype=F64)
    found = knn_log_prob(train, torch.tensor([0, 1]), torch.tensor([[1.0, 0]], dtype=F64), 2, k=(2,), temperature=0.5)
    assert found[0, 0].exp().tolist() == pytest.approx([1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))], rel=1e-12)


def test_a_zero_feature_is_like_all_others_a_little():
    train, y, _ = sets()
    found = knn_log_prob(train, y, torch.zeros(1, 8, dtype=F64), 4, k=(300,))
    assert torch.allclose(found[0, 0].exp(), torch.bincount(y, minlength=4).double() / 300)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a, y, b: (a, y, b[:, :3]), "Expected features"),
        (lambda a, y, b: (a, y + 1, b), "label of 0 to 3"),
        (lambda a, y, b: (a[:9], y[:9], b), "leave out those above"),
        (lambda a, y, b: (a, y, b / 0), "NaN or infinite"),
    ],
)
def test_bad_input_is_a_sentence(change, words):
    with pytest.raises(ValueError, match=words):
        knn_log_prob(*change(*sets()), 4)
    with pytest.raises(ValueError, match="above zero"):
        knn_log_prob(*sets(), 4, temperature=0.0)
