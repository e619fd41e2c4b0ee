from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from torchstone.models import Budget, Continuous, Discrete, ModelError, Space
from torchstone.models.approximate.vae import VAE, vae
from torchstone.models.randomness import generator

SPACE = Space((2, 2), Discrete(5), classes=2)


def build(space: Space = SPACE, conditional: bool = False, decoder: str = "categorical") -> VAE:
    return vae(space, decoder=decoder, latents=2, width=8, batch=8, conditional=conditional)


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
