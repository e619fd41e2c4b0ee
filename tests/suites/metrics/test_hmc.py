"""Hamiltonian Monte Carlo and its pilot."""

import math
from dataclasses import FrozenInstanceError

import pytest
import torch

from torchstone.suites.metrics.annealing import (
    Path,
    anneal,
    anneal_back,
    lower_bound,
    sigmoid,
    upper_bound,
)
from torchstone.suites.metrics.hmc import HMC, _trajectory, pilot

F64 = torch.float64


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def path_of(model, examples=1):
    return Path(model.log_prior, model.log_likelihood, examples)


def after(model, moves, chains=100_000, seed=0, t=1.0):
    """z-scores of the second moments at temperature t, of chains that began there and moved."""
    mean, covariance = model.tempered(t)
    rng = seeded(seed)
    state = path_of(model).at(model.draws(t, chains, rng))
    squares = (moves(state, rng).z - mean) ** 2
    return (squares.mean(0) - covariance.diag()) / (squares.std(0) / math.sqrt(chains))


@pytest.mark.parametrize(("t", "step"), [(1.0, 0.3), (1.0, 0.5), (0.2, 0.5)])
def test_moves_leave_each_density_as_it_is(linear_gaussian, t, step):
    hmc = HMC(torch.tensor([t]), torch.tensor([[step]], dtype=F64))

    def moves(state, rng):
        for _ in range(5):
            state, _ = hmc.step(path_of(linear_gaussian), state, 0, rng)
        return state

    assert float(after(linear_gaussian, moves, t=t).abs().max()) < 4


def test_moves_that_are_all_accepted_are_found_out(linear_gaussian):
    """The mutant leaves out Metropolis-Hastings."""

    def moves(state, rng):
        for _ in range(5):
            state, _ = _trajectory(path_of(linear_gaussian), state, 1.0, torch.tensor([0.5]), 10, rng)
        return state

    assert float(after(linear_gaussian, moves).abs().max()) > 20


def test_steps_that_follow_their_own_history_are_found_out(linear_gaussian):
    """The mutant adapts the step of a chain to whether that chain was accepted, while it counts."""

    def moves(state, rng):
        steps = torch.full((len(state.z),), 0.6, dtype=F64)
        path = path_of(linear_gaussian, len(state.z))
        for _ in range(5):
            proposal, log_ratio = _trajectory(path, state, 1.0, steps, 10, rng)
            accepted = torch.rand(len(steps), generator=rng, dtype=F64).log() < log_ratio
            state, steps = state.moved(proposal, accepted), torch.where(accepted, steps * 1.3, steps * 0.5)
        return state

    assert float(after(linear_gaussian, moves).abs().max()) > 6


def test_steps_are_frozen(linear_gaussian):
    steps = torch.full((4, 1), 0.4, dtype=F64)
    hmc = HMC(sigmoid(3), steps.clone())
    with pytest.raises(FrozenInstanceError):
        hmc.step_sizes = steps
    rng = seeded(0)
    anneal(path_of(linear_gaussian), linear_gaussian.draws(0.0, 8, rng), sigmoid(3), hmc, rng)
    assert torch.equal(hmc.step_sizes, steps)


def test_momentum_is_fresh_at_every_move(linear_gaussian):
    """Two moves from one state lead to two places."""
    hmc, rng = HMC(torch.tensor([1.0]), torch.tensor([[0.1]], dtype=F64)), seeded(0)
    state = path_of(linear_gaussian).at(linear_gaussian.draws(1.0, 4, rng))
    first, _ = hmc.step(path_of(linear_gaussian), state, 0, rng)
    second, _ = hmc.step(path_of(linear_gaussian), state, 0, rng)
    assert bool((first.z != second.z).all())


def test_a_temperature_costs_its_leapfrog_steps_and_nothing_else(linear_gaussian):
    asked = []

    def counted(z):
        asked.append(len(z))
        return linear_gaussian.log_likelihood(z)

    path, rng = Path(linear_gaussian.log_prior, counted, 2), seeded(0)
    hmc = HMC(sigmoid(20), torch.full((21, 2), 0.2, dtype=F64), leapfrog=7)
    anneal(path, linear_gaussian.draws(0.0, 6, rng), sigmoid(20), hmc, rng)
    assert asked == [6] * (1 + 19 * 7)


