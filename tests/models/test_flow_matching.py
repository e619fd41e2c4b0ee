from __future__ import annotations

import math

import pytest
import torch

from torchstone.models import Budget, Continuous, Discrete, ModelError, Space, family
from torchstone.models.checks import check_model
from torchstone.models.implicit.flow_matching import FlowMatching, integrate
from torchstone.models.randomness import generator

SPACE = Space((2, 2), Discrete(5), classes=2)
SMALL = {"width": 8, "blocks": 1, "batch": 8}
MEAN, DEVIATION = 0.4, 0.3


def build(space: Space = SPACE, conditional: bool = False, **settings) -> FlowMatching:
    return FlowMatching(space, conditional=conditional, **SMALL | settings)


def gaussian_field(x, t):
    """E[x_1 - x_0 | x_t] for data N(MEAN, DEVIATION²): its flow carries x to MEAN + DEVIATION x."""
    variance = (1 - t) ** 2 + (t * DEVIATION) ** 2
    slope = (t * DEVIATION**2 - (1 - t)) / variance
    return MEAN + slope * (x - t * MEAN)


ORDERS = pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2)])


@ORDERS
def test_halving_the_step_divides_the_error_by_two_to_the_order(solver, order):
    """Of dx/dt = x, which takes 1 to e."""
    errors = [math.e - float(integrate(lambda x, t: x, torch.ones(1).double(), steps, solver)) for steps in (200, 400)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.02)


@ORDERS
def test_mean_and_deviation_of_a_gaussian_come_to_the_truth(solver, order):
    """The field is affine, so that two points tell both; this one is so kind to the midpoint that it gains an order."""
    x = torch.tensor([[0.0], [1.0]], dtype=torch.double)

    def errors(steps):
        low, high = integrate(gaussian_field, x, steps, solver).flatten().tolist()
        return torch.tensor([low - MEAN, high - low - DEVIATION]).abs()

    coarse, fine = errors(100), errors(200)
    assert (fine < 0.01 / 10 ** (order - 1)).all()
    assert (fine < 1.1 * coarse / 2**order + 1e-9).all()


@pytest.mark.parametrize(("solver", "asked"), [("euler", 7), ("midpoint", 14), ("heun", 14)])
def test_counts_of_network_evaluations(solver, asked):
    model, calls = build(solver=solver), []
    model.network.register_forward_hook(lambda *_: calls.append(1))
    model.sample(3, rng=generator(0, "sample"), steps=7)
    assert len(calls) == asked


def test_steps_below_one_are_refused():
    with pytest.raises(ModelError, match="steps=0"):
        build().sample(3, rng=generator(0, "sample"), steps=0)


@pytest.mark.parametrize("support", [Discrete(5), Continuous(-1.0, 1.0), Continuous(-math.inf, math.inf)])
def test_passes_the_checks(support):
    model = build(Space((2, 2), support))
    check_model(model)
    assert family(model) == "implicit-iterative"


def test_gradients(check_gradients):
    model = build(conditional=True)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.3)
    x = torch.rand((4, 2, 2), generator=generator(0, "data"))
    noise, time = torch.randn((4, 4), generator=generator(0, "noise")), torch.tensor([0.0, 0.3, 0.6, 1.0])
    check_gradients(model, model.squared_error(x, torch.tensor([0, 1, 0, 1]), noise, time).sum())


def test_fit_is_deterministic_and_kept(check_fit, make_split):
    y = torch.tensor([0, 1, 0, 1])
    check_fit(
        lambda: build(conditional=True), lambda model: model.sample(4, y, rng=generator(0, "s")), make_split(SPACE, 50)
    )


def test_conditional(check_conditional):
    check_conditional(build, lambda model, y: model.sample(1, y, rng=generator(0, "s")), SPACE)


def test_learns_where_the_classes_are(make_split):
    """Examples of class 1 lie a tenth of the support higher."""
    data = make_split(SPACE, 400)
    model = build(conditional=True, width=32, batch=64)
    model.fit(data, data, Budget(300), rng=generator(0, "fit"))
    means = [model.sample(400, torch.full((400,), label), rng=generator(0, "s")).mean() for label in (0, 1)]
    found = [(data.x[data.y == label].float().mean() + 0.5) / 5 for label in (0, 1)]
    for mean, true in zip(means, found, strict=True):
        assert abs(mean - true) < 0.05
    assert means[1] > means[0] + 0.03
