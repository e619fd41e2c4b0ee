"""Bounds on log-densities from importance weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import torch
from torch import Tensor

__all__ = ["RUNGS", "Ladder", "LogMeanExp", "Rung", "effective_samples", "importance_weighted_bound"]

RUNGS = (1, 10, 100, 1000, 5000)


def importance_weighted_bound(log_weights: Tensor, dim: int = 0) -> Tensor:
    """``ln (1/K) sum_k w_k`` over the K weights along ``dim``, in float64: a lower bound on ``ln p(x)`` in expectation.

    With ``log w = log p(x|z) + log p(z) - log q(z|x)`` and ``z ~ q(z|x)`` it is the ELBO at K = 1, and rises with K.
    Weights of zero (``-inf``) are legitimate; NaN stays NaN.

    Source: Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016; arXiv:1509.00519).

    Raises:
        ValueError: where there are no weights.

    >>> float(importance_weighted_bound(torch.tensor([0.0, 0.0, 0.0])))
    0.0
    """
    count = log_weights.shape[dim]
    if count == 0:
        raise ValueError(f"Expected at least one log-weight along dim {dim}, got shape {tuple(log_weights.shape)}.")
    return log_weights.double().logsumexp(dim) - math.log(count)


def effective_samples(log_weights: Tensor, dim: int = 0) -> Tensor:
    """The effective sample size ``(sum w)^2 / sum w^2`` along ``dim``: from 1 to K, or 0 where all weights are zero.

    Source: Sequential Imputations and Bayesian Missing Data Problems (Kong, Liu and Wong, 1994).

    >>> float(effective_samples(torch.tensor([0.0, 0.0, -math.inf])))
    2.0
    """
    log_w = log_weights.double()
    log_sum = log_w.logsumexp(dim)
    return torch.where(log_sum == -math.inf, 0.0, (2 * log_sum - (2 * log_w).logsumexp(dim)).exp())


@final
class LogMeanExp:
    """The same bound for weights that arrive in pieces, with memory for one number per example.

    >>> running = LogMeanExp(examples=2)
    >>> running.add(torch.zeros(3, 2))
    >>> running.value.tolist()
    [0.0, 0.0]
    """

    def __init__(self, examples: int) -> None:
        self._log_sum = torch.full((examples,), -math.inf, dtype=torch.float64)
        self._count = 0

    def add(self, log_weights: Tensor) -> None:
        """Take in more weights, shape ``(k, examples)``."""
        self._log_sum = torch.logaddexp(self._log_sum, log_weights.double().logsumexp(0))
        self._count += log_weights.shape[0]

    @property
    def value(self) -> Tensor:
        """``(examples,)`` nats. Raises ValueError before the first weight."""
        if self._count == 0:
            raise ValueError("No weights have been added yet: add some before asking for the value.")
        return self._log_sum - math.log(self._count)


@final
@dataclass(frozen=True, slots=True)
class Rung:
    """The bound of one number of samples, for each example.

    Attributes:
        samples: K.
        groups: over how many disjoint groups of K weights everything below is a mean.
        bound: ``(N,)`` nats, an estimate of ``L_K = E ln (1/K) sum_k w_k``.
        variance: ``(N,)``, of ``bound`` as an estimate of ``L_K``: from the spread of the groups where there are two or
            more, from the weights (``1/ESS - 1/K``, the delta method) where there is one. NaN for one group of one, and
            where a bound is infinite.
        effective_samples: ``(N,)``, ``(sum w)^2 / sum w^2`` of a group, between 1 and K.
        largest_weight: ``(N,)``, the largest share of a single weight in its group.
    """

    samples: int
    groups: int
    bound: Tensor
    variance: Tensor
    effective_samples: Tensor
    largest_weight: Tensor


@final
class Ladder:
    """Importance-weighted bounds for several numbers of samples from one nested set of weights.

    Each rung averages over all disjoint groups of the same weights, so that, by Jensen's inequality, no example's bound
    is ever below that of the rung before. Weights may arrive in pieces of any size: groups are built from the groups
    of the rung before, and memory is a few numbers per example and rung, beside the piece that is being added.
    ``-inf`` (a weight of zero) is legitimate; NaN stays NaN.

    Source: Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016; arXiv:1509.00519).

    Args:
        examples: the number N.
        rungs: the numbers of samples K, each a divisor of the next.

    Raises:
        ValueError: where a rung does not divide the next.

    >>> ladder = Ladder(examples=2, rungs=(1, 4))
    >>> ladder.add(torch.tensor([[0.0, 1.0]] * 4))
    >>> [rung.bound.round(decimals=9).tolist() for rung in ladder.climb()]
    [[0.0, 1.0], [0.0, 1.0]]
    """

    def __init__(self, examples: int, rungs: tuple[int, ...] = RUNGS) -> None:
        if not rungs or rungs[0] < 1 or any(b <= a or b % a for a, b in pairwise(rungs)):
            raise ValueError(
                f"The rungs of a ladder rise, and each divides the next, got {rungs}: choose such as {RUNGS}."
            )
        self._levels = [_Level(b, b // a, examples) for a, b in pairwise((1, *rungs))]
        self._added = 0

    def add(self, log_weights: Tensor) -> None:
        """Take in more weights, shape ``(k, examples)``."""
        log_w = log_weights.double()
        one = torch.ones_like(log_w)
        groups = _Groups(log_w, one, one)
        for level in self._levels:
            groups = level.add(groups)
        self._added += log_w.shape[0]

    def climb(self) -> tuple[Rung, ...]:
        """Every rung, from the lowest.

        Raises:
            ValueError: where the weights so far do not make whole groups of the highest rung.
        """
        top = self._levels[-1].samples
        if self._added == 0 or self._added % top:
            raise ValueError(
                f"A ladder to {top} samples needs {top} weights per example, or a multiple of that, and was given "
                f"{self._added}: add {-self._added % top or top} more."
            )
        return tuple(level.rung() for level in self._levels)


@final
@dataclass(frozen=True, slots=True)
class _Groups:
    """Groups of weights, ``(g, N)``: the logarithm of the largest, and sums of ``w`` and ``w^2`` in units of it."""

    log_largest: Tensor
    total: Tensor
    squares: Tensor

    def __len__(self) -> int:
        return self.total.shape[0]

    def __getitem__(self, rows: slice) -> _Groups:
        return _Groups(self.log_largest[rows], self.total[rows], self.squares[rows])

    def joined(self, size: int) -> _Groups:
        """Each ``size`` consecutive groups made one."""
        if size == 1:
            return self
        each = self.log_largest.reshape(-1, size, self.log_largest.shape[1])
        log_largest = each.amax(1)
        unit = (each - log_largest.masked_fill(log_largest == -math.inf, 0.0)[:, None]).exp()
        total = (self.total.reshape(unit.shape) * unit).sum(1)
        return _Groups(log_largest, total, (self.squares.reshape(unit.shape) * unit.square_()).sum(1))

    def followed_by(self, other: _Groups) -> _Groups:
        """These groups, then the others."""
        if len(self) == 0:
            return other
        return _Groups(
            torch.cat([self.log_largest, other.log_largest]),
            torch.cat([self.total, other.total]),
            torch.cat([self.squares, other.squares]),
        )


@final
class _Level:
    """One rung in the making: the group that is not yet whole, and the running moments of those that are."""

    def __init__(self, samples: int, ratio: int, examples: int) -> None:
        self.samples, self._ratio = samples, ratio
        none = torch.empty(0, examples, dtype=torch.float64)
        self._begun, self._have = _Groups(none, none, none), 0
        self._groups = 0
        self._mean, self._spread, self._effective, self._largest = torch.zeros(4, examples, dtype=torch.float64)

    def add(self, below: _Groups) -> _Groups:
        """Take in groups of the rung below; the groups of this rung that they complete."""
        complete = below[:0]
        if self._have and self._have + len(below) >= self._ratio:
            missing = self._ratio - self._have
            complete = self._begun.followed_by(below[:missing]).joined(len(self._begun) + missing)
            self._begun, self._have, below = self._begun[:0], 0, below[missing:]
        rest = (self._have + len(below)) % self._ratio if self._have == 0 else len(below)
        whole = len(below) - rest
        if whole:
            complete = complete.followed_by(below[:whole].joined(self._ratio))
        if rest:
            begun = self._begun.followed_by(below[whole:])
            self._begun, self._have = begun.joined(len(begun)), self._have + rest
        if len(complete):
            self._count(complete)
        return complete

    def _count(self, groups: _Groups) -> None:
        """Update means, and squared deviations by the parallel formula of Chan, Golub and LeVeque (1979)."""
        bounds = groups.log_largest + groups.total.log() - math.log(self.samples)
        seen, new = self._groups, len(groups)
        mean, share = bounds.mean(0), new / (seen + new)
        self._spread = self._spread + ((bounds - mean) ** 2).sum(0) + (mean - self._mean) ** 2 * (seen * share)
        self._mean = mean if seen == 0 else (1 - share) * self._mean + share * mean
        nothing = groups.total == 0
        effective = (groups.total**2 / groups.squares).masked_fill(nothing, 0.0).mean(0)
        largest = (1 / groups.total).masked_fill(nothing, 1.0).mean(0)
        self._effective = self._effective + (effective - self._effective) * share
        self._largest = self._largest + (largest - self._largest) * share
        self._groups = seen + new

    def rung(self) -> Rung:
        if self._groups > 1:
            variance = self._spread / (self._groups - 1) / self._groups
        else:
            by_weights = (1 / self._effective - 1 / self.samples).clamp_min(0)
            variance = torch.where(self._mean.isfinite() & (self.samples > 1), by_weights, math.nan)
        return Rung(self.samples, self._groups, self._mean, variance, self._effective, self._largest)
