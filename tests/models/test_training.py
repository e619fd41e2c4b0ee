from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from torchstone.models import Budget, ModelError, Split
from torchstone.models.randomness import generator
from torchstone.models.training import minimise, reset


class Line(nn.Module):
    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.dropout = nn.Dropout(dropout)
        self.modes: list[bool] = []

    def nats(self, x: Tensor, y: Tensor | None) -> Tensor:
        self.modes.append(self.training)
        return (self.dropout(self.linear(x)) - 3 * x + 1).square().flatten(1).sum(1)


def data(n: int = 100, shift: float = 0.0) -> Split:
    return Split(torch.randn((n, 1), generator=generator(0, "x")) + shift, None, torch.arange(n))


def trained(steps: int = 50, seed: int = 0, dropout: float = 0.1, **settings: float) -> Line:
    model = Line(dropout)
    minimise(model, model.nats, data(), data(), Budget(steps), rng=generator(seed, "fit"), **settings)
    return model


def test_learns():
    model = trained(600, dropout=0.0, learning_rate=0.1, weight_decay=0.0)
    assert model.linear.weight.item() == pytest.approx(3, abs=0.2)
    assert model.linear.bias.item() == pytest.approx(-1, abs=0.2)
    assert not model.training


def test_depends_on_the_seed_alone():
    torch.manual_seed(1)
    first = trained()
    torch.manual_seed(2)
    second, other = trained(), trained(seed=1)
    assert torch.equal(first.linear.weight, second.linear.weight)
    assert not torch.equal(first.linear.weight, other.linear.weight)


def test_leaves_the_global_generator_alone():
    model, state = Line(), torch.get_rng_state()
    minimise(model, model.nats, data(), data(), Budget(5), rng=generator(0, "fit"))
    assert torch.equal(state, torch.get_rng_state())


def test_keeps_what_is_best_on_validation():
    """Training moves the line to 3 x - 1; a validation set that rewards nothing but the start keeps the start."""
    best: list[float] = []

    class Drifting(Line):
        def nats(self, x: Tensor, y: Tensor | None) -> Tensor:
            loss = super().nats(x, y)
            if self.training:
                return loss
            best.append(float(self.linear.weight.detach()))
            return loss.detach() * 0 + len(best)

    model = Drifting()
    minimise(model, model.nats, data(), data(10), Budget(50), rng=generator(0, "fit"), learning_rate=0.1)
    assert model.linear.weight.item() == best[0] != best[-1]


def test_stops_when_validation_has_long_been_worse():
    taken: list[int] = []
    model = Line()

    def nats(x: Tensor, y: Tensor | None) -> Tensor:
        loss = model.nats(x, y)
        return loss if model.training else loss * 0 + len(taken)

    budget = Budget(100, lambda done, total: taken.append(done))
    minimise(model, nats, data(), data(10), budget, rng=generator(0, "fit"), checks=20, patience=3)
    assert taken[-1] == 19, "checks come every 5 steps, and the fourth is the third in a row that is worse"


def test_reports_every_step():
    taken: list[tuple[int, int]] = []
    model = Line()
    budget = Budget(7, lambda done, total: taken.append((done, total)))
    minimise(model, model.nats, data(), data(), budget, rng=generator(0, "fit"))
    assert taken == [(step, 7) for step in range(1, 8)]


def test_validates_without_dropout_and_on_few_examples():
    sizes: list[int] = []
    model = Line()

    def nats(x: Tensor, y: Tensor | None) -> Tensor:
        if not model.training:
            sizes.append(len(x))
        return model.nats(x, y)

    minimise(model, nats, data(), data(2000), Budget(1), rng=generator(0, "fit"), batch=25)
    assert sum(sizes) == 512 and max(sizes) == 100
    assert model.modes == [True] + [False] * 6


def test_diverging_is_an_error():
    model = Line()
    with pytest.raises(ModelError, match=r"diverged at step 0 \(loss nan\)"):
        minimise(model, lambda x, y: model.nats(x, y) * torch.nan, data(), data(), Budget(3), rng=generator(0, "fit"))


def test_reset_initialises_afresh():
    model, other = Line(), Line()
    for each in (model, other):
        torch.manual_seed(0)
        reset(each)
    assert torch.equal(model.linear.weight, other.linear.weight)


def test_the_weights_are_an_average_over_steps():
    raw: list[float] = []
    model = Line()
    budget = Budget(40, lambda done, total: raw.append(model.linear.weight.item()))
    minimise(model, model.nats, data(), data(), budget, rng=generator(0, "fit"), checks=1, learning_rate=0.1)
    assert len(raw) == 40 and raw[-2] != raw[-1] != model.linear.weight.item()
    assert min(raw[20:]) < model.linear.weight.item() < max(raw[20:])
