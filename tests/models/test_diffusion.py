from __future__ import annotations

import math

import pytest
import torch

from torchstone.models import Budget, Continuous, Discrete, ModelError, Space, family
from torchstone.models.checks import check_model
from torchstone.models.implicit.chain import Chain, discretised_gaussian, reverse_variance, transition_rate
from torchstone.models.implicit.diffusion import Diffusion
from torchstone.models.randomness import generator

SPACE = Space((2, 2), Discrete(5), classes=2)


def build(space: Space = SPACE, conditional: bool = False, **settings) -> Diffusion:
    return Diffusion(
        space, conditional=conditional, **{"timesteps": 6, "width": 8, "blocks": 1, "batch": 32} | settings
    )


def bound(model, x, y=None, seed=0):
    elbo = model.elbo(x, y, rng=generator(seed, "elbo"))
    return elbo.reconstruction - elbo.rate


@torch.no_grad()
def log_probabilities(model, points=180, reach=7.0):
    """Of all states of a model of two dimensions, in nats: the chain is followed on a grid, by the midpoint rule."""
    axis = -reach + 2 * reach * (torch.arange(points, dtype=torch.double) + 0.5) / points
    grid, cell = torch.cartesian_prod(axis, axis), 2 * reach / points
    weights = (-grid.square().sum(1) / 2).exp() / (2 * math.pi) * cell**2
    chain, label = Chain(model.signal), torch.zeros(len(grid), dtype=torch.long)
    for t in reversed(range(model.timesteps)):
        step = torch.full_like(label, t)
        mean, error = model.denoise(grid, step, label)
        variance = reverse_variance(chain, model.variance, step, error)
        if t == 0:
            scale = variance.sqrt()[..., None]
            decoder = discretised_gaussian(torch.arange(model.levels), mean[..., None], scale, model.levels).exp()
            return (weights[:, None, None] * decoder[:, 0, :, None] * decoder[:, 1, None, :]).sum(0).log().flatten()
        towards = chain.clean_weight[t] * mean + chain.noisy_weight[t] * grid
        density = (-(axis - towards[..., None]).square() / (2 * variance[..., None])).exp()
        density = density / (2 * math.pi * variance[..., None]).sqrt() * cell
        weights = ((weights[:, None] * density[:, 0]).T @ density[:, 1]).flatten()
    raise AssertionError


@pytest.mark.parametrize("variance", ["learned", "beta", "posterior"])
def test_the_bound_is_below_the_density_that_the_sampler_follows(enumerate_states, variance):
    """Nine states, whose probabilities are integrals; 1 false alarm in 10^4 seeds for the counts of samples."""
    from scipy.stats import chi2

    model = Diffusion.tiny()
    model.variance = variance
    every, log_p = enumerate_states(model.space), log_probabilities(model)
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-6)
    with torch.no_grad():
        bounds = bound(model, every.repeat(1000, 1)).view(1000, 9)
    mean, error = bounds.mean(0), bounds.std(0) / math.sqrt(1000)
    assert (mean - 4 * error < log_p).all()
    x = model.sample(20000, rng=generator(0, "sample"))
    observed, expected = torch.bincount(3 * x[:, 0] + x[:, 1], minlength=9), 20000 * log_p.exp()
    assert float(((observed - expected) ** 2 / expected).sum()) < chi2.isf(1e-4, 8)


def test_fewer_steps_and_ddim_are_other_distributions():
    """The same test finds them."""
    model = Diffusion.tiny()
    expected = 20000 * log_probabilities(model).exp()
    for sampler, steps in (("ddpm", 2), ("ddim", 4)):
        model.sampler = sampler
        x = model.sample(20000, rng=generator(0, "sample"), steps=steps)
        observed = torch.bincount(3 * x[:, 0] + x[:, 1], minlength=9)
        assert float(((observed - expected) ** 2 / expected).sum()) > 100


class Zero(torch.nn.Module):
    """Corrects nothing: what is left is the denoiser of a Gaussian with the mean and deviation of the data."""

    def __init__(self, dims):
        super().__init__()
        self.read, self.dims = torch.nn.Linear(1, 1), dims

    def forward(self, x, time, label):
        return torch.zeros(len(x), 2 * self.dims)


