from __future__ import annotations

import math

import pytest
import torch

from torchstone.models import Budget, Continuous, Discrete, Space, Split
from torchstone.models.exact.flow import Flow
from torchstone.models.randomness import generator

REAL = Continuous(-math.inf, math.inf)
SPACE = Space((2, 2), Discrete(5), classes=2)
SMALL = {"width": 8, "bins": 4, "batch": 8}


def build(space: Space = SPACE, conditional: bool = False) -> Flow:
    return Flow(space, conditional=conditional, **SMALL)


@pytest.mark.parametrize("support", [Continuous(0.0, 1.0), Continuous(-1.0, 1.0)])
def test_all_mass_is_inside_a_bounded_support(check_integrates_to_one, support):
    check_integrates_to_one(build(Space((2,), support)).double(), support.low, support.high)


def test_integrates_to_one_on_the_plane(check_integrates_to_one):
    check_integrates_to_one(build(Space((2,), REAL)).double(), -9.0, 9.0)


def test_tiny_integrates_to_one(check_integrates_to_one):
    check_integrates_to_one(Flow.tiny().double(), 0.0, 1.0)


def test_has_no_density_outside():
    assert build().log_prob(torch.full((1, 2, 2), 1.001)).item() == -torch.inf


@pytest.mark.parametrize("near", [1e-7, 1e-3, 0.5, 1 - 1e-3, 1 - 1e-7])
def test_is_finite_up_to_the_edges(near):
    assert build().log_prob(torch.full((1, 2, 2), near)).isfinite().all()


def test_gradients(check_gradients):
    model = build(conditional=True)
    x = torch.rand((4, 2, 2), generator=generator(0, "data"))
    check_gradients(model, -model.log_prob(x, torch.tensor([0, 1, 0, 1])).sum())


def test_fit_is_deterministic_and_kept(check_fit, make_split):
    train = make_split(SPACE, 50)
    u = (train.x[:5].double() + 0.5) / 5
    check_fit(lambda: build(conditional=True), lambda model: model.log_prob(u.to(model.scale), train.y[:5]), train)


def test_fit_of_unbounded_data_standardises(check_fit, make_split):
    space = Space((2,), REAL)
    data = make_split(space, 50)
    check_fit(lambda: build(space), lambda model: model.log_prob(data.x[:5].to(model.scale)), data)
    model = build(space)
    model.fit(data, data, Budget(2), rng=generator(0, "fit"))
    assert model.shift.allclose(data.x.mean(0)) and model.scale.allclose(data.x.std(0))


def test_conditional(check_conditional):
    check_conditional(build, lambda model, y: model.log_prob(torch.full((1, 2, 2), 0.5), y), SPACE)


@pytest.mark.parametrize("conditional", [False, True])
def test_samples_follow_the_density(conditional):
    """Sixteen cells of equal size: masses by quadrature, and counts of samples; 1 false alarm in 10^4 seeds."""
    from scipy.stats import chi2

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(Space((2,), Continuous(), classes=2), conditional).double()
    axis = (torch.arange(400, dtype=torch.double) + 0.5) / 400
    y = torch.ones(400 * 400, dtype=torch.long)
    with torch.no_grad():
        mass = model.log_prob(torch.cartesian_prod(axis, axis), y).exp().view(4, 100, 4, 100).mean((1, 3)).flatten()
    x = model.sample(8000, y[:8000], rng=generator(0, "sample"))
    assert x.min() >= 0 and x.max() <= 1
    cells = (x * 4).long().clamp(max=3)
    observed = torch.bincount(4 * cells[:, 0] + cells[:, 1], minlength=16)
    expected = 8000 * mass / mass.sum()
    assert mass.max() > 1.2 * mass.min(), "or else anything would pass"
    assert float(((observed - expected) ** 2 / expected).sum()) < chi2.isf(1e-4, 15)


def test_learns_a_bounded_density():
    """A triangle on [0, 1], of entropy 1/2 - ln 2."""
    u = torch.rand((4000, 1), generator=generator(0, "data")).sqrt()
    data = Split(u, None, torch.arange(4000))
    model = Flow(Space((1,), Continuous()), transforms=1, width=16, bins=8)
    model.fit(data, data, Budget(300), rng=generator(0, "fit"))
    assert -model.log_prob(u).mean().item() < 0.5 - math.log(2) + 0.05
