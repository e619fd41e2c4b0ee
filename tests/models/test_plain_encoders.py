"""Encoders without a network: pixels, principal components and k-means; and the one that is never trained."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from sklearn import cluster, decomposition

from torchstone.harness.identity import state_digest
from torchstone.models import Budget, Continuous, Discrete, ModelError, Space, Split, capabilities
from torchstone.models.checks import check_model
from torchstone.models.encoders.kmeans import KMeans
from torchstone.models.encoders.pca import PCA
from torchstone.models.encoders.pixels import Pixels
from torchstone.models.encoders.random import RandomNetwork
from torchstone.models.randomness import generator, seeded
from torchstone.models.training import reset
from torchstone.suites.data.embedded import digits

SPACES = [
    Space((8, 8), Discrete(17), 10),
    Space((3, 32, 32), Discrete(256)),
    Space((5,), Discrete(4)),
    Space((2, 3), Continuous(-math.inf, math.inf)),
]
MAKERS = {
    "pixels": Pixels,
    "random": RandomNetwork,
    "pca": lambda space: PCA(space, components=4),
    "kmeans": lambda space: KMeans(space, centroids=6),
}


def digits_in_halves() -> tuple[Split, torch.Tensor]:
    data = digits()
    train = data.split("train")
    return Split(train.x, None, train.ids), data.split("test").batch(0, 100)[0]


def fitted(model, train, seed=0):
    model.fit(train, train, Budget(3), rng=generator(seed, "fit"))
    return model


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("space", SPACES, ids=lambda space: "x".join(map(str, space.event_shape)))
def test_keeps_the_contract(name, space):
    torch.manual_seed(0)
    model = MAKERS[name](space)
    assert "features are vectors" in check_model(model)
    assert "Encoder" in capabilities(model) and model.space.classes is None
    assert state_digest(model) is not None


@pytest.mark.parametrize("name", MAKERS)
def test_features_of_an_example_are_its_own(name, make_split):
    torch.manual_seed(0)
    model = MAKERS[name](SPACES[0]).double()
    x, _ = make_split(SPACES[0], 7).batch(0, 7)
    with torch.no_grad():
        together = model.encode(x)
        assert torch.equal(together, model.encode(x))
        assert torch.cat([model.encode(each[None]) for each in x]).allclose(together, rtol=1e-12, atol=1e-12)
    assert together.dtype == torch.float64


def test_pixels_are_the_numbers_as_stored():
    x = torch.randint(17, (3, 8, 8))
    assert torch.equal(Pixels(SPACES[0]).encode(x), x.flatten(1).float())


@pytest.mark.parametrize("whiten", [True, False])
def test_components_are_those_of_scikit_learn(whiten):
    train, x = digits_in_halves()
    model = fitted(PCA(SPACES[0], components=20, whiten=whiten), train)
    other = decomposition.PCA(20, whiten=whiten, svd_solver="full").fit(train.x.flatten(1).double().numpy())
    ours, theirs = model.encode(x).numpy(), other.transform(x.flatten(1).double().numpy())
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())


def test_whitened_components_of_the_training_examples_are_uncorrelated_and_of_variance_one():
    train, _ = digits_in_halves()
    features = fitted(PCA(SPACES[0]), train).encode(train.x)
    torch.testing.assert_close(features.T.cov(), torch.eye(32, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(features.mean(0), torch.zeros(32, dtype=torch.float64), rtol=0, atol=1e-9)


def test_directions_without_variance_give_zero_and_there_are_no_more_directions_than_dimensions():
    """Three pixels of digits never change; of 20 examples no more than 19 directions vary."""
    train, x = digits_in_halves()
    features = fitted(PCA(SPACES[0], components=100), train).encode(x)
    assert features.shape == (100, 64) and features.isfinite().all()
    assert int((features.abs().sum(0) == 0).sum()) == 3
    few = fitted(PCA(SPACES[0], components=100), Split(train.x[:20], None, train.ids[:20])).encode(x)
    assert few.isfinite().all() and int((few.abs().sum(0) > 0).sum()) <= 19


def test_the_test_examples_do_not_move_the_components():
    train, x = digits_in_halves()
    model = PCA(SPACES[0])
    model.fit(train, Split(x, None, torch.arange(len(x))), Budget(1), rng=generator(0, "fit"))
    assert torch.equal(model.directions, fitted(PCA(SPACES[0]), train).directions)


def test_random_components_are_an_orthonormal_projection():
    train, x = digits_in_halves()
    model = copy.deepcopy(fitted(PCA(SPACES[0]), train))
    with seeded(generator(3, "control")):
        reset(model)
    eye = torch.eye(32, dtype=torch.float64)
    torch.testing.assert_close(model.directions @ model.directions.T, eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(model.encode(x), x.flatten(1).double() @ model.directions.T)


def test_distances_are_those_of_scikit_learn():
    train, x = digits_in_halves()
    model = fitted(KMeans(SPACES[0], centroids=12, activation="distance"), train)
    seed = int(torch.randint(2**31 - 1, (), generator=generator(0, "fit")))
    other = cluster.KMeans(12, n_init=1, random_state=seed).fit(train.x.flatten(1).double().numpy())
    theirs = other.transform(x.flatten(1).double().numpy())
    np.testing.assert_allclose(model.encode(x).numpy(), theirs, rtol=1e-9)


def test_a_triangle_is_by_how_much_a_centroid_is_nearer_than_most():
    model = KMeans(Space((1,), Continuous(0.0, 10.0)), centroids=3)
    model.centres.copy_(torch.tensor([[0.0], [1.0], [8.0]]))
    expected = torch.tensor([[3.0, 2.0, 0.0], [0.0, 0.0, 5.0]], dtype=torch.float64)  # distances 0 1 8, and 8 7 0
    torch.testing.assert_close(model.encode(torch.tensor([[0.0], [8.0]])), expected, rtol=1e-12, atol=1e-12)


def test_random_centroids_have_the_scale_of_the_data():
    train, _ = digits_in_halves()
    model = fitted(KMeans(SPACES[0], centroids=1000), train)
    with seeded(generator(1, "control")):
        reset(model)
    x = train.x.flatten(1).double()
    moved = (model.centres - x.mean(0))[:, x.std(0) > 0] / x.std(0, correction=0)[x.std(0) > 0]
    assert abs(moved.mean().item()) < 4 / math.sqrt(moved.numel())  # four standard errors, one false alarm in 15,000
    assert abs(moved.square().mean().item() - 1) < 4 * math.sqrt(2 / moved.numel())


def test_more_centroids_than_examples_are_refused():
    train, _ = digits_in_halves()
    with pytest.raises(ModelError, match=r"9 centroids cannot be had of 5 training examples: set model.centroids=5"):
        fitted(KMeans(SPACES[0], centroids=9), Split(train.x[:5], None, train.ids[:5]))


def test_many_examples_are_clustered_in_minibatches(monkeypatch):
    train, x = digits_in_halves()
    monkeypatch.setattr("torchstone.models.encoders.kmeans.SMALL", 100)
    first, second = (fitted(KMeans(SPACES[0], centroids=10), train).encode(x) for _ in range(2))
    assert torch.equal(first, second) and first.std(0).min() > 0


@pytest.mark.parametrize("name", ["pca", "kmeans"])
def test_fit_is_deterministic_and_kept_and_sees_no_labels(name, check_fit, make_split):
    space = Space((4, 4), Discrete(17), 3)
    train = make_split(space, 60)
    x, _ = train.batch(0, 5)

    def build():
        torch.manual_seed(0)
        return MAKERS[name](space)

    check_fit(build, lambda model: model.encode(x), train)
    without, turned = Split(train.x, None, train.ids), Split(train.x, train.y.flip(0), train.ids)
    assert torch.equal(fitted(build(), without).encode(x), fitted(build(), turned).encode(x))


def test_gradients_reach_the_input():
    for name in ("pca", "kmeans"):
        torch.manual_seed(0)
        x = torch.rand((3, 2, 3), requires_grad=True)
        MAKERS[name](SPACES[3]).encode(x).square().sum().backward()
        assert x.grad is not None and x.grad.abs().sum() > 0
