"""Information, marginal divergence, active units and collapse."""

import math

import pytest
import torch
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
    kl_divergence,
)
from torch.distributions.transforms import AffineTransform

from torchstone.suites.metrics.latents import (
    active_units,
    aggregate,
    analytic_kl,
    collapsed,
    derangement,
    kl_per_latent,
    mean_variances,
)

F64 = torch.float64
# Encoder with mean A (x - b) and variances (.3, .2), for data from the model itself
A = torch.tensor([[0.5, -0.1, 0.05], [0.1, 0.3, -0.4]], dtype=F64)
VARIANCES = torch.tensor([0.3, 0.2], dtype=F64)
RATE, INFORMATION, MARGINAL = 1.143330358380, 1.094995010930, 0.048335347450
MEANS = (0.37045, 0.60280)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def prior(d=2):
    return Independent(Normal(torch.zeros(d, dtype=F64), 1.0), 1)


def encoded(model, n, seed=0):
    """Posteriors of n examples drawn from the model."""
    rng = seeded(seed)
    z = torch.randn(n, 2, generator=rng, dtype=F64)
    noise = math.sqrt(model.variance) * torch.randn(n, 3, generator=rng, dtype=F64)
    return Independent(Normal((z @ model.w.T + noise) @ A.T, VARIANCES.sqrt()), 1)


def average(values):
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))


def test_the_closed_forms_of_rate_information_and_marginal_divergence_agree(linear_gaussian):
    """``rate = I + KL(q(z) || p(z))`` of the population, by torch's own divergences."""
    model = linear_gaussian
    data = model.w @ model.w.T + model.variance * torch.eye(3, dtype=F64)
    means = A @ data @ A.T
    aggregated = MultivariateNormal(torch.zeros(2, dtype=F64), means + VARIANCES.diag())
    standard = MultivariateNormal(torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64))
    information = 0.5 * float(torch.logdet(means + VARIANCES.diag()) - VARIANCES.log().sum())
    marginal = float(kl_divergence(aggregated, standard))
    assert (information, marginal) == pytest.approx((INFORMATION, MARGINAL), rel=1e-9)
    assert information + marginal == pytest.approx(RATE, rel=1e-9)
    assert means.diag().tolist() == pytest.approx(MEANS, rel=1e-9)


def test_estimates_bracket_the_known_information(linear_gaussian):
    found = aggregate(encoded(linear_gaussian, 2000), prior(), seeded(1))
    low, below = average(found.information_lower)
    high, above = average(found.information_upper)
    assert low - 4 * below < INFORMATION < high + 4 * above
    assert abs(low - INFORMATION) < 4 * below + 0.01 and abs(high - INFORMATION) < 4 * above + 0.01
    rate, error = average(found.rate)
    assert abs(rate - RATE) < 4 * error
    assert not found.saturated


def test_rate_divides_into_information_and_marginal_divergence(linear_gaussian):
    """Exactly, example by example; and the divergence is bounded the other way round."""
    found = aggregate(encoded(linear_gaussian, 500), prior(), seeded(1), draws=3)
    torch.testing.assert_close(found.information_lower + found.marginal_kl_upper, found.rate, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.information_upper + found.marginal_kl_lower, found.rate, rtol=1e-12, atol=1e-12)
    low, high = average(found.marginal_kl_lower), average(found.marginal_kl_upper)
    assert low[0] - 4 * low[1] < MARGINAL < high[0] + 4 * high[1]


def test_estimates_are_the_means_over_examples_of_a_plain_loop(linear_gaussian):
    q = encoded(linear_gaussian, 7)
    found = aggregate(q, prior(), seeded(3), elements=30)
    from torchstone.models.randomness import draw

    z = draw(q, seeded(3), (1,))[0]
    for n in range(7):
        log_q = torch.stack([Normal(q.mean[m], q.stddev[m]).log_prob(z[n]).sum() for m in range(7)])
        others = torch.cat([log_q[:n], log_q[n + 1 :]])
        assert float(found.information_lower[n]) == pytest.approx(float(log_q[n] - log_q.logsumexp(0) + math.log(7)))
        assert float(found.information_upper[n]) == pytest.approx(float(log_q[n] - others.logsumexp(0) + math.log(6)))


@pytest.mark.parametrize("elements", [1, 100, 2**22])
def test_the_chunk_changes_nothing(linear_gaussian, elements):
    q = encoded(linear_gaussian, 40)
    whole, chunked = (aggregate(q, prior(), seeded(0), draws=2, elements=size) for size in (2**22, elements))
    torch.testing.assert_close(whole.information_upper, chunked.information_upper, rtol=1e-12, atol=1e-12)


def test_information_beyond_ln_n_saturates_below_and_explodes_above():
    """Eight nats with 300 examples: about 5.4 from below and 11.1 from above, and it says so."""
    d = 8
    noise = 1 / math.expm1(2 * 8 / d)  # variance of noise that leaves one nat in each of eight latents
    lower, upper = [], []
    for seed in range(3):
        means = torch.randn(300, d, generator=seeded(seed), dtype=F64)
        q = Independent(Normal(means, math.sqrt(noise)), 1)
        found = aggregate(q, prior(d), seeded(100 + seed), draws=2)
        assert found.saturated
        assert float(found.information_lower.mean()) <= math.log(300)
        lower.append(float(found.information_lower.mean()))
        upper.append(float(found.information_upper.mean()))
    assert sum(lower) / 3 == pytest.approx(5.38, abs=0.1)
    assert sum(upper) / 3 == pytest.approx(11.1, abs=0.6)


