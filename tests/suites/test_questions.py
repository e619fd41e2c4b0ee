"""Importance weights and annealing paths, as they are asked of models."""

import math

import pytest
import torch
from torch.distributions import Distribution, Independent, Normal
from torchstone_extension import honest

from torchstone.models import Continuous, LatentVariable, ModelError, Space
from torchstone.models.randomness import draw
from torchstone.suites.context import Context
from torchstone.suites.metrics.annealing import anneal, lower_bound, sigmoid
from torchstone.suites.metrics.bounds import Ladder, importance_weighted_bound
from torchstone.suites.metrics.hmc import HMC, pilot
from torchstone.suites.questions import (
    ROWS_PER_EXAMPLE,
    SAMPLES_PER_DRAW,
    ask_importance_weighted,
    ask_path,
    ask_weights,
    unvalidated,
    validated,
)

F64 = torch.float64
TRUTH = -1.871671087258755  # of honest.GaussianVAE at x = 1.5


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def asked(model, x, samples, batch_size=256, seed=0, y=None):
    pieces = list(ask_weights(model, x, y, samples, seeded(seed), Context(batch_size=batch_size)))
    return torch.cat([p.reconstruction for p in pieces]), torch.cat([p.rate for p in pieces])


class Watched(LatentVariable):
    """Keeps what it was asked; x = z + noise in each of two dimensions."""

    def __init__(self, most=10**9):
        self.space = Space((2,), Continuous(-math.inf, math.inf))
        self.rows, self.most = [], most

    def prior(self, y=None):
        return Independent(Normal(torch.zeros(2, dtype=F64), 1.0), 1)

    def posterior(self, x, y=None):
        return Independent(Normal(x / 2, math.sqrt(0.5)), 1)

    def likelihood(self, z, y=None):
        if len(z) > self.most:
            raise MemoryError("out of memory")
        self.rows.append((len(z), Distribution._validate_args))
        return Independent(Normal(z + (0.0 if y is None else y[:, None].double()), 1.0), 1)


@pytest.mark.parametrize("batch_size", [1, 3, 256])
@pytest.mark.parametrize("samples", [1, 250, 600])
def test_weights_are_those_of_a_plain_loop_whatever_the_batch(samples, batch_size):
    x, y = torch.randn(7, 2, generator=seeded(1), dtype=F64), torch.arange(7)
    model = Watched()
    reconstruction, rate = asked(model, x, samples, batch_size, y=y)
    posterior, rng = model.posterior(x), seeded(0)
    for first in range(0, samples, SAMPLES_PER_DRAW):
        for k, z in enumerate(draw(posterior, rng, (min(SAMPLES_PER_DRAW, samples - first),)), first):
            torch.testing.assert_close(reconstruction[k], Independent(Normal(z + y[:, None], 1.0), 1).log_prob(x))
            torch.testing.assert_close(rate[k], posterior.log_prob(z) - model.prior().log_prob(z))
    assert reconstruction.shape == rate.shape == (samples, 7)
    assert max(rows for rows, _ in model.rows) <= ROWS_PER_EXAMPLE * batch_size


def test_an_exact_posterior_gives_every_draw_the_same_weight():
    x = torch.randn(5, 2, generator=seeded(1), dtype=F64)
    reconstruction, rate = asked(Watched(), x, 60)
    truth = Normal(0.0, math.sqrt(2)).log_prob(x).sum(1)
    torch.testing.assert_close(reconstruction - rate, truth.expand(60, 5), rtol=1e-6, atol=1e-6)


def test_a_ladder_of_weights_closes_in_on_the_truth():
    x = torch.full((400, 1), 1.5, dtype=F64)
    ladder = Ladder(400, (1, 10, 100))
    for weights in ask_weights(honest.GaussianVAE(), x, None, 200, seeded(0), Context()):
        ladder.add(weights.log)
    known = {1: -1.974039886863, 10: -1.878051071229, 100: -1.872287113109}
    for rung in ladder.climb():
        assert abs(float(rung.bound.mean()) - known[rung.samples]) < 4 * float(rung.bound.std()) / 20


