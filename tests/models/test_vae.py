from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from torchstone.harness.identity import state_digest
from torchstone.models import Budget, Continuous, Discrete, ModelError, Space
from torchstone.models.approximate.vae import VAE, vae
from torchstone.models.checks import check_model
from torchstone.models.randomness import draw, generator

SPACE = Space((2, 2), Discrete(5), classes=2)


def build(
    space: Space = SPACE,
    conditional: bool = False,
    decoder: str = "categorical",
    prior: str = "gaussian",
    beta: float = 1,
) -> VAE:
    return vae(space, decoder=decoder, latents=2, width=8, batch=8, conditional=conditional, prior=prior, beta=beta)


def ask(model: VAE, y: torch.Tensor | None) -> object:
    model.posterior(torch.zeros((1, 2, 2), dtype=torch.long), y)
    return model.likelihood(torch.zeros(1, 2), y)


def test_distributions_cover_the_event():
    model = build()
    assert (model.prior().batch_shape, model.prior().event_shape) == ((), (2,))
    x = torch.zeros((3, 2, 2), dtype=torch.long)
    posterior, likelihood = model.posterior(x), model.likelihood(torch.zeros(3, 2))
    assert (posterior.batch_shape, posterior.event_shape) == ((3,), (2,))
    assert (likelihood.batch_shape, likelihood.event_shape) == ((3,), (2, 2))
    assert isinstance(likelihood, Independent) and isinstance(likelihood.base_dist, Categorical)
    gaussian = build(decoder="gaussian").likelihood(torch.zeros(3, 2))
    assert isinstance(gaussian, Independent) and isinstance(gaussian.base_dist, Normal)


def test_the_bound_is_below_the_sum_over_states(enumerate_states):
    """The tiny model has 27 states, and p(x) is the mean of p(x|z) over a grid of prior quantiles."""
    model = VAE.tiny().double()
    every = enumerate_states(model.space)
    quantiles = (torch.arange(100, dtype=torch.double) + 0.5) / 100
    axis = Normal(0.0, 1.0).icdf(quantiles)
    with torch.no_grad():
        logits = model.likelihood(torch.cartesian_prod(axis, axis)).base_dist.logits
        log_p = logits[:, torch.arange(3), every].sum(-1).logsumexp(0) - math.log(10000)
        bounds = torch.stack([_bound(model, every, seed) for seed in range(400)])
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-9)
    assert (bounds.mean(0) - 4 * bounds.std(0) / 20 < log_p).all()


def _bound(model: VAE, x: torch.Tensor, seed: int) -> torch.Tensor:
    elbo = model.elbo(x, rng=generator(seed, "elbo"))
    return elbo.reconstruction - elbo.rate


def test_the_rate_is_the_divergence_from_the_prior():
    model = build().double()
    x = torch.zeros((4000, 2, 2), dtype=torch.long)
    rate = model.elbo(x, rng=generator(0, "elbo")).rate.detach()
    exact = kl_divergence(model.posterior(x[:1]), model.prior()).item()
    assert abs(float(rate.mean()) - exact) < 4 * float(rate.std()) / math.sqrt(4000)


@pytest.mark.parametrize("decoder", ["categorical", "gaussian"])
def test_gradients(check_gradients, decoder):
    model = build(conditional=True, decoder=decoder)
    x = torch.arange(8).view(2, 2, 2) % 5
    x = x if decoder == "categorical" else (x + 0.5) / 5
    y = torch.tensor([0, 1])
    posterior = model.posterior(x, y)
    z = posterior.rsample()
    check_gradients(model, (posterior.log_prob(z) - model.likelihood(z, y).log_prob(x)).sum())


@pytest.mark.parametrize("decoder", ["categorical", "gaussian"])
def test_fit_is_deterministic_and_kept(check_fit, make_split, decoder):
    train = make_split(SPACE, 50)
    x, y = train.batch(0, 5)

    def answer(model: VAE) -> torch.Tensor:
        data = x if decoder == "categorical" else ((x + 0.5) / 5).to(model.write.weight)
        return model.likelihood(model.posterior(data, y).mean, y).log_prob(data)

    check_fit(lambda: build(conditional=True, decoder=decoder), answer, train)


def test_training_raises_the_bound(make_split):
    train = make_split(SPACE, 200)
    x, _ = train.batch(0, 200)
    model = build()
    before = _bound(model, x, 0).mean().item()
    model.fit(train, train, Budget(200), rng=generator(0, "fit"))
    assert _bound(model, x, 0).mean().item() > before + 0.5


def test_conditional(check_conditional):
    check_conditional(build, ask, SPACE)


@pytest.mark.parametrize("decoder", ["categorical", "gaussian"])
def test_samples_lie_in_the_support(decoder):
    model = build(conditional=True, decoder=decoder)
    x = model.sample(50, torch.ones(50, dtype=torch.long), rng=generator(0, "sample"))
    assert x.shape == (50, 2, 2)
    if decoder == "categorical":
        assert x.dtype == torch.int64 and x.min() >= 0 and x.max() <= 4
    else:
        assert x.min() >= 0 and x.max() <= 1 and model.space.support == Continuous(0.0, 1.0)


def test_a_categorical_decoder_refuses_continuous_data():
    with pytest.raises(ModelError, match="applies to discrete data"):
        build(Space((2,), Continuous()))
    assert build(Space((2,), Continuous(-1.0, 1.0)), decoder="gaussian").space.support == Continuous(-1.0, 1.0)


