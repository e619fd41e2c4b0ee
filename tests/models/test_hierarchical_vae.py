from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from torchstone.harness.identity import state_digest
from torchstone.models import Budget, Continuous, Discrete, ModelError, Space, family
from torchstone.models.approximate.hierarchical_vae import HierarchicalVAE
from torchstone.models.checks import check_model
from torchstone.models.randomness import draw, generator

SPACE = Space((2, 2), Discrete(5), classes=2)
GRID = 200  # quantiles of each Gaussian


def build(space: Space = SPACE, conditional: bool = False) -> HierarchicalVAE:
    return HierarchicalVAE(space, upper=2, lower=3, width=8, batch=8, conditional=conditional)


def ask(model: HierarchicalVAE, y: torch.Tensor | None) -> object:
    model.prior(y)
    return model.likelihood(model.posterior(torch.zeros((1, 2, 2), dtype=torch.long), y).sample(), y)


def tiny() -> HierarchicalVAE:
    """The tiny model, its latents made to matter, and its posterior wide enough for weights of a finite variance."""
    model = HierarchicalVAE.tiny().double()
    with torch.no_grad():
        for part in (model.upper_write, model.lower_prior, model.lower_write, model.decoder, model.head.logits):
            for parameter in part.parameters():
                parameter.mul_(2)
        for encoder in (model.upper_encoder, model.lower_encoder):
            encoder[1][2].bias[1] += 1.5
    return model


@torch.no_grad()
def exact(model: HierarchicalVAE, every: torch.Tensor) -> torch.Tensor:
    """log p(x): z_1 and then z_2 given z_1 over midpoint quantiles of their Gaussians."""
    e = Normal(0.0, 1.0).icdf((torch.arange(GRID, dtype=torch.double) + 0.5) / GRID)
    lower = model.prior().lower(e[:, None]).base_dist
    z = torch.stack([e[:, None].expand(GRID, GRID), lower.mean + lower.stddev * e], -1).flatten(0, 1)
    logits = model.likelihood(z).base_dist.logits
    return logits[:, torch.arange(3), every].sum(-1).logsumexp(0) - math.log(GRID * GRID)


def bounds(model: HierarchicalVAE, x: torch.Tensor, draws: int) -> torch.Tensor:
    """``(draws, N)`` bounds of one draw each."""
    elbo = model.elbo(x.repeat(draws, *[1] * (x.ndim - 1)), rng=generator(0, "elbo"))
    return (elbo.reconstruction - elbo.rate).detach().view(draws, -1)


def test_keeps_the_contract():
    assert "prior, posterior and likelihood cover whole events" in check_model(build(conditional=True))
    check_model(build())
    assert family(build()) == "explicit-approximate"


def test_shapes():
    plain, labelled, x = build(), build(conditional=True), torch.zeros((4, 2, 2), dtype=torch.long)
    y = torch.tensor([0, 1, 0, 1])
    assert (plain.prior().batch_shape, plain.prior().event_shape) == ((), (5,))
    assert plain.prior(y).batch_shape == ()
    assert (labelled.prior(y).batch_shape, labelled.posterior(x, y).batch_shape) == ((4,), (4,))
    z = draw(labelled.posterior(x, y), generator(0, "z"), (6,))
    assert labelled.prior(y).log_prob(z).shape == labelled.posterior(x, y).log_prob(z).shape == (6, 4)


def test_importance_weights_average_to_the_probability(enumerate_states):
    """E_q[p(x, z) / q(z | x)] = p(x): prior, posterior and likelihood fit together, and draws fit their density."""
    model = tiny()
    every = enumerate_states(model.space)
    log_p = exact(model, every)
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-9)
    ratios = (bounds(model, every, 4000) - log_p).exp()
    assert ((ratios.mean(0) - 1).abs() < 4 * ratios.std(0) / math.sqrt(4000) + 1e-3).all()


def test_the_bound_is_below_the_probability(enumerate_states):
    model = tiny()
    every = enumerate_states(model.space)
    found = bounds(model, every, 2000)
    assert (found.mean(0) - 4 * found.std(0) / math.sqrt(2000) < exact(model, every)).all()
    assert found.mean(0).exp().sum() < 1


