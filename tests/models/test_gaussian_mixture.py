from __future__ import annotations

import math

import pytest
import torch

from torchstone.models import Budget, Continuous, Discrete, ModelError, Space, Split
from torchstone.models.exact.gaussian_mixture import GaussianMixture
from torchstone.models.randomness import generator

SPACE = Space((2,), Continuous(-math.inf, math.inf), classes=2)


def test_integrates_to_one(check_integrates_to_one):
    check_integrates_to_one(GaussianMixture.tiny().double(), -8.0, 8.0)


def test_gradients(check_gradients):
    model = GaussianMixture.tiny()
    check_gradients(model, -model.log_prob(torch.tensor([[0.3, -1.0]])).sum())


def test_fit_is_deterministic_and_kept(check_fit, make_split):
    train = make_split(SPACE, 100)
    for conditional in (False, True):
        build = lambda c=conditional: GaussianMixture(SPACE, components=2, conditional=c)  # noqa: E731
        check_fit(build, lambda model: model.log_prob(train.x[:5].to(model.means), train.y[:5]), train)


def test_conditional(check_conditional):
    build = lambda s, c: GaussianMixture(s, components=2, conditional=c)  # noqa: E731
    check_conditional(build, lambda model, y: model.log_prob(torch.zeros(1, 2), y), SPACE)


def test_known_density():
    """.3 N(-1, .25) + .7 N(2, 1), at -1, 0 and 2.5."""
    model = GaussianMixture(Space((1,), Continuous(-math.inf, math.inf)), components=2).double()
    with torch.no_grad():
        model.weights.copy_(torch.tensor([[0.3, 0.7]]).log())
        model.means.copy_(torch.tensor([[[-1.0], [2.0]]]))
        model.factors.copy_(torch.tensor([[[[0.5]], [[1.0]]]]))
    x = torch.tensor([[-1.0], [0.0], [2.5]], dtype=torch.double)
    expected = [
        math.log(
            0.3 * math.exp(-((v + 1) ** 2) / 0.5) / math.sqrt(0.5 * math.pi)
            + 0.7 * math.exp(-((v - 2) ** 2) / 2) / math.sqrt(2 * math.pi)
        )
        for v in (-1.0, 0.0, 2.5)
    ]
    assert model.log_prob(x).tolist() == pytest.approx(expected, abs=1e-6)
    assert expected[1] == pytest.approx(-2.656574269)


def test_agrees_with_scikit_learn(make_split):
    from sklearn.mixture import GaussianMixture as Reference

    data = make_split(Space((3,), SPACE.support), 300)
    model = GaussianMixture(Space((3,), SPACE.support), components=1).double()
    model.fit(data, data, Budget(20), rng=generator(0, "fit"))
    reference = Reference(1, reg_covar=float(data.x.double().var()) * 1e-6).fit(data.x.double().numpy())
    expected = torch.as_tensor(reference.score_samples(data.x.double().numpy()))
    assert model.log_prob(data.x.double()).allclose(expected, atol=1e-6)


def test_samples_have_the_moments_of_the_density():
    model = GaussianMixture.tiny().double()
    x = model.sample(40000, rng=generator(0, "sample"))
    means = model.means[0].detach()
    mean = means.mean(0)
    spread = means - mean
    covariance = torch.eye(2) + spread.T @ spread / 2
    assert (x.mean(0) - mean).abs().max() < 0.04  # four standard errors at a standard deviation of two
    assert (x.T.cov() - covariance).abs().max() < 0.1


def test_samples_stay_in_a_bounded_support():
    model = GaussianMixture(Space((2,), Continuous(0.0, 1.0)), components=2)
    x = model.sample(100, rng=generator(0, "sample"))
    assert x.min() >= 0 and x.max() <= 1


def test_refuses_discrete_data():
    with pytest.raises(ModelError, match="applies to continuous data"):
        GaussianMixture(Space((2,), Discrete(3)))


def test_a_small_split_is_named(make_split):
    data = Split(torch.zeros(3, 2), None, torch.arange(3))
    with pytest.raises(ModelError, match="lower components"):
        GaussianMixture(SPACE, components=5).fit(data, data, Budget(5), rng=generator(0, "fit"))
