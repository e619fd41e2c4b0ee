"""Evidence: how often honest densities are accused, and dishonest ones found out."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import logsigmoid

from torchstone.suites.data.synthetic import Bernoulli, bernoulli
from torchstone.suites.metrics.evidence import average, log_bet, log_e_value, monte_carlo_p_value, p_value, worth

STATES = torch.tensor(list(itertools.product((0, 1), repeat=4)))
TRUTH = bernoulli().source.log_prob(STATES)
SETS = 2000


def drawn(n, seed=0):
    """``(SETS, n)`` states of the four bits."""
    rng = torch.Generator().manual_seed(seed)
    return torch.multinomial(TRUTH.exp(), SETS * n, replacement=True, generator=rng).view(SETS, n)


def conditional_log_probs(weights, bias=Bernoulli.bias):
    return logsigmoid((2 * STATES - 1) * (bias + STATES.double() @ weights.T)).sum(1)


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.01])
@pytest.mark.parametrize("honest", ["another density", "a lower bound", "a hole"])
def test_honest_densities_are_accused_no_more_often_than_stated(alpha, honest):
    """Over 2,000 sets of 50 draws, within four standard errors of the level, and by bets as well."""
    p = conditional_log_probs(Bernoulli.weight, Bernoulli.bias + 0.15)
    if honest == "a lower bound":
        p = p - 0.01
    if honest == "a hole":
        p = torch.where(STATES.sum(1) == 4, -math.inf, p)
        p = p - p.logsumexp(0)
    index = drawn(50)
    allowed = alpha + 4 * math.sqrt(alpha * (1 - alpha) / SETS)
    for evidence in (log_e_value, log_bet):
        found = [p_value(evidence(p[row], TRUTH[row])) for row in index]
        assert sum(value <= alpha for value in found) / SETS <= allowed


def test_a_mean_and_its_standard_error_would_accuse_an_honest_model_that_has_a_hole():
    """The test that this one replaces: it fails an honest model whose hole its draws have not met."""
    p = torch.where(STATES.sum(1) == 4, TRUTH - 6.0, TRUTH)
    p = p - p.logsumexp(0)
    index = drawn(20)
    gain = (p - TRUTH)[index]
    naive = (gain.mean(1) > 3.3 * gain.std(1) / math.sqrt(20)).double().mean()
    evidence = torch.tensor([log_e_value(p[row], TRUTH[row]) for row in index])
    assert float(naive) > 0.1 and float((evidence > math.log(1000)).double().mean()) <= 0.001 + 4 * 0.0007


def test_the_peeking_mask_fails_nineteen_times_in_twenty():
    """Four bits whose masks are symmetric, on 200 draws of the truth, at level 0.001; a mean below the entropy by 3.3
    standard errors is seen once in twenty times.
    """
    peeking = conditional_log_probs(Bernoulli.weight + Bernoulli.weight.T)
    assert float(peeking.exp().sum()) == pytest.approx(1.188522739680, rel=1e-9)
    statistic = (peeking - TRUTH)[drawn(200)].sum(1)
    power = float((statistic > math.log(1000)).double().mean())
    assert power == pytest.approx(0.95, abs=0.03)
    fake, entropy = -peeking[drawn(200)], bernoulli().source.entropy
    below = entropy - fake.mean(1) > 3.3 * fake.std(1) / math.sqrt(200)
    assert float(below.double().mean()) == pytest.approx(0.06, abs=0.03)


def test_a_bet_survives_what_ruins_a_product():
    """Half of the draws have no density and the other half three times too much."""
    p, r = torch.tensor([-math.inf, math.log(3.0)] * 500), torch.zeros(1000)
    assert log_e_value(p, r) == -math.inf
    assert p_value(log_bet(p, r)) < 1e-6


def test_evidence_adds_over_draws_and_averages_over_references():
    p, r = torch.tensor([0.5, -1.0]), torch.tensor([0.0, -2.0])
    assert log_e_value(p, r) == pytest.approx(1.5, rel=1e-12)
    assert log_bet(p, r, (1.0,)) == pytest.approx(1.5, rel=1e-12)
    known = math.log((1 + math.exp(0.5)) / 2) + math.log((1 + math.e) / 2)
    assert log_bet(p, r, (0.5,)) == pytest.approx(known, rel=1e-12)
    assert average([0.0, math.log(3.0)]) == pytest.approx(math.log(2.0), rel=1e-12)
    assert average([-math.inf, 0.0]) == pytest.approx(-math.log(2.0), rel=1e-12)


def test_what_is_no_number_is_worth_nothing():
    assert worth(torch.tensor([math.nan, math.inf, -math.inf, 1.0])).tolist() == [-math.inf] * 3 + [1.0]
    assert p_value(log_e_value(torch.tensor([math.inf, 1.0]), torch.zeros(2))) == 1.0
    assert p_value(-math.inf) == 1.0 and p_value(math.inf) == 0.0


@pytest.mark.parametrize("call", [log_e_value, log_bet])
def test_nothing_is_not_averaged(call):
    if call is log_e_value:
        with pytest.raises(ValueError, match="same draws"):
            call(torch.zeros(0), torch.zeros(0))
    with pytest.raises(ValueError, match="at least one"):
        average([])


def test_simulated_p_values_hold_their_level_and_are_uniform_where_it_matters():
    rng = torch.Generator().manual_seed(1)
    observed = torch.rand(SETS, generator=rng, dtype=torch.double)
    found = torch.tensor(
        [
            monte_carlo_p_value(
                float(value), lambda n: torch.rand(n, generator=rng, dtype=torch.double), most=999, size=100
            )
            for value in observed
        ]
    )
    for level in (0.01, 0.05, 0.3):
        rate = float((found <= level).double().mean())
        assert abs(rate - level) < 4 * math.sqrt(level * (1 - level) / SETS) + 0.002
    assert float((found - (1 - observed)).abs().mean()) < 0.1


def test_a_plausible_statistic_costs_few_draws_and_an_impossible_one_all():
    asked = []

    def simulate(n):
        asked.append(n)
        return torch.zeros(n)

    assert monte_carlo_p_value(0.0, simulate, size=50) == 1.0
    assert sum(asked) == 50
    asked.clear()
    assert monte_carlo_p_value(1.0, simulate, most=999, size=100) == pytest.approx(1 / 1000)
    assert sum(asked) == 999
    assert monte_carlo_p_value(math.nan, simulate, most=99) == pytest.approx(1 / 100)