def test_the_bound_is_that_of_the_weights():
    x = torch.full((4, 1), 1.5, dtype=F64)
    reconstruction, rate = asked(honest.GaussianVAE(), x, 130)
    bound = ask_importance_weighted(honest.GaussianVAE(), x, None, 130, seeded(0), Context())
    torch.testing.assert_close(bound, importance_weighted_bound(reconstruction - rate), rtol=1e-12, atol=0)


def test_rows_are_halved_where_memory_runs_out_down_to_one():
    x = torch.randn(3, 2, generator=seeded(1), dtype=F64)
    whole, _ = asked(Watched(), x, 60)
    for most in (100, 5, 1):
        context, model = Context(batch_size=4), Watched(most)
        pieces = list(ask_weights(model, x, None, 60, seeded(0), context))
        torch.testing.assert_close(torch.cat([p.reconstruction for p in pieces]), whole)
        assert (context.halvings > 0) == (most < 4 * ROWS_PER_EXAMPLE)
    with pytest.raises(MemoryError):
        asked(Watched(0), x, 2)


def test_distributions_are_checked_once_where_they_are_checked():
    x = torch.randn(3, 2, generator=seeded(1), dtype=F64)
    model = Watched()
    with validated():
        asked(model, x, 3 * SAMPLES_PER_DRAW)
        assert Distribution._validate_args
    assert [checks for _, checks in model.rows] == [True, False, False]


def test_checks_are_off_within_a_block_and_back_after_it():
    before = Distribution._validate_args
    with unvalidated():
        assert bool(Normal(torch.zeros(1), -torch.ones(1)).log_prob(torch.tensor([math.nan])).isnan())
    assert Distribution._validate_args == before
    with pytest.raises(RuntimeError), unvalidated():
        raise RuntimeError("whatever happens")
    assert Distribution._validate_args == before


@pytest.mark.parametrize(("n", "samples"), [(50, 500), (50, 1000), (200, 500)])
def test_no_question_grows_with_samples_or_examples(n, samples):
    model = Watched()
    x = torch.zeros(n, 2, dtype=F64)
    pieces = [w.log.shape for w in ask_weights(model, x, None, samples, seeded(0), Context(batch_size=16))]
    assert set(pieces) == {(SAMPLES_PER_DRAW, n)} and max(rows for rows, _ in model.rows) == 16 * ROWS_PER_EXAMPLE


def test_annealing_a_model_reaches_its_known_density():
    x = torch.full((100, 1), 1.5, dtype=F64)
    model, temperatures = honest.GaussianVAE(), sigmoid(60)
    prior = model.prior()
    with unvalidated():
        sizes = pilot(ask_path(model, x, None, 4), draw(prior, seeded(0), (400,)), temperatures, seeded(1))
        path = ask_path(model, x, None, 8)
        run = anneal(path, draw(prior, seeded(2), (800,)), temperatures, HMC(temperatures, sizes), seeded(3))
    bound = lower_bound(run)
    assert -0.02 < float(bound.mean()) - TRUTH < 4 * float(bound.std()) / 10


def test_rows_of_a_path_belong_to_their_examples_and_labels():
    """Two chains of three labelled examples: p(z|y) = N(y, 1), p(x|z) = N(z, 1)."""
    model = honest.LabelledNormal(Space((1,), Continuous(-math.inf, math.inf), 5))
    x, y = torch.tensor([[0.0], [1.0], [2.0]], dtype=F64), torch.tensor([4, 0, 2])
    z = torch.randn(6, 1, generator=seeded(0), dtype=F64)
    state = ask_path(model, x, y, 2).at(z)
    torch.testing.assert_close(state.log_prior, Normal(y.repeat(2).double(), 1.0).log_prob(z[:, 0]))
    torch.testing.assert_close(state.log_likelihood, Normal(z[:, 0], 1.0).log_prob(x.repeat(2, 1)[:, 0]))


def test_latents_without_gradient_are_named():
    class Blind(Watched):
        def likelihood(self, z, y=None):
            return super().likelihood(z.detach(), y)

    with pytest.raises(ModelError, match="log-density of the likelihood has no gradient"):
        ask_path(Blind(), torch.zeros(2, 2, dtype=F64), None, 1).at(torch.zeros(2, 2, dtype=F64))
