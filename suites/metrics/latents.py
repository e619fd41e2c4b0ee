"""What an encoder uses its latents for: information, divergence from the prior, active units, collapse."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence

from torchstone.models.randomness import draw
from torchstone.suites.supports import log_prob_within

__all__ = [
    "Aggregate",
    "active_units",
    "aggregate",
    "analytic_kl",
    "collapsed",
    "derangement",
    "kl_per_latent",
    "mean_variances",
]


@final
@dataclass(frozen=True, slots=True)
class Aggregate:
    """How the rate divides between information and the aggregated posterior ``q(z) = (1/N) sum_n q(z|x_n)``.

    ``rate = I_q(x; z) + KL(q(z) || p(z))``. Means over examples estimate the terms; all are nats, ``(N,)`` float64.

    Source: ELBO surgery (Hoffman and Johnson, 2016); the estimators are the two of On Variational Bounds of Mutual
    Information (Poole, Ozair, van den Oord, Alemi and Tucker, 2019; arXiv:1905.06922) for a known conditional density.

    Attributes:
        information_lower: against the mixture of all N posteriors; its mean is at most the information, and ln N.
        information_upper: against the mixture of the other N - 1; its mean is at least the information.
        rate: ``log q(z|x) - log p(z)`` at the same draws.
    """

    information_lower: Tensor
    information_upper: Tensor
    rate: Tensor

    @property
    def marginal_kl_lower(self) -> Tensor:
        """The rate less the upper estimate of the information, ``(N,)``."""
        return self.rate - self.information_upper

    @property
    def marginal_kl_upper(self) -> Tensor:
        """The rate less the lower estimate of the information, ``(N,)``."""
        return self.rate - self.information_lower

    @property
    def saturated(self) -> bool:
        """Whether the lower estimate is within one nat of ln N, the most that N examples can show."""
        return float(self.information_lower.mean()) > math.log(len(self.information_lower)) - 1


def aggregate(
    posterior: Distribution, prior: Distribution, rng: torch.Generator, *, draws: int = 1, elements: int = 2**22
) -> Aggregate:
    """Estimate information and marginal divergence from ``draws`` draws of each of N posteriors.

    Every draw is given to every posterior: N^2 densities, in chunks.

    Args:
        posterior: q(z | x_n), batch shape ``(N,)``, N at least 2.
        prior: p(z), batch shape ``()`` or ``(N,)``.
        rng: of the draws, on the device of the posterior.
        draws: per example.
        elements: numbers in the latents of one chunk; memory is a few times that.

    Raises:
        ValueError: for fewer than two examples.
    """
    n = posterior.batch_shape[0]
    if n < 2:
        raise ValueError(f"An aggregated posterior needs at least two examples, got {n}.")
    with torch.no_grad():
        z = draw(posterior, rng, (draws,))
        own = posterior.log_prob(z).double()
        rate = (own - log_prob_within(prior, z).double()).mean(0)
        rows, event = z.flatten(0, 1), tuple(posterior.event_shape)
        chunk = max(1, elements // (n * math.prod(event)))
        all_of_them, others = zip(
            *(_mixtures(posterior, rows[start : start + chunk], start) for start in range(0, len(rows), chunk)),
            strict=True,
        )
    lower = own - torch.cat(all_of_them).view(draws, n)
    upper = own - torch.cat(others).view(draws, n)
    return Aggregate(lower.mean(0).cpu(), upper.mean(0).cpu(), rate.cpu())


def _mixtures(posterior: Distribution, z: Tensor, start: int) -> tuple[Tensor, Tensor]:
    """Log-densities of rows ``z`` under the mixture of all posteriors, and under that of all but their own."""
    n, rows = posterior.batch_shape[0], len(z)
    log_q = log_prob_within(posterior, z[:, None].expand(rows, n, *z.shape[1:])).double()
    own = (torch.arange(start, start + rows, device=z.device) % n)[:, None]
    others = log_q.scatter(1, own, -math.inf)
    return log_q.logsumexp(1) - math.log(n), others.logsumexp(1) - math.log(n - 1)


def analytic_kl(posterior: Distribution, prior: Distribution) -> Tensor | None:
    """``KL(q(z|x) || p(z))`` of each example in nats, ``(N,)`` float64; None where torch knows no closed form."""
    try:
        divergence = kl_divergence(posterior, _each(prior, posterior))
    except NotImplementedError:
        return None
    return divergence.detach().double().expand(posterior.batch_shape).cpu()


def _each(prior: Distribution, posterior: Distribution) -> Distribution:
    """The prior once for every example: some closed forms know no broadcasting."""
    return prior if prior.batch_shape else prior.expand(posterior.batch_shape)


def kl_per_latent(posterior: Distribution, prior: Distribution) -> Tensor | None:
    """The same for each latent, ``(N, d)``, where both factorise over latents; None where they do not."""
    if not isinstance(posterior, Independent) or not isinstance(prior, Independent):
        return None
    if posterior.base_dist.event_shape or prior.base_dist.event_shape or posterior.event_shape != prior.event_shape:
        return None
    try:
        divergence = kl_divergence(posterior.base_dist, _each(prior, posterior).base_dist)  # type: ignore[attr-defined]
    except NotImplementedError:
        return None
    return divergence.detach().double().expand(*posterior.batch_shape, *posterior.event_shape).flatten(1).cpu()


def mean_variances(posterior: Distribution, prior: Distribution, rng: torch.Generator, *, draws: int = 1000) -> Tensor:
    """``Var_x E_q[z_j | x] / Var_p z_j`` of each latent, sorted from the largest, ``(d,)`` float64.

    Dividing by the variance of the prior makes it independent of the scale of the latents. Means that the posterior
    does not know are averages of draws, and the variance is then the covariance of two halves of the draws, whose
    noise is independent: it is right in the mean, and may be slightly negative.

    Source: Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016; arXiv:1509.00519), for active
    units: latents whose mean varies.

    Args:
        posterior: q(z | x_n), batch shape ``(N,)``, N at least 2.
        prior: p(z), batch shape ``()`` or ``(N,)``; for the latter the variances are averaged.
        rng: of the draws, on the device of the posterior.
        draws: where means or variances are not known in closed form.
    """
    with torch.no_grad():
        first, second = _means(posterior, rng, draws)
        variance = _variance(prior, rng, draws)
    centred = first - first.mean(0), second - second.mean(0)
    spread = (centred[0] * centred[1]).sum(0) / (len(first) - 1)
    return (spread / variance).cpu().sort(descending=True).values


def _means(posterior: Distribution, rng: torch.Generator, draws: int) -> tuple[Tensor, Tensor]:
    try:
        known = posterior.mean.double().flatten(1)
    except NotImplementedError:
        half = max(1, draws // 2)
        return _average(posterior, rng, half), _average(posterior, rng, half)
    return known, known


def _average(posterior: Distribution, rng: torch.Generator, draws: int) -> Tensor:
    total = draw(posterior, rng).double()
    for _ in range(draws - 1):
        total = total + draw(posterior, rng)
    return (total / draws).flatten(1)


def _variance(prior: Distribution, rng: torch.Generator, draws: int) -> Tensor:
    try:
        variance = prior.variance.double()
    except NotImplementedError:
        variance = draw(prior, rng, (max(2, draws),)).double().var(0)
    return variance.flatten(len(prior.batch_shape)) if not prior.batch_shape else variance.flatten(1).mean(0)


def active_units(variances: Tensor, threshold: float = 0.01) -> int:
    """How many latents have a `mean_variances` above ``threshold``.

    >>> active_units(torch.tensor([0.8, 0.4, 0.001]))
    2
    """
    return int((variances > threshold).sum())


def collapsed(kl: Tensor, threshold: float = 0.01) -> float:
    """The share of latents whose divergence from the prior, a mean over examples, is below ``threshold`` nats.

    Args:
        kl: ``(N, d)``; see `kl_per_latent`.
        threshold: in nats.
    """
    return float((kl.mean(0) < threshold).double().mean())


def derangement(n: int, rng: torch.Generator) -> Tensor:
    """A random order of n examples in which none keeps its place, LongTensor ``(n,)``; for n = 1 there is none.

    Raises:
        ValueError: for fewer than two examples.
    """
    if n < 2:
        raise ValueError(f"Fewer than two examples cannot change places, got {n}.")
    order = torch.randperm(n, generator=rng, device=rng.device)
    shuffled = torch.empty_like(order)
    shuffled[order] = order.roll(1)
    return shuffled