def sandwiched(model, steps, repeats=200, chains=16):
    """Bounds with everything as in earnest: a pilot, then forward and reverse runs with noise of their own."""
    temperatures, path = sigmoid(steps), path_of(model, repeats)
    sizes = pilot(path, model.draws(0.0, 4 * repeats, seeded(0)), temperatures, seeded(1))
    hmc = HMC(temperatures, sizes)
    forward = anneal(path, model.draws(0.0, chains * repeats, seeded(2)), temperatures, hmc, seeded(3))
    back = anneal_back(path, model.draws(1.0, repeats, seeded(4)).repeat(chains, 1), temperatures, hmc, seeded(5))
    return forward, back


def test_bounds_close_in_on_the_truth(linear_gaussian):
    forward, back = sandwiched(linear_gaussian, 60)
    for bound, sign in ((lower_bound(forward), -1), (upper_bound(back), 1)):
        error, stderr = float(bound.mean()) - linear_gaussian.log_p, float(bound.std()) / math.sqrt(200)
        assert -4 * stderr < sign * error < 0.15
    assert 0.6 < float(forward.acceptance.mean()) < 0.95
    assert 0.6 < float(back.acceptance.mean()) < 0.95


@pytest.mark.slow
def test_a_thousand_temperatures_and_sixteen_chains_pass_the_gate(linear_gaussian):
    """200 repeats: ``truth - 0.03 <= lower <= truth + 4 SE`` and ``truth - 4 SE <= upper <= truth + 0.03``."""
    forward, back = sandwiched(linear_gaussian, 1000)
    low, high = lower_bound(forward), upper_bound(back)
    below, above = (4 * float(bound.std()) / math.sqrt(200) for bound in (low, high))
    assert -0.03 <= float(low.mean()) - linear_gaussian.log_p <= below
    assert -above <= float(high.mean()) - linear_gaussian.log_p <= 0.03
    assert forward.acceptance.shape == (999, 200)


def cliff(z):
    """A likelihood that is NaN beyond one, and grows towards it without limit in its slope."""
    return torch.where(z[:, 0] > 1, math.nan, -(1 - z[:, 0].clamp_max(1)).sqrt() * 40)


def test_proposals_that_are_not_finite_are_refused():
    rng = seeded(0)
    path = Path(lambda z: -0.5 * z.square().sum(1), cliff, 8)
    z = torch.randn(64, 2, generator=rng).clamp_max(0.9)
    hmc = HMC(sigmoid(30), torch.full((31, 8), 0.5))
    run = anneal(path, z, sigmoid(30), hmc, rng)
    assert bool(run.log_weights.isfinite().all())
    assert 0 < float(run.acceptance.mean()) < 1


def test_a_run_that_diverges_everywhere_says_so():
    rng = seeded(0)
    path = Path(lambda z: -0.5 * z.square().sum(1), lambda z: -1e30 * z.square().sum(1), 4)
    sizes = pilot(path, torch.randn(16, 2, generator=rng), sigmoid(10), rng)
    assert float(sizes.min()) >= 1e-4
    run = anneal(path, torch.randn(64, 2, generator=rng), sigmoid(10), HMC(sigmoid(10), sizes), rng)
    assert "diverged" in run.refusal
    assert not bool(run.log_weights.isnan().any())


def test_the_pilot_finds_a_step_for_each_example():
    """Two examples whose posteriors differ in width by a factor of ten: one step cannot serve both."""
    precision = torch.tensor([30.0, 3000.0], dtype=F64)

    def log_likelihood(z):
        return -0.5 * (z.view(-1, 2, 3).square().sum(2) * precision).flatten()

    path, temperatures = Path(lambda z: -0.5 * z.square().sum(1), log_likelihood, 2), sigmoid(100)
    start = torch.randn(8, 3, generator=seeded(0), dtype=F64)
    sizes = pilot(path, start, temperatures, seeded(1))
    assert sizes.shape == (101, 2)
    assert float(sizes.min()) >= 1e-4 and float(sizes.max()) <= 0.5
    assert 5 < float(sizes[-1, 0] / sizes[-1, 1]) < 20
    assert bool((sizes[-1] < sizes[10]).all())
    run = anneal(path, torch.randn(128, 3, generator=seeded(2), dtype=F64), temperatures, HMC(temperatures, sizes),
                 seeded(3))  # fmt: skip
    late = run.acceptance[50:].mean(0)
    assert bool(((late > 0.5) & (late < 0.85)).all())


def test_runs_repeat_by_their_generators(linear_gaussian):
    first, again = (sandwiched(linear_gaussian, 5, 3, 2)[0].log_weights for _ in range(2))
    assert torch.equal(first, again)
