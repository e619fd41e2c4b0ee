from __future__ import annotations

import math

import pytest
import torch

from torchstone.models import Budget, Discrete, Space, Split
from torchstone.models.exact.gaussian_mixture import GaussianMixture
from torchstone.models.exact.mixture import CategoricalMixture, mixture
from torchstone.models.randomness import generator

SPACE = Space((2, 3), Discrete(4), classes=2)


def test_sums_to_one(check_sums_to_one):
    check_sums_to_one(CategoricalMixture.tiny().double())


def test_sampler(check_sampler):
    check_sampler(CategoricalMixture.tiny())


def test_gradients(check_gradients):
    model = CategoricalMixture.tiny()
    check_gradients(model, -model.log_prob(torch.tensor([[0, 1, 2]])).sum())


def test_fit_is_deterministic_and_kept(check_fit, make_split):
    train = make_split(SPACE, 50)
    x, y = train.batch(0, 5)
    for conditional in (False, True):
        build = lambda c=conditional: mixture(SPACE, components=3, conditional=c)  # noqa: E731
        check_fit(build, lambda model: model.log_prob(x, y), train, steps=50)


def test_conditional(check_conditional):
    x = torch.zeros((1, 2, 3), dtype=torch.long)
    check_conditional(lambda s, c: mixture(s, conditional=c), lambda model, y: model.log_prob(x, y), SPACE)


def test_the_support_decides_the_family(real_line):
    assert isinstance(mixture(Space((2,), Discrete(3))), CategoricalMixture)
    assert isinstance(mixture(Space((2,), real_line)), GaussianMixture)


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 3.0])
def test_expectation_maximisation_never_falls(make_split, conditional, smoothing):
    train = make_split(SPACE, 80)
    model = mixture(SPACE, components=3, conditional=conditional).double()
    torch.nn.init.normal_(model.logits, generator=generator(0, "start"))
    objectives = [model.iterate(train, torch.full_like(model.logits, smoothing)) for _ in range(30)]
    steps = torch.tensor(objectives).diff()
    assert (steps > -1e-9).all()
    assert steps.sum() > 1, "it rises"


def test_one_component_is_the_smoothed_marginal():
    data = Split(torch.tensor([[0], [0], [0], [1]]), None, torch.arange(4))
    model = CategoricalMixture(Space((1,), Discrete(2)), components=1).double()
    model.iterate(data, torch.ones_like(model.logits))
    assert model.log_prob(torch.tensor([[0], [1]])).exp().allclose(torch.tensor([4 / 6, 2 / 6], dtype=torch.double))


def test_recovers_two_clusters():
    """A fair mixture of all-zeros and all-ones costs ln 2, where independent positions cost 6 ln 2."""
    x = (torch.arange(400) % 2)[:, None].expand(400, 6).contiguous()
    data = Split(x, None, torch.arange(400))
    model = CategoricalMixture(Space((6,), Discrete(2)), components=2)
    model.fit(data, data, Budget(240), rng=generator(0, "fit"))
    assert -model.log_prob(x).mean().item() < math.log(2) + 0.05