@pytest.mark.parametrize("terms", [1, 3, 19])
def test_the_parts_are_those_of_a_gaussian_denoiser(terms):
    """Each in closed form, whatever the number of terms; L_0 by the trapezoidal rule. Four standard errors."""
    space, n = Space((1,), Discrete(101)), 20000
    model = build(space, timesteps=20, terms=terms, schedule="linear")
    model.network = Zero(1)
    model.centre.fill_(0.1)
    model.spread.fill_(0.05)
    x = torch.full((n, 1), 60)
    elbo = model.elbo(x, rng=generator(0, "elbo"))
    chain, clean, prior = Chain(model.signal), 0.2, 0.05**2
    total = chain.signal * prior + 1 - chain.signal
    weight = chain.signal.sqrt() * prior / total
    error = (1 - chain.signal) * prior / total
    square = ((1 - weight * chain.signal.sqrt()) * (clean - 0.1)) ** 2 + weight**2 * (1 - chain.signal)
    variance = chain.posterior_variance + chain.clean_weight**2 * error
    between = transition_rate(chain.posterior_variance, variance, chain.clean_weight**2 * square)[1:].sum()
    last, final = chain.signal[-1], elbo.parts["L_T"]
    assert final.allclose(0.5 * (last * clean**2 - last - (1 - last).log()).expand(n), rtol=1e-9)
    z = torch.linspace(-8, 8, 4001, dtype=torch.double)
    mean = 0.1 + weight[0] * (chain.signal[0].sqrt() * (clean - 0.1) + (1 - chain.signal[0]).sqrt() * z)
    loss = -discretised_gaussian(torch.tensor(60), mean, error[0].sqrt(), 101)
    first = torch.trapezoid(loss * (-z.square() / 2).exp() / math.sqrt(2 * math.pi), z)
    for name, exact in (("L_t", between), ("L_0", first)):
        part = elbo.parts[name]
        assert abs(part.mean() - exact) < 4 * part.std() / math.sqrt(n), name
    assert torch.equal(elbo.reconstruction, -elbo.parts["L_0"])
    assert torch.equal(elbo.rate, elbo.parts["L_T"] + elbo.parts["L_t"])


def test_a_chain_of_one_step_has_nothing_between():
    model = build(timesteps=1)
    elbo = model.elbo(torch.zeros((3, 2, 2), dtype=torch.long), rng=generator(0, "elbo"))
    assert (elbo.parts["L_t"] == 0).all() and elbo.reconstruction.isfinite().all()
    assert model.sample(3, rng=generator(0, "sample")).shape == (3, 2, 2)


@pytest.mark.parametrize("terms", [2, 5])
def test_no_example_hears_of_another(terms):
    model, x = build(terms=terms), torch.arange(12).view(3, 2, 2) % 5
    other = x.clone()
    other[1] = 4 - other[1]
    changed = bound(model, x) != bound(model, other)
    assert changed.tolist() == [False, True, False]


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
@pytest.mark.parametrize("steps", [1, 2, 5, 6])
def test_the_network_is_asked_once_for_each_step(sampler, steps):
    model, calls = build(sampler=sampler), []
    model.network.register_forward_hook(lambda *_: calls.append(1))
    x = model.sample(7, rng=generator(0, "sample"), steps=steps)
    assert len(calls) == steps
    assert x.dtype == torch.int64 and x.shape == (7, 2, 2) and x.min() >= 0 and x.max() <= 4


@pytest.mark.parametrize("steps", [0, 7])
def test_steps_that_the_chain_has_not_are_refused(steps):
    with pytest.raises(ModelError, match=f"steps={steps} is none of the 1 to 6 steps"):
        build().sample(3, rng=generator(0, "sample"), steps=steps)


@pytest.mark.parametrize(("eta", "quiet"), [(0.0, True), (1.0, False)])
def test_ddim_draws_nothing_after_the_beginning(eta, quiet):
    """From one beginning all samples are one, unless eta asks for noise."""
    model, drawn = build(sampler="ddim", eta=eta, space=Space((4,), Discrete(99))), []

    def noise(n, rng):
        drawn.append(n)
        return torch.randn((n if drawn[1:] else 1, 4), generator=rng, dtype=torch.double).expand(n, 4)

    model._noise = noise
    x = model.sample(5, rng=generator(0, "sample"))
    assert bool((x == x[0]).all()) is quiet


def test_passes_the_checks_and_has_its_family():
    for conditional in (False, True):
        check_model(build(conditional=conditional))
    assert family(build()) == "implicit-iterative"


def test_continuous_data_are_refused():
    with pytest.raises(ModelError, match="diffusion applies to discrete data"):
        build(Space((2,), Continuous()))


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_gradients(check_gradients, schedule):
    model = build(conditional=True, schedule=schedule)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.3)
    check_gradients(model, -bound(model, torch.arange(8).view(2, 2, 2) % 5, torch.tensor([0, 1])).sum())


def test_fit_is_deterministic_and_kept(check_fit, make_split):
    train = make_split(SPACE, 50)
    x, y = train.batch(0, 5)
    check_fit(lambda: build(conditional=True), lambda model: bound(model, x, y).detach(), train)


def test_conditional(check_conditional):
    check_conditional(
        build, lambda model, y: model.elbo(torch.zeros((1, 2, 2)).long(), y, rng=generator(0, "e")), SPACE
    )
    check_conditional(build, lambda model, y: model.sample(1, y, rng=generator(0, "s")), SPACE)


def test_training_raises_the_bound(make_split):
    train = make_split(SPACE, 200)
    x, _ = train.batch(0, 200)
    model = build(timesteps=20)
    before = bound(model, x).mean().item()
    model.fit(train, train, Budget(200), rng=generator(0, "fit"))
    assert bound(model, x).mean().item() > before + 0.5