def test_posteriors_that_ignore_the_data_carry_no_information():
    q = Independent(Normal(torch.zeros(50, 3, dtype=F64), 1.0), 1)
    found = aggregate(q, prior(3), seeded(0))
    for values in (found.information_lower, found.information_upper, found.rate):
        assert float(values.abs().max()) < 1e-12


def test_one_example_has_no_others():
    with pytest.raises(ValueError, match="two examples"):
        aggregate(Independent(Normal(torch.zeros(1, 2), 1.0), 1), prior(), seeded(0))


def test_known_divergences_add_up_over_latents(linear_gaussian):
    mean, variances = torch.tensor([[0.2, -0.3]], dtype=F64), torch.tensor([[0.3, 0.2]], dtype=F64)
    q = Independent(Normal(mean, variances.sqrt()), 1)
    assert float(analytic_kl(q, prior())) == pytest.approx(0.721705358380, rel=1e-9)
    each = kl_per_latent(q, prior())
    assert each.shape == (1, 2) and float(each.sum()) == pytest.approx(0.721705358380, rel=1e-9)
    reconstruction = linear_gaussian.expected_log_likelihood(mean[0], variances[0].diag())
    assert reconstruction == pytest.approx(-3.902174057934, rel=1e-9)
    assert reconstruction - float(each.sum()) == pytest.approx(-4.623879416314, rel=1e-9)


def test_divergences_that_nobody_knows_are_none():
    mixture = MixtureSameFamily(Categorical(torch.ones(2)), Independent(Normal(torch.zeros(2, 2), 1.0), 1))
    q = Independent(Normal(torch.zeros(4, 2), 1.0), 1)
    assert analytic_kl(q, mixture) is None and kl_per_latent(q, mixture) is None
    whole = MultivariateNormal(torch.zeros(4, 2), torch.eye(2))
    assert kl_per_latent(whole, MultivariateNormal(torch.zeros(2), torch.eye(2))) is None
    assert analytic_kl(whole, MultivariateNormal(torch.zeros(2), torch.eye(2))).shape == (4,)


def test_variances_of_posterior_means_have_their_known_values(linear_gaussian):
    n = 20_000
    found = mean_variances(encoded(linear_gaussian, n), prior(), seeded(0))
    for value, known in zip(found.tolist(), sorted(MEANS, reverse=True), strict=True):
        assert abs(value - known) < 4 * known * math.sqrt(2 / n)
    assert active_units(found) == 2 and active_units(found, 0.5) == 1


def collapsing(model, n):
    """The exact posterior with a third latent that the decoder does not read."""
    w = torch.cat([model.w, torch.zeros(3, 1, dtype=F64)], 1)
    covariance = torch.linalg.inv(torch.eye(3, dtype=F64) + w.T @ w / model.variance)
    rng = seeded(5)
    x = torch.randn(n, 3, generator=rng, dtype=F64) @ w.T + 0.5 * torch.randn(n, 3, generator=rng, dtype=F64)
    return Independent(Normal(x @ w @ covariance / model.variance, covariance.diag().sqrt()), 1)


def test_a_latent_that_nothing_reads_is_collapsed(linear_gaussian):
    """Known variances (.8188, .8936, 0) and divergences (.853942, 1.120108, 0)."""
    n = 20_000
    q = collapsing(linear_gaussian, n)
    found = mean_variances(q, prior(3), seeded(0))
    known = torch.tensor([0.893564509, 0.818751157, 0.0], dtype=F64)
    assert bool(((found - known).abs() <= 4 * known * math.sqrt(2 / n) + 1e-12).all())
    assert active_units(found) == active_units(found, 1e-3) == 2
    kl = kl_per_latent(q, prior(3))
    expected = torch.tensor([0.853942184103, 1.120108098596, 0.0], dtype=F64)
    assert bool(((kl.mean(0) - expected).abs() <= 4 * kl.std(0) / math.sqrt(n) + 1e-12).all())
    assert collapsed(kl) == pytest.approx(1 / 3) and collapsed(kl, threshold=1.0) == pytest.approx(2 / 3)


def test_activity_does_not_depend_on_the_scale_of_the_prior(linear_gaussian):
    """The mutant leaves the scale in: latents a hundred times smaller would all count as inactive."""
    q = encoded(linear_gaussian, 1000)
    small = Independent(Normal(q.mean / 100, q.stddev / 100), 1)
    tight = Independent(Normal(torch.zeros(2, dtype=F64), 0.01), 1)
    torch.testing.assert_close(mean_variances(small, tight, seeded(0)), mean_variances(q, prior(), seeded(0)))
    assert active_units(mean_variances(small, prior(), seeded(0))) == 0


def test_means_that_are_drawn_give_no_activity_to_noise():
    """The mutant takes the variance of averaged draws, in which the noise of the draws counts as activity."""
    base = Independent(Normal(torch.zeros(4000, 2, dtype=F64), 1.0), 1)
    hidden = TransformedDistribution(base, [AffineTransform(0.0, 1.0)])  # knows no mean
    with pytest.raises(NotImplementedError):
        _ = hidden.mean
    found = mean_variances(hidden, prior(), seeded(0), draws=20)
    assert float(found.abs().max()) < 4 * 0.1 / math.sqrt(4000)
    assert active_units(found) == 0
    naive = sum(hidden.sample() for _ in range(10)) / 10
    assert active_units(naive.var(0)) == 2


@pytest.mark.parametrize("n", [2, 3, 100])
def test_a_derangement_moves_everybody(n):
    order = derangement(n, seeded(n))
    assert bool((order != torch.arange(n)).all()) and order.sort().values.tolist() == list(range(n))


def test_nobody_can_change_places_alone():
    with pytest.raises(ValueError, match="Fewer than two"):
        derangement(1, seeded(0))
