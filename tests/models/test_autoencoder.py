from __future__ import annotations

import math

import pytest
import torch

from torchstone.harness.identity import state_digest
from torchstone.models import Budget, Continuous, Discrete, Space, capabilities, family
from torchstone.models.checks import check_model
from torchstone.models.encoders.autoencoder import Autoencoder
from torchstone.models.randomness import generator
from torchstone.suites.data.embedded import digits
from torchstone.suites.density import Density

SPACE = Space((2, 2), Discrete(5), classes=2)


def build(space: Space = SPACE, features: int = 2) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(space, features=features, width=16, dropout=0.0, batch=16)


def error(model: Autoencoder, x: torch.Tensor) -> float:
    return (model.reconstruct(x) - x).square().flatten(1).sum(1).mean().item()


@pytest.mark.parametrize("support", [Discrete(5), Continuous(0.0, 1.0), Continuous(-math.inf, math.inf)])
def test_keeps_the_contract(support):
    assert "features are vectors" in check_model(build(Space((2, 2), support)))


def test_it_is_an_encoder_and_nothing_with_a_density():
    assert family(build()) == "encoder" and capabilities(build()) == ("Encoder", "Trainable")
    assert build().space.classes is None


def test_the_density_suite_skips_it_and_says_why():
    data = digits()
    reason = Density().skip(Autoencoder(data.space), data)
    assert reason is not None and "is encoder and has no density to measure" in reason


def test_reconstructions_are_on_the_scale_of_the_data(make_split):
    train = make_split(SPACE, 300)
    x, _ = train.batch(0, 300)
    model = build()
    before = error(model, x)
    model.fit(train, train, Budget(300), rng=generator(0, "fit"))
    variance = x.double().var(0, correction=0).sum().item()
    assert model.reconstruct(x).shape == x.shape
    assert error(model, x) < min(before, variance) / 2


def test_more_features_lower_the_error_of_noise_too():
    """What the docstring says: a code of as many features as dimensions copies examples that have no structure."""
    from torchstone.models import Split

    space = Space((4,), Discrete(5))
    x = torch.randint(5, (400, 4), generator=generator(0, "noise"))
    train = Split(x, None, torch.arange(400))
    errors = []
    for features in (1, 4):
        model = Autoencoder(space, features=features, width=64, dropout=0.0)
        model.fit(train, train, Budget(400), rng=generator(0, "fit"))
        errors.append(error(model, x))
    assert errors[1] < errors[0] / 4


def test_gradients(check_gradients):
    model = build()
    x = torch.arange(8).view(2, 2, 2) % 5
    check_gradients(model, model.reconstruct(x).square().sum())


def test_fit_is_deterministic_and_kept(check_fit, make_split):
    train = make_split(SPACE, 50)
    x, _ = train.batch(0, 5)
    check_fit(build, lambda model: model.encode(x), train)


def test_has_a_digest_of_its_state():
    assert state_digest(build()) == state_digest(build()) is not None
