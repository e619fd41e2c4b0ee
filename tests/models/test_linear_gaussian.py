from __future__ import annotations

import math

import pytest
import torch

from torchstone.models import Budget, Continuous, Discrete, Space, Split
from torchstone.models.exact.linear_gaussian import LinearGaussian
from torchstone.models.randomness import generator

REAL = Continuous(-math.inf, math.inf)
SPACE = Space((2, 2), Discrete(5), classes=2)


def gaussian_data(n: int, dims: int) -> Split:
    rng = generator(0, "data")
    mix = torch.randn((dims, dims), generator=rng, dtype=torch.double)
    x = torch.randn((n, dims), generator=rng, dtype=torch.double) @ mix + 1
    return Split(x, None, torch.arange(n))


def fitted(data: Split, validation: Split | None = None, **settings: int) -> LinearGaussian:
    model = LinearGaussian(Space(tuple(data.x.shape[1:]), REAL), **settings).double()
    model.fit(data, validation or data, Budget(1), rng=generator(0, "fit"))
    return model


def test_integrates_to_one(check_integrates_to_one):
    check_integrates_to_one(LinearGaussian.tiny().double(), -15.0, 15.0)


def test_gradients(check_gradients):
    model = LinearGaussian.tiny()
    check_gradients(model, -model.log_prob(torch.tensor([[0.3, -1.0]])).sum())


def test_fit_is_deterministic_and_kept(check_fit, make_split):
    train = make_split(SPACE, 60)
    u = (train.x[:5].double() + 0.5) / 5
    for conditional in (False, True):
        build = lambda c=conditional: LinearGaussian(SPACE, conditional=c)  # noqa: E731
        check_fit(build, lambda model: model.log_prob(u.to(model.mean), train.y[:5]), train)


def test_conditional(check_conditional):
    x = torch.full((1, 2, 2), 0.5)
    check_conditional(lambda s, c: LinearGaussian(s, conditional=c), lambda model, y: model.log_prob(x, y), SPACE)


def test_known_density():
    """W = [[1, .5], [-.3, .8], [.2, -1.1]], b = (.1, -.2, .3), variance .25 at (.9, -.4, 1.2)."""
    model = LinearGaussian(Space((3,), REAL), latents=2).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.5], [-0.3, 0.8], [0.2, -1.1]], dtype=torch.double))
        model.mean.copy_(torch.tensor([[0.1, -0.2, 0.3]], dtype=torch.double))
        model.log_variance.fill_(math.log(0.25))
    x = torch.tensor([[0.9, -0.4, 1.2]], dtype=torch.double)
    assert model.log_prob(x).item() == pytest.approx(-3.545899506493611, rel=1e-12)


@pytest.mark.parametrize("latents", [0, 1, 3, 4])
def test_is_the_maximum_likelihood(latents):
    """scikit-learn's PCA scores by the same model, but for the divisor n - 1 of its covariance."""
    data = gaussian_data(200, 5)
    model = fitted(data, latents=latents)
    covariance = data.x.T.cov(correction=0)
    values = torch.linalg.eigvalsh(covariance).flip(0)
    noise = values[latents:].mean()
    log_determinant = values[:latents].log().sum() + (5 - latents) * noise.log()
    expected = -0.5 * (5 * math.log(2 * math.pi) + log_determinant + 5)
    assert model.log_prob(data.x).mean().item() == pytest.approx(float(expected), rel=1e-9)


def test_agrees_with_scikit_learn():
    from sklearn.decomposition import PCA

    data = gaussian_data(200, 5)
    corrected = Split(data.x.mean(0) + (data.x - data.x.mean(0)) * math.sqrt(200 / 199), None, data.ids)
    reference = torch.as_tensor(PCA(2).fit(data.x.numpy()).score_samples(data.x.numpy()))
    assert fitted(corrected, latents=2).log_prob(data.x).allclose(reference, rtol=1e-9)


def test_no_other_weights_do_better():
    data = gaussian_data(100, 4)
    model = fitted(data, latents=2)
    best = model.log_prob(data.x).mean().item()
    rng = generator(0, "perturb")
    for parameter in model.parameters():
        with torch.no_grad():
            saved = parameter.clone()
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=rng, dtype=torch.double))
            assert model.log_prob(data.x).mean().item() < best
            parameter.copy_(saved)


def test_the_number_of_latents_is_the_best_on_validation():
    data, validation = gaussian_data(30, 6), gaussian_data(230, 6)
    validation = Split(validation.x[30:], None, validation.ids[30:])
    chosen = fitted(data, validation).log_prob(validation.x).mean().item()
    each = [fitted(data, latents=q).log_prob(validation.x).mean().item() for q in range(6)]
    assert chosen == pytest.approx(max(each), rel=1e-9)


def test_the_noise_of_dequantisation_is_in_the_covariance(make_split):
    space = Space((3,), Discrete(4))
    data = make_split(space, 100)
    model = LinearGaussian(space, latents=2).double()
    model.fit(data, data, Budget(1), rng=generator(0, "fit"))
    fitted_covariance = model.weight @ model.weight.T + model.log_variance.exp() * torch.eye(3)
    expected = (data.x.double() / 4).T.cov(correction=0) + torch.eye(3) / (12 * 16)
    assert fitted_covariance.allclose(expected, atol=1e-9)
    assert model.space.support == Continuous(0.0, 1.0)


def test_samples_follow_the_density():
    model = LinearGaussian.tiny().double()
    x = model.sample(40000, rng=generator(0, "sample"))
    covariance = (model.weight @ model.weight.T + model.log_variance.exp() * torch.eye(2)).detach()
    assert (x.mean(0) - model.mean[0].detach()).abs().max() < 4 * math.sqrt(float(covariance.max()) / 40000)
    assert (x.T.cov() - covariance).abs().max() < 6 * float(covariance.max()) / 200
    bounded = LinearGaussian(Space((2,), Discrete(3))).sample(50, rng=generator(0, "sample"))
    assert bounded.min() >= 0 and bounded.max() <= 1


def test_one_dimension():
    data = gaussian_data(50, 1)
    variance = float(data.x.var(correction=0))
    expected = -0.5 * math.log(2 * math.pi * math.e * variance)
    assert fitted(data).log_prob(data.x).mean().item() == pytest.approx(expected)