def bent() -> VAE:
    """A model whose prior, a flow, is far from Gaussian."""
    torch.manual_seed(0)
    model = build(prior="flow").double()
    with torch.no_grad():
        for parameter in model.flow.parameters():
            parameter.mul_(1.5)
    return model


def test_a_flow_is_a_density_of_latents():
    """It integrates to one over the plane, by the midpoint rule, and is not the standard Gaussian."""
    axis = -12 + 24 * (torch.arange(600, dtype=torch.double) + 0.5) / 600
    z = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        log_density = bent().prior().log_prob(z)
    assert float(log_density.exp().sum()) * (24 / 600) ** 2 == pytest.approx(1, abs=1e-3)
    gaussian = Independent(Normal(torch.zeros(2, dtype=torch.double), 1.0), 1).log_prob(z)
    assert (log_density - gaussian).abs().max() > 1


def test_draws_of_a_flow_follow_its_density():
    """E_p[r(z) / p(z)] = 1 for any density r, here a narrow Gaussian at the origin."""
    prior = bent().prior()
    z = draw(prior, generator(0, "prior"), (4000,))
    assert z.shape == (4000, 2) and draw(prior, generator(0, "prior")).shape == (2,)
    scale = torch.full((2,), 0.5, dtype=torch.double)
    ratios = (Independent(Normal(0 * scale, scale), 1).log_prob(z) - prior.log_prob(z)).exp().detach()
    assert abs(float(ratios.mean()) - 1) < 4 * float(ratios.std()) / math.sqrt(4000)
    assert float(ratios.std()) < 10


@pytest.mark.parametrize("latents", [1, 2, 5])
def test_a_flow_answers_as_the_contract_says(latents):
    model = vae(SPACE, latents=latents, width=8, prior="flow")
    assert "prior, posterior and likelihood cover whole events" in check_model(model)
    prior, z = model.prior(), torch.randn((3, 4, latents), generator=generator(0, "z"))
    assert (prior.batch_shape, prior.event_shape) == ((), (latents,))
    assert prior.log_prob(z).shape == (3, 4)
    assert prior.log_prob(z)[1].allclose(prior.log_prob(z[1]), atol=1e-5)


def test_a_flow_has_the_gradient_of_its_differences():
    prior = bent().prior()
    z = torch.randn((5, 2), dtype=torch.double, generator=generator(0, "z")).requires_grad_()
    (found,) = torch.autograd.grad(prior.log_prob(z).sum(), z)
    for axis in torch.eye(2, dtype=torch.double):
        slope = (prior.log_prob(z + 1e-5 * axis) - prior.log_prob(z - 1e-5 * axis)) / 2e-5
        assert (found @ axis).allclose(slope, rtol=1e-5, atol=1e-6)


def test_a_flow_is_part_of_the_model(check_gradients):
    model, x = build(prior="flow"), torch.arange(8).view(2, 2, 2) % 5
    assert model.double().prior().log_prob(torch.zeros(2, dtype=torch.double)).dtype == torch.float64
    assert any(name.startswith("flow.") for name in model.state_dict())
    posterior = model.posterior(x)
    z = posterior.rsample()
    check_gradients(model, (posterior.log_prob(z) - model.prior().log_prob(z) - model.likelihood(z).log_prob(x)).sum())


def test_samples_come_from_the_flow():
    """A flow that is moved far away moves the samples."""
    torch.manual_seed(0)
    model = build(prior="flow")
    before = model.sample(50, rng=generator(0, "sample"))
    with torch.no_grad():
        for parameter in model.flow.parameters():
            parameter.mul_(3)
    rng = generator(0, "sample")
    z = draw(model.prior(), rng, (50,))
    assert torch.equal(model.sample(50, rng=generator(0, "sample")), draw(model.likelihood(z), rng))
    assert before.shape == (50, 2, 2)


def test_fit_with_a_flow_is_deterministic_and_kept(check_fit, make_split):
    train = make_split(SPACE, 50)

    def answer(model: VAE) -> torch.Tensor:
        return model.prior().log_prob(torch.linspace(-1, 1, 10).view(5, 2).to(model.write.weight))

    check_fit(lambda: build(prior="flow"), answer, train)


def test_beta_changes_what_is_trained_and_not_what_is_measured(make_split):
    train = make_split(SPACE, 100)
    x, _ = train.batch(0, 100)
    models = [build(beta=beta) for beta in (0.0, 0.1, 1.0)]
    for model in models:
        model.load_state_dict(models[0].state_dict())
    assert torch.equal(_bound(models[0], x, 0), _bound(models[2], x, 0))
    for model in models:
        model.fit(train, train, Budget(200), rng=generator(0, "fit"))
    rates = [model.elbo(x, rng=generator(0, "elbo")).rate.mean().item() for model in models]
    assert rates[0] > rates[1] + 1 and rates[1] > rates[2]


def test_settings_are_in_the_digest_and_the_flow_can_be_read():
    torch.manual_seed(0)
    first = build(prior="flow")
    torch.manual_seed(0)
    assert state_digest(first) == state_digest(build(prior="flow")) is not None
    torch.manual_seed(0)
    plain = state_digest(build())
    torch.manual_seed(0)
    assert plain != state_digest(build(beta=2.0)) and plain is not None
