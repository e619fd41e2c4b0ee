from __future__ import annotations

import pytest
import torch

from torchstone.models import Budget, Continuous, Discrete, ModelError, Space, Split
from torchstone.models.exact.independent import Independent
from torchstone.models.randomness import generator

SPACE = Space((2, 3), Discrete(4), classes=2)


def test_sums_to_one(check_sums_to_one):
    check_sums_to_one(Independent.tiny().double())


def test_conditionals_ignore_the_data():
    model = Independent.tiny()
    first, second = model.conditionals(torch.tensor([[0, 0, 0], [2, 1, 2]])).logits
    assert torch.equal(first, second)


def test_sampler(check_sampler):
    check_sampler(Independent.tiny())


def test_gradients(check_gradients):
    model = Independent.tiny()
    check_gradients(model, -model.log_prob(torch.tensor([[0, 1, 2]])).sum())


def test_fit_is_deterministic_and_kept(check_fit, make_split):
    train = make_split(SPACE, 50)
    x, y = train.batch(0, 5)
    check_fit(lambda: Independent(SPACE, conditional=True), lambda model: model.log_prob(x, y), train)


def test_conditional(check_conditional):
    x = torch.zeros((1, 2, 3), dtype=torch.long)
    check_conditional(lambda s, c: Independent(s, conditional=c), lambda model, y: model.log_prob(x, y), SPACE)


def test_fit_is_smoothed_counts():
    """With 3 zeros and 1 one among 3 levels, the probabilities are (3 + a, 1 + a, a) / (4 + 3 a)."""
    data = Split(torch.tensor([[0], [0], [0], [1]]), None, torch.arange(4))
    model = Independent(Space((1,), Discrete(3)))
    model.fit(data, data, Budget(1), rng=generator(0, "fit"))
    probabilities = model.conditionals(torch.tensor([[0]])).probs[0, 0]
    alphas = torch.tensor([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0])
    expected = torch.stack([3 + alphas, 1 + alphas, alphas], -1) / (4 + 3 * alphas)[:, None]
    assert probabilities.allclose(expected[0]), "the data themselves prefer the least smoothing"
    skewed = Split(torch.tensor([[2], [1], [0]]), None, torch.arange(3))
    model.fit(data, skewed, Budget(1), rng=generator(0, "fit"))
    assert model.conditionals(torch.tensor([[0]])).probs[0, 0].allclose(expected[-1]), "uniform ones prefer the most"


def test_refuses_continuous_data():
    with pytest.raises(ModelError, match="independent applies to discrete data"):
        Independent(Space((2,), Continuous()))
