"""Annealed importance sampling, forward and back."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch.distributions import Categorical, Independent, Normal

from torchstone.models import ModelError
from torchstone.suites.metrics.annealing import (
    Annealed,
    Path,
    State,
    Transition,
    anneal,
    anneal_back,
    chain_variance,
    linear,
    lower_bound,
    sigmoid,
    upper_bound,
)
from torchstone.suites.metrics.bounds import importance_weighted_bound

F64 = torch.float64
# E lower, E upper of one chain whose every transition is an independent exact draw
PERFECT = {
    (linear, 1): (-10.117374057934, -2.081326054442),
    (linear, 10): (-4.003825584735, -3.200220784386),
    (linear, 100): (-3.586670808611, -3.506310328576),
    (linear, 1000): (-3.549923444882, -3.541887396878),
    (sigmoid, 10): (-3.975200342573, -3.205647138152),
    (sigmoid, 100): (-3.584730827792, -3.507968167999),
    (sigmoid, 1000): (-3.549742037383, -3.542065976384),
}
CASES = pytest.mark.parametrize(("schedule", "steps"), PERFECT)


@dataclass(frozen=True)
class Perfect(Transition):
    """Forgets where it was: an exact draw at each temperature."""

    model: object
    temperatures: torch.Tensor

    def step(self, path, state, k, rng):
        z = self.model.draws(float(self.temperatures[k]), len(state.z), rng)
        return path.at(z), torch.ones(len(z), dtype=torch.bool)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def path_of(model, examples):
    return Path(model.log_prior, model.log_likelihood, examples)


def both(model, schedule, steps, chains, examples, seed=0):
    """Forward and reverse runs of perfect transitions, with noise of their own."""
    temperatures = schedule(steps)
    path, transition = path_of(model, examples), Perfect(model, temperatures)
    rng, other = seeded(seed), seeded(seed + 1)
    forward = anneal(path, model.draws(0.0, chains * examples, rng), temperatures, transition, rng)
    back = anneal_back(path, model.draws(1.0, chains * examples, other), temperatures, transition, other)
    return forward, back


@CASES
def test_schedules_have_the_known_thermodynamic_sums(linear_gaussian, schedule, steps):
    """``sum_k (t_k - t_{k-1}) E_t ln p(x|z)`` at either end of each interval, in closed form."""
    t = schedule(steps)
    exact = torch.tensor(
        [linear_gaussian.expected_log_likelihood(*linear_gaussian.tempered(float(at))) for at in t], dtype=F64
    )
    sums = float(t.diff() @ exact[:-1]), float(t.diff() @ exact[1:])
    assert sums == pytest.approx(PERFECT[schedule, steps], rel=1e-9)


@CASES
def test_perfect_transitions_give_the_known_expectations(linear_gaussian, schedule, steps):
    chains = 200 if steps == 1000 else 4000
    forward, back = both(linear_gaussian, schedule, steps, 1, chains)
    for found, known in zip((forward.log_weights, -back.log_weights), PERFECT[schedule, steps], strict=True):
        assert abs(float(found.mean()) - known) < 4 * float(found.std()) / math.sqrt(chains)


def test_several_chains_lie_between_one_chain_and_the_truth(linear_gaussian):
    forward, back = both(linear_gaussian, sigmoid, 10, 16, 2000)
    low, high = lower_bound(forward), upper_bound(back)
    below, above = PERFECT[sigmoid, 10]
    allowed = 4 / math.sqrt(2000)
    assert below < float(low.mean()) <= linear_gaussian.log_p + allowed * float(low.std())
    assert above > float(high.mean()) >= linear_gaussian.log_p - allowed * float(high.std())
    assert float(high.mean()) > float(low.mean())


def test_weights_are_unbiased(linear_gaussian):
    """``E w = p(x)`` forward and ``1 / p(x)`` back, whatever the number of temperatures."""
    forward, back = both(linear_gaussian, sigmoid, 20, 1, 4000)
    for log_w, known in ((forward.log_weights, linear_gaussian.log_p), (back.log_weights, -linear_gaussian.log_p)):
        ratio = (log_w - known).exp()
        assert abs(float(ratio.mean()) - 1) < 4 * float(ratio.std()) / math.sqrt(4000)


def test_the_upper_bound_averages_weights_and_not_their_inverses(linear_gaussian):
    """The mutant averages ``1 / w``, which bounds too and far more loosely."""
    _, back = both(linear_gaussian, linear, 10, 16, 500)
    loose = importance_weighted_bound(-back.log_weights)
    assert bool((loose >= upper_bound(back)).all()) and float((loose - upper_bound(back)).mean()) > 0.3


def test_chains_are_averaged_within_an_example():
    """The mutant takes the logarithm after averaging over examples as well, so that one example hides another."""
    log_weights = torch.tensor([[-1.0, -50.0], [-2.0, -51.0]], dtype=F64)
    run = Annealed(log_weights, torch.ones(3, 2))
    each = math.log((1 + math.exp(-1)) / 2)
    assert lower_bound(run).tolist() == pytest.approx([-1 + each, -50 + each], rel=1e-12)
    assert upper_bound(run).tolist() == pytest.approx([1 - each, 50 - each], rel=1e-12)
    batch_wide = float(importance_weighted_bound(log_weights.flatten()))
    assert abs(float(lower_bound(run).mean()) - batch_wide) > 20


def test_the_variance_of_chains_is_as_large_as_their_errors(linear_gaussian):
    """Over 200 seeds."""
    forward, _ = both(linear_gaussian, sigmoid, 200, 64, 200)
    z = (lower_bound(forward) - linear_gaussian.log_p) / chain_variance(forward).sqrt()
    assert 0.85 <= float(z.std()) <= 1.15
    assert bool(chain_variance(both(linear_gaussian, sigmoid, 3, 1, 4)[0]).isnan().all())


def test_the_prior_of_the_path_is_the_models_own():
    """p(z) = N(2, 1/4), p(x|z) = N(z, 1/2), x = 0; the mutant takes N(0, 1) for the prior at t = 0."""
    own = Independent(Normal(torch.tensor([2.0], dtype=F64), 0.5), 1)
    standard = Independent(Normal(torch.tensor([0.0], dtype=F64), 1.0), 1)
    truth = float(Normal(2.0, math.sqrt(0.75)).log_prob(torch.tensor(0.0, dtype=F64)))

    def estimate(prior):
        rng, temperatures = seeded(3), linear(1)
        path = Path(prior.log_prob, lambda z: Normal(z[:, 0], math.sqrt(0.5)).log_prob(torch.zeros((), dtype=F64)), 200)
        z = prior.mean + prior.stddev * torch.randn(200 * 200, 1, generator=rng, dtype=F64)
        bound = lower_bound(anneal(path, z, temperatures, Perfect(None, temperatures), rng))
        return float(bound.mean()) - truth, float(bound.std()) / math.sqrt(200)

    error, stderr = estimate(own)
    assert -0.1 < error < 4 * stderr
    error, stderr = estimate(standard)
    assert abs(error) > 0.5 > 4 * stderr


def test_nothing_of_a_refused_row_gets_through():
    """The mutant blends by ``accept * new + (1 - accept) * old``, in which NaN times zero is NaN."""
    old = State(*(torch.ones(3, 2) if i in (0, 3, 4) else torch.ones(3) for i in range(5)))
    new = State(*(torch.full_like(part, math.nan) for part in (
        old.z, old.log_prior, old.log_likelihood, old.prior_gradient, old.likelihood_gradient)))  # fmt: skip
    accepted = torch.tensor([False, False, True])
    moved = old.moved(new, accepted)
    for part in (moved.z, moved.log_prior, moved.log_likelihood, moved.prior_gradient, moved.likelihood_gradient):
        assert bool((part[:2] == 1).all()) and bool(part[2].isnan().all())
    keep = accepted.double()[:, None]
    assert bool((keep * new.z + (1 - keep) * old.z)[:2].isnan().any())


def test_gradients_are_those_of_the_densities(linear_gaussian):
    z = linear_gaussian.draws(0.3, 5, seeded(0))
    path = path_of(linear_gaussian, 5)
    state = path.at(z)
    torch.testing.assert_close(state.prior_gradient, -z)
    residual = linear_gaussian.x - linear_gaussian.b - z @ linear_gaussian.w.T
    torch.testing.assert_close(state.likelihood_gradient, 4 * residual @ linear_gaussian.w)
    torch.testing.assert_close(path.force(z, 0.7), -z + 0.7 * state.likelihood_gradient)
    assert not state.log_likelihood.requires_grad and not state.z.requires_grad


def test_weights_are_added_up_in_float64(linear_gaussian):
    """A thousand steps of float32 would round away more than the difference between examples."""
    single = linear_gaussian.draws(0.0, 4, seeded(0)).float()
    path = Path(
        lambda z: -0.5 * z.square().sum(1), lambda z: -20000.25 + linear_gaussian.log_likelihood(z.double()).float(), 4
    )

    @dataclass(frozen=True)
    class Still(Transition):
        def step(self, path, state, k, rng):
            return state, torch.zeros(len(state.z), dtype=torch.bool)

    run = anneal(path, single, sigmoid(1000), Still(), seeded(0))
    torch.testing.assert_close(run.log_weights[0], path.at(single).log_likelihood, rtol=1e-12, atol=0)
    assert run.log_weights.dtype == F64
    assert "no move was accepted" in run.refusal


def test_a_run_says_how_often_chains_moved_at_each_temperature(linear_gaussian):
    forward, back = both(linear_gaussian, linear, 5, 3, 2)
    assert forward.log_weights.shape == (3, 2)
    assert forward.acceptance.tolist() == back.acceptance.tolist() == [[1.0, 1.0]] * 4
    assert forward.refusal is None
    assert both(linear_gaussian, linear, 1, 3, 2)[0].refusal is None


def test_schedules_run_from_zero_to_one():
    for schedule in (linear, sigmoid):
        t = schedule(37)
        assert t.shape == (38,) and t.dtype == F64 and float(t[0]) == 0.0 and float(t[-1]) == 1.0
        assert bool((t.diff() > 0).all())
        torch.testing.assert_close(t, 1 - t.flip(0))
        with pytest.raises(ValueError, match="at least one interval"):
            schedule(0)
    with pytest.raises(ValueError, match="radius"):
        sigmoid(10, radius=0.0)


def discrete(z):
    return Independent(Categorical(logits=torch.zeros(2, 3)), 1).log_prob(z.detach().long().clamp(0, 2))


@pytest.mark.parametrize(
    "prior", [discrete, lambda z: torch.zeros(len(z)), lambda z: torch.nn.Linear(2, 1)(z.detach())[:, 0]]
)
def test_a_prior_without_gradient_is_named(prior):
    path = Path(prior, lambda z: -z.square().sum(1), 4)
    with pytest.raises(ModelError, match="log-density of the prior has no gradient"):
        path.at(torch.zeros(4, 2))


def test_densities_left_apart_by_dimension_are_named():
    path = Path(lambda z: -z.square().sum(1), lambda z: -z.square(), 4)
    with pytest.raises(ModelError, match=r"likelihood gives log-densities of shape \(4, 2\)"):
        path.at(torch.zeros(4, 2))
