from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import NTXentLoss

from torchstone.models import Budget, Discrete, Space
from torchstone.models.encoders.simclr import SimCLR
from torchstone.models.randomness import generator

TAU = 0.2


def closed_form(first: torch.Tensor, second: torch.Tensor, tau: float) -> torch.Tensor:
    """``mean_i -log exp(s_ij(i) / tau) / sum_(k != i) exp(s_ik / tau)`` over all 2N views, as it is written."""
    views = torch.nn.functional.normalize(torch.cat([first, second]), dim=1)
    n = len(first)
    kernel = (views @ views.T / tau).exp()
    partner = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    others = kernel.sum(1) - kernel.diagonal()
    return -(kernel[torch.arange(2 * n), partner] / others).log().mean()


def views(n: int = 7, d: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    rng = generator(0, "views")
    first, second = (torch.randn((n, d), generator=rng, dtype=torch.float64) for _ in range(2))
    return first, second


@pytest.mark.parametrize("tau", [0.1, 0.5, 2.0])
def test_the_loss_is_the_formula(tau):
    first, second = views()
    assert NTXentLoss(tau)(first, second).item() == pytest.approx(closed_form(first, second, tau).item(), rel=1e-9)


def test_mutants_of_the_formula_are_other_numbers():
    """One direction only; the view itself among the choices; no division by the temperature."""
    first, second = views()
    loss = NTXentLoss(TAU)(first, second)
    a, b = (torch.nn.functional.normalize(v, dim=1) for v in (first, second))
    both = torch.cat([a, b])
    partner = torch.cat([torch.arange(7, 14), torch.arange(7)])
    mutants = [
        torch.nn.functional.cross_entropy(a @ b.T / TAU, torch.arange(7)),
        torch.nn.functional.cross_entropy(both @ both.T / TAU, partner),
        closed_form(first, second, 1.0),
    ]
    assert all(abs(loss - mutant) > 1e-3 for mutant in mutants)


@pytest.mark.parametrize("n", [2, 8, 100])
def test_if_all_views_are_one_the_loss_is_the_log_of_the_number_of_choices(n):
    same = torch.ones((n, 3), dtype=torch.float64)
    assert NTXentLoss(TAU)(same, same).item() == pytest.approx(math.log(2 * n - 1), rel=1e-9)


def test_its_limits():
    """Partners alike and all others opposite or orthogonal; no temperature, and no end of it."""
    pair = torch.eye(2, dtype=torch.float64)[:1].repeat(2, 1) * torch.tensor([[1.0], [-1.0]])
    found = NTXentLoss(TAU)(pair, pair).item()
    assert found == pytest.approx(math.log1p(2 * math.exp(-2 / TAU)), rel=1e-9)
    axes = torch.eye(6, dtype=torch.float64)
    assert NTXentLoss(TAU)(axes, axes).item() == pytest.approx(math.log1p(10 * math.exp(-1 / TAU)), rel=1e-9)
    assert NTXentLoss(1e-3)(axes, axes).item() < 1e-9
    assert NTXentLoss(1e9)(*views()).item() == pytest.approx(math.log(13), abs=1e-6)


def test_fitting_brings_views_of_one_example_together(make_split, monkeypatch):
    losses = []
    forward = NTXentLoss.forward

    def spy(self, first, second):
        loss = forward(self, first, second)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(NTXentLoss, "forward", spy)
    train = make_split(Space((8, 8), Discrete(5)), 200)
    model = SimCLR(Space((8, 8), Discrete(5)), width=8, features=16, batch=16)
    model.fit(train, train, Budget(60), rng=generator(0, "fit"))
    assert len(losses) == 60 and sum(losses[-10:]) < 0.9 * sum(losses[:10])
