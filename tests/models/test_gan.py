from __future__ import annotations

import math

import pytest
import torch

from torchstone.models import Budget, Continuous, Discrete, ModelError, Space, Split, family
from torchstone.models.checks import check_model
from torchstone.models.implicit.gan import Gan
from torchstone.models.randomness import generator

SPACE = Space((2, 2), Discrete(5), classes=2)
REAL = Continuous(-math.inf, math.inf)
LABELS = torch.tensor([0, 1, 0, 1])


def build(space: Space = SPACE, conditional: bool = False, **settings) -> Gan:
    return Gan(space, conditional=conditional, **{"latents": 3, "width": 8, "batch": 8} | settings)


@pytest.mark.parametrize("support", [Discrete(5), Continuous(-1.0, 1.0), REAL])
def test_passes_the_checks(support):
    model = build(Space((2, 2), support))
    check_model(model)
    assert family(model) == "implicit-direct"


@pytest.mark.parametrize("loss", ["non_saturating", "wgan_gp"])
def test_gradients(check_gradients, loss):
    model = build(conditional=True, loss=loss)
    x = 2 * torch.rand((4, 4), generator=generator(0, "data")) - 1
    model.critic_loss(x, LABELS).backward()
    assert all(parameter.grad is None for parameter in model.generator.parameters()), "the critic's turn is its own"
    for name, parameter in model.critic.named_parameters():
        constant = loss == "wgan_gp" and name == "verdict.bias"  # a difference does not know it
        assert bool(parameter.grad.abs().sum() > 1e-6) is not constant, name
    model.zero_grad()
    check_gradients(model.generator, model.generator_loss(LABELS))


def test_the_losses_are_those_of_a_critic_that_is_known():
    """A linear critic without noise: its slope is its weight everywhere, and both losses follow."""
    x, slope = 2 * torch.rand((4, 4), generator=generator(0, "data")) - 1, torch.tensor([1.0, -2.0, 0.5, 0.0])
    fake = 0.1 * torch.ones(4, 4)

    class Linear(torch.nn.Module):
        def forward(self, x, y):
            return x @ slope

    def losses(loss, penalty):
        model = build(loss=loss, penalty=penalty, noise=0.0)
        model.critic, model._fake = Linear(), lambda y: fake
        y = torch.zeros(4, dtype=torch.long)
        return model.critic_loss(x, y).item(), model.generator_loss(y).item()

    real, false, square = x @ slope, fake @ slope, 5.25
    logistic = torch.nn.functional.softplus
    critic, generator_ = losses("non_saturating", 3.0)
    assert critic == pytest.approx((logistic(-real) + logistic(false)).mean().item() + 3 / 2 * square, rel=1e-6)
    assert generator_ == pytest.approx(logistic(-false).mean().item(), rel=1e-6)
    critic, generator_ = losses("wgan_gp", 3.0)
    assert critic == pytest.approx((false - real).mean().item() + 3 * (math.sqrt(square) - 1) ** 2, rel=1e-5)
    assert generator_ == pytest.approx(-false.mean().item(), rel=1e-6)


@pytest.mark.parametrize("loss", ["non_saturating", "wgan_gp"])
def test_fit_is_deterministic_and_kept(check_fit, make_split, loss):
    check_fit(
        lambda: build(conditional=True, loss=loss),
        lambda model: model.sample(4, LABELS, rng=generator(0, "s")),
        make_split(SPACE, 50),
    )


def test_conditional(check_conditional):
    check_conditional(build, lambda model, y: model.sample(1, y, rng=generator(0, "s")), SPACE)


def test_one_evaluation_for_each_sample():
    model, asked = build(), []
    model.generator.register_forward_hook(lambda module, given, answer: asked.append(len(answer)))
    model.sample(7, rng=generator(0, "s"))
    assert asked == [7]


def test_training_that_diverges_says_so(make_split):
    data = make_split(SPACE, 50)
    with pytest.raises(ModelError, match="diverged at step"):
        build(learning_rate=1e30).fit(data, data, Budget(20), rng=generator(0, "fit"))


@pytest.mark.slow
def test_learns_a_gaussian_of_the_plane():
    """Mean, deviations and correlation, from far away."""
    z = torch.randn((2000, 2), generator=generator(0, "data"))
    x = torch.stack([5 + 3 * z[:, 0], -2 + 0.5 * (0.8 * z[:, 0] + 0.6 * z[:, 1])], 1)
    data = Split(x, None, torch.arange(2000))
    model = build(Space((2,), REAL), width=32, batch=64)
    model.fit(data, data, Budget(400), rng=generator(0, "fit"))
    found = model.sample(4000, rng=generator(0, "s"))
    assert ((found.mean(0) - x.mean(0)).abs() < 0.35 * x.std(0)).all()
    assert ((found.std(0) / x.std(0)).log().abs() < 0.35).all()
    assert abs(found.T.corrcoef()[0, 1] - 0.8) < 0.2


def test_each_loss_has_settings_of_its_own():
    for loss, penalty, rate in (("non_saturating", 1.0, 2e-3), ("wgan_gp", 10.0, 1e-3)):
        model = build(loss=loss)
        assert (model.penalty, model.learning_rate) == (penalty, rate)
    model = build(penalty=0.0, learning_rate=0.5)
    assert (model.penalty, model.learning_rate) == (0.0, 0.5)