def test_a_rate_of_one_level_alone_is_no_bound(enumerate_states):
    """Leaving the lower level out of the rate gives more than all the probability there is."""
    model = tiny()
    every = enumerate_states(model.space).repeat(500, 1)
    posterior, prior = model.posterior(every), model.prior()
    z = draw(posterior, generator(0, "z"))
    forgotten = posterior.lower(z[:, :1]).log_prob(z[:, 1:]) - prior.lower(z[:, :1]).log_prob(z[:, 1:])
    rate = posterior.log_prob(z) - prior.log_prob(z)
    upper = posterior.upper.log_prob(z[:, :1]) - prior.upper.log_prob(z[:, :1])
    assert (rate - forgotten).allclose(upper)
    assert forgotten.detach().view(500, -1).mean(0).min() > 0


def test_samples_follow_the_probabilities(enumerate_states):
    from scipy.stats import chi2

    model, n = tiny(), 20000
    x = model.sample(n, rng=generator(0, "sample"))
    expected = n * exact(model, enumerate_states(model.space)).exp()
    observed = torch.bincount((x * torch.tensor([9, 3, 1])).sum(1), minlength=27)
    statistic = float(((observed - expected) ** 2 / expected).sum())
    assert expected.min() > 5 and statistic < chi2.isf(1e-4, 26)


def test_gradients(check_gradients):
    model, x, y = build(conditional=True), torch.arange(8).view(2, 2, 2) % 5, torch.tensor([0, 1])
    posterior = model.posterior(x, y)
    z = posterior.rsample()
    check_gradients(
        model, (posterior.log_prob(z) - model.prior(y).log_prob(z) - model.likelihood(z, y).log_prob(x)).sum()
    )


def test_a_draw_in_training_is_measured_by_the_density_it_came_from():
    """Dropout between the two would show as a log-ratio of draw and density that varies with the mask."""
    model = HierarchicalVAE(SPACE, upper=2, lower=3, width=8, dropout=0.5).train()
    posterior = model.posterior(torch.zeros((3, 2, 2), dtype=torch.long))
    z = posterior.rsample()
    assert torch.equal(posterior.log_prob(z), posterior.log_prob(z))


def test_fit_is_deterministic_and_kept(check_fit, make_split):
    train = make_split(SPACE, 50)
    x, y = train.batch(0, 5)

    def answer(model: HierarchicalVAE) -> torch.Tensor:
        z = torch.linspace(-1, 1, 25).view(5, 5).to(model.read.weight)
        return model.likelihood(z, y).log_prob(x) + model.prior(y).log_prob(z) - model.posterior(x, y).log_prob(z)

    check_fit(lambda: build(conditional=True), answer, train)


def test_training_raises_the_bound(make_split):
    train = make_split(SPACE, 200)
    x, _ = train.batch(0, 200)
    model = build()
    before, seen = bounds(model, x, 1).mean(), []
    model.fit(train, train, Budget(200, lambda done, total: seen.append((done, total))), rng=generator(0, "fit"))
    assert bounds(model, x, 1).mean() > before + 0.5
    assert seen == [(step + 1, 200) for step in range(len(seen))]


def test_conditional(check_conditional):
    check_conditional(build, ask, SPACE)


def test_every_conditional_but_the_first_hears_of_the_label():
    model, z, x = build(conditional=True), torch.zeros(2, 5), torch.zeros((2, 2, 2), dtype=torch.long)
    y = torch.tensor([0, 1])
    for answer in (model.prior(y).log_prob(z), model.posterior(x, y).log_prob(z), model.likelihood(z, y).log_prob(x)):
        assert answer[0] != answer[1]
    assert torch.equal(*model.prior(y).upper.log_prob(z[:, :2]))


def test_refuses_continuous_data():
    with pytest.raises(ModelError, match="hierarchical_vae applies to discrete data"):
        build(Space((2,), Continuous()))


def test_has_a_digest_of_its_state():
    assert state_digest(HierarchicalVAE.tiny()) == state_digest(HierarchicalVAE.tiny()) is not None
