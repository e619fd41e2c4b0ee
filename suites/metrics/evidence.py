"""Evidence against a claim: e-values, which hold at any sample size, and p-values by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["average", "log_bet", "log_e_value", "monte_carlo_p_value", "p_value", "undefined", "worth"]

STAKES = (1.0, 0.5, 0.1, 0.03, 0.01)


def worth(log_p: Tensor) -> Tensor:
    """Log-densities, float64, as they count: what is no number, or infinite, is worth minus infinity.

    >>> worth(torch.tensor([-1.0, math.nan, math.inf])).tolist()
    [-1.0, -inf, -inf]
    """
    return torch.where(log_p.isfinite(), log_p.double(), -math.inf)


def undefined(log_p: Tensor) -> int:
    """How many log-densities are NaN or plus infinity, which no density has; minus infinity is one.

    >>> undefined(torch.tensor([-1.0, math.nan, math.inf, -math.inf]))
    2
    """
    return int((log_p.isnan() | (log_p == math.inf)).sum())


def log_e_value(log_p: Tensor, log_r: Tensor) -> float:
    r"""``sum_i log p(x_i) - log r(x_i)``: the logarithm of an e-value against the claim that p is normalised.

    For independent :math:`x_i \sim r` every density p has :math:`E \prod_i p(x_i) / r(x_i) \le 1`, so that this exceeds
    ``ln(1 / alpha)`` with a probability of at most alpha (Markov's inequality), whatever the sample size, the dimension
    and the variance. It holds as well for a lower bound on log p, for the logarithm of a draw whose mean is p, and for
    references that differ from draw to draw.

    Source: Ville, "Étude critique de la notion de collectif", 1939; Vovk and Wang, "E-values: Calibration, combination
    and applications", 2021, arXiv:1912.06116.

    Args:
        log_p: ``(n,)`` nats; what is not finite is worth minus infinity.
        log_r: ``(n,)`` nats, finite: the reference at its own draws.

    Raises:
        ValueError: where there are no draws, or shapes differ.
    """
    if log_p.shape != log_r.shape or log_p.ndim != 1 or log_p.numel() == 0:
        raise ValueError(
            f"log_p and log_r must hold one number for each of the same draws, at least one: got shapes "
            f"{tuple(log_p.shape)} and {tuple(log_r.shape)}."
        )
    return float((worth(log_p) - log_r.double()).sum())


def log_bet(log_p: Tensor, log_r: Tensor, stakes: Sequence[float] = STAKES) -> float:
    r"""The logarithm of another e-value of that claim: :math:`\prod_i (1 - s + s\,p(x_i) / r(x_i))`, averaged over s.

    Where p vanishes at a single draw the product of ratios is zero, and shows nothing. A bet that stakes a part s of
    what it has keeps the rest, and grows wherever the mean of the ratios is above one, however they spread.

    Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", 2024, arXiv:2010.09686.

    Args:
        log_p: ``(n,)`` nats; what is not finite is worth minus infinity.
        log_r: ``(n,)`` nats, finite: the reference at its own draws.
        stakes: above 0 and at most 1, where 1 is `log_e_value`.
    """
    ratio = worth(log_p) - log_r.double()
    return average([float(torch.logaddexp(_log(1 - s), math.log(s) + ratio).sum()) for s in stakes])


def _log(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64).log()


def average(log_e_values: Sequence[float]) -> float:
    """The logarithm of the mean of e-values, which is an e-value again, however they depend on each other.

    Raises:
        ValueError: where there are none.
    """
    if not log_e_values:
        raise ValueError("An average needs at least one e-value, got none.")
    return float(torch.tensor(log_e_values, dtype=torch.float64).logsumexp(0)) - math.log(len(log_e_values))


def p_value(log_e: float) -> float:
    """``min(1, 1 / e)``: a p-value, since an e-value exceeds ``1 / alpha`` with a probability of at most alpha.

    >>> round(p_value(math.log(1000.0)), 12)
    0.001
    >>> p_value(-3.0)
    1.0
    """
    return math.exp(-max(log_e, 0.0))


def monte_carlo_p_value(
    observed: float,
    simulate: Callable[[int], Tensor],
    *,
    most: int = 199_999,
    enough: int = 20,
    size: int = 2_000,
) -> float:
    """How probable a statistic at least as large as ``observed`` is, by simulation of the claim; valid at every level.

    Draws stop once ``enough`` of them are as large: the p-value is then ``enough`` over the draws it took, and
    otherwise ``(1 + those) / (1 + most)``. Either is at most alpha with a probability of at most alpha. What is
    plausible so costs some hundred draws, and what is not gets all of them.

    Source: Besag and Clifford, "Sequential Monte Carlo p-values", 1991.

    Args:
        observed: the statistic of the data; NaN counts as infinite.
        simulate: gives that many independent values of the statistic under the claim, ``(n,)``.
        most: how many draws at most; no p-value is below ``1 / (1 + most)``.
        enough: how many as large as observed end the search.
        size: draws in one call, at most.
    """
    observed = math.inf if math.isnan(observed) else observed
    slack = 1e-9 * max(1.0, abs(observed)) if math.isfinite(observed) else 0.0
    drawn = reached = 0
    while drawn < most:
        n = min(size, max(10 * enough, 3 * drawn), most - drawn)
        as_large = (simulate(n) >= observed - slack).cumsum(0)
        if reached + int(as_large[-1]) >= enough:
            return enough / (drawn + 1 + int((as_large < enough - reached).sum()))
        drawn, reached = drawn + n, reached + int(as_large[-1])
    return (1 + reached) / (1 + most)
