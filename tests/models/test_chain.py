"""Chains of a Gaussian, N(0, 1/4), whose denoiser, bound and samples are known in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from torchstone.models.implicit.chain import (
    Chain,
    cosine_signal,
    ddim_step,
    discretised_gaussian,
    linear_signal,
    prior_rate,
    respaced,
    reverse_variance,
    transition_rate,
)

POWER = 0.25  # the variance of the data
ENTROPY = 0.5 * math.log(2 * math.pi * math.e * POWER)
CHAINS = {steps: Chain(linear_signal(1000)[respaced(1000, steps)]) for steps in (1000, 100, 50, 10)}


def denoised(x, signal):
    """E[x_0 | x_t] and its mean squared error."""
    total = signal * POWER + 1 - signal
    return signal.sqrt() * POWER / total * x, POWER * (1 - signal) / total


def cost(chain, kind):
    """The expected negative bound in nats, with the density of a Gaussian in place of a discretised one at the end."""
    error = denoised(torch.zeros(1), chain.signal)[1]
    variance = reverse_variance(chain, kind, torch.arange(len(error)), error[:, None])[:, 0]
    square = chain.clean_weight.square() * error
    last = 0.5 * (2 * math.pi * variance[0]).log() + square[0] / (2 * variance[0])
    between = transition_rate(chain.posterior_variance[1:], variance[1:], square[1:]).sum()
    return float(prior_rate(chain.signal[-1], torch.tensor(POWER)) + last + between)


@pytest.mark.parametrize("steps", CHAINS)
def test_the_best_variance_makes_the_bound_exact_for_any_number_of_steps(steps):
    """What remains above the entropy is the divergence of the last step from the prior, itself known."""
    last = float(CHAINS[steps].signal[-1])
    variance = last * POWER + 1 - last
    mismatch = 0.5 * (variance - 1 - math.log(variance))
    assert cost(CHAINS[steps], "learned") == pytest.approx(ENTROPY + mismatch, rel=1e-12)


@pytest.mark.parametrize(
    ("steps", "kind", "nats"),
    [
        (1000, "beta", 0.7268836079545329),
        (100, "beta", 0.7366974935279775),
        (50, "beta", 0.7475113618731588),
        (10, "beta", 0.8280206823034599),
        (1000, "posterior", 1.295717284161754),
        (100, "posterior", 10.303540808554246),
        (50, "posterior", 29.706594913930715),
        (10, "posterior", 455.34034007401794),
    ],
)
def test_other_variances_cost_what_they_cost(steps, kind, nats):
    assert cost(CHAINS[steps], kind) == pytest.approx(nats, rel=1e-9)


@pytest.mark.parametrize(
    ("steps", "deviation"),
    [
        (5, 0.22504493273398712),
        (10, 0.361611722695565),
        (20, 0.43045167833308073),
        (50, 0.47191510763923566),
        (100, 0.48584758964431835),
        (1000, 0.49849528299606877),
    ],
)
def test_ddim_shrinks_a_gaussian_the_less_the_more_steps_it_takes(steps, deviation):
    chain, x = Chain(linear_signal(1000)[respaced(1000, steps)]), torch.ones((), dtype=torch.double)
    for now, then in zip(chain.signal.flip(0), chain.before.flip(0), strict=True):
        x = ddim_step(x, denoised(x, now)[0], now, then, torch.zeros(()))
    assert abs(float(x)) == pytest.approx(deviation, rel=1e-9)


@pytest.mark.parametrize("signal", [linear_signal(50), cosine_signal(50, 0.05)], ids=["linear", "cosine"])
def test_forward_and_posterior_are_one_joint_gaussian(signal):
    """q(x_t | x_0) q(x_{t-1} | x_t, x_0) has the marginal q(x_{t-1} | x_0)."""
    chain = Chain(signal)
    mean = chain.clean_weight + chain.noisy_weight * signal.sqrt()
    variance = chain.posterior_variance + chain.noisy_weight.square() * (1 - signal)
    assert mean.allclose(chain.before.sqrt(), rtol=1e-12) and variance.allclose(1 - chain.before, rtol=1e-9, atol=1e-15)
    assert ((signal[1:] < signal[:-1]) & (signal[1:] > 0)).all()


def test_ddim_with_all_its_noise_is_the_posterior():
    chain, one = Chain(linear_signal(50)), torch.ones((), dtype=torch.double)
    x, clean = 0.7 * one, -0.3 * one
    quiet, loud = (ddim_step(x, clean, chain.signal, chain.before, noise, eta=1.0) for noise in (0 * one, one))
    assert quiet.allclose(chain.clean_weight * clean + chain.noisy_weight * x, rtol=1e-9)
    assert (loud - quiet).square().allclose(chain.posterior_variance, rtol=1e-9, atol=1e-18)


def test_the_first_noise_of_a_cosine_is_what_was_asked():
    signal = cosine_signal(100, 0.05)
    assert float((1 - signal[0]).sqrt()) == pytest.approx(0.05, rel=1e-12)
    assert float(signal[-1]) == pytest.approx(2e-4, rel=1e-9)


def test_betas_of_the_paper():
    betas = Chain(linear_signal(1000)).beta
    assert betas.allclose(torch.linspace(1e-4, 0.02, 1000, dtype=torch.double), rtol=1e-9)


def test_respacing_keeps_both_ends():
    assert respaced(1000, 1).tolist() == [999] and respaced(7, 7).tolist() == list(range(7))
    assert respaced(1000, 10)[[0, -1]].tolist() == [0, 999]


@pytest.mark.parametrize(("mean", "scale"), [(0.1, 0.02), (-1.0, 0.3), (0.99, 1e-3), (5.0, 0.01)])
def test_a_discretised_gaussian_sums_to_one_and_has_no_floor(mean, scale):
    levels = torch.arange(17)
    log_p = discretised_gaussian(levels, torch.tensor(mean).double(), torch.tensor(scale).double(), 17)
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-12)
    assert log_p.isfinite().all() and len(log_p.unique()) == 17


def test_a_discretised_gaussian_is_a_rounded_one():
    """Counts of rounded draws; 1 false alarm in 10^4 seeds."""
    from scipy.stats import chi2

    rng, n = torch.Generator().manual_seed(0), 20000
    z = 0.2 + 0.7 * torch.randn(n, generator=rng, dtype=torch.double)
    observed = torch.bincount(((z + 1) * 2).round().clamp(0, 4).long(), minlength=5)
    expected = (
        n * discretised_gaussian(torch.arange(5), torch.tensor(0.2).double(), torch.tensor(0.7).double(), 5).exp()
    )
    assert float(((observed - expected) ** 2 / expected).sum()) < chi2.isf(1e-4, 4)
