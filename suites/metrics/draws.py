"""Whether draws follow the density that is stated of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from torchstone.suites.metrics.evidence import average, p_value, worth
from torchstone.suites.metrics.pit import kolmogorov_p_value

__all__ = ["SCALES", "draws_p_value", "whitened_p_value"]

SCALES = (0.5, 0.8, 0.95, 1.05, 1.25, 2.0)
"""How much wider than stated draws may be, among the alternatives of `draws_p_value`."""


def whitened_p_value(u: Tensor) -> tuple[float, Tensor]:
    """Whether draws that should be independent standard normals are, and the transform of their squared lengths.

    Four exact tests at once (Bonferroni): the variance of each coordinate about zero, the mean of each example, the
    mean of all, and the squared lengths, which follow chi-square with d degrees of freedom (Kolmogorov).

    Args:
        u: ``(K, N, d)``: K draws for each of N examples.

    Returns:
        The p-value, and the probability integral transforms of the squared lengths, ``(K, N)``.
    """
    from scipy import stats  # takes half a second

    k, n, d = u.shape
    u = u.double().cpu()
    squares = u.square().sum((0, 1)).numpy()
    tails = stats.chi2.cdf(squares, k * n), stats.chi2.sf(squares, k * n)
    scale = 2 * d * min(float(tail.min()) for tail in tails)
    shift = float(stats.chi2.sf(float(k * u.mean(0).square().sum()), n * d))
    common = float(stats.chi2.sf(float(k * n * u.mean((0, 1)).square().sum()), d))
    transforms = torch.from_numpy(stats.chi2.cdf(u.square().sum(2).numpy(), d))
    return min(1.0, 4 * min(scale, shift, common, kolmogorov_p_value(transforms.flatten()))), transforms


def draws_p_value(log_q: Callable[[Tensor], Tensor], pilot: Tensor, draws: Tensor, rng: torch.Generator) -> float:
    r"""Whether draws follow a density on the reals that can only be evaluated, by two e-values.

    Of draws from q, :math:`E \prod g(z) / q(z) \le 1` for every density g chosen without them: here q itself, drawn
    together or apart about the mean of each example by `SCALES`, and a Gaussian fitted to the pilot. Of draws from that
    Gaussian r, :math:`E \prod q(z) / r(z) \le 1` where q is normalised. The first finds draws that are narrower or
    wider than q, and a q that is stated too low; the second one that is stated too high, as without a log-determinant.

    Args:
        log_q: of values ``(K, N, d)``, the stated log-densities ``(K, N)``; minus infinity outside of the support.
        pilot: ``(J, N, d)`` draws for each of N examples, to fit on.
        draws: ``(K, N, d)`` others, to test.
        rng: draws from the Gaussian, on the CPU.

    Returns:
        A p-value: exact at any number of draws, whatever q is.
    """
    mean, scale = pilot.mean(0), pilot.std(0).clamp_min(1e-12)
    stated, dims = log_q(draws).double(), draws.shape[-1]
    alternatives = [log_q(mean + (draws - mean) / factor).double() - dims * math.log(factor) for factor in SCALES] + [
        _gaussian(draws, mean, scale)
    ]
    known = stated.isfinite()  # a draw of density zero has probability zero; it is rounding at an edge
    ratios = [torch.where(known, worth(other) - torch.where(known, stated, 0.0), 0.0) for other in alternatives]
    first = average([float(ratio.sum()) for ratio in ratios])
    noise = torch.randn(draws.shape, generator=rng, dtype=torch.float64).to(draws)
    own = mean + scale * noise
    second = float((worth(log_q(own)) - _gaussian(own, mean, scale)).sum())
    return min(1.0, 2 * min(p_value(first), p_value(second)))


def _gaussian(z: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    constants = scale.double().log() + 0.5 * math.log(2 * math.pi)
    return -(0.5 * ((z - mean) / scale).double().square() + constants).sum(-1)
