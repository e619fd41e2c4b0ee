"""Whether values follow the conditional distributions that they are said to come from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.suites.metrics.evidence import average, monte_carlo_p_value

__all__ = ["Slices", "kolmogorov_p_value"]

MOST_DRAWS, LEAST_DRAWS, WORK = 199_999, 49_999, 2e7
POWERS = (0.5, 0.8, 0.9, 1.1, 1.25, 2.0)


@final
@dataclass(frozen=True)
class Slices:
    """Independent values, each with the distribution of its own that it is said to follow.

    Attributes:
        probabilities: ``(n, cells)``, each row a distribution.
        scores: ``(n, cells)`` nats: the log-probability of a cell, or its log-density; anything where it is impossible.
        index: ``(n,)``, the cell that each value fell in.
    """

    probabilities: Tensor
    scores: Tensor
    index: Tensor

    @property
    def certain(self) -> bool:
        """Whether every value is the only possible one, so that there is nothing to see."""
        own = self.probabilities.gather(1, self.index[:, None])
        return bool((own > 1 - 1e-12).all())

    def transforms(self, rng: torch.Generator) -> Tensor:
        """Randomised probability integral transforms, ``(n,)``: independent and uniform where the claim holds."""
        own = self.probabilities.gather(1, self.index[:, None])[:, 0]
        below = self.probabilities.cumsum(1).gather(1, self.index[:, None])[:, 0] - own
        return (below + own * torch.rand(len(own), dtype=torch.float64, generator=rng)).clamp(0, 1)

    def statistic(self, index: Tensor | None = None) -> Tensor:
        r"""``Z = sum (s(x) - E s) / sqrt(sum Var s)`` for the values, or for others, ``(n, k)``: ``(k,)``.

        Above 0 where values are more probable than they should be (too cold a sampler), below 0 where they are less.
        Zero where no distribution has any spread; minus infinity where a value is impossible.
        """
        chosen = self.index[:, None] if index is None else index
        possible = self.probabilities > 0
        scores = torch.where(possible, self.scores, 0.0)
        mean = (self.probabilities * scores).sum(1, keepdim=True)
        spread = float((self.probabilities * (scores - mean).square()).sum().sqrt())
        sums = torch.where(possible, scores - mean, -math.inf).gather(1, chosen).sum(0)
        return sums / spread if spread > 1e-9 else torch.where(sums == -math.inf, sums, 0.0)

    def log_tempered(self, powers: Sequence[float] = POWERS) -> float:
        """The logarithm of an e-value: the values under powers of their distributions, against the distributions.

        It is one as well where each distribution depends on the values before it.
        """
        log_p = torch.where(self.probabilities > 0, self.probabilities.log(), -math.inf)
        own = log_p.gather(1, self.index[:, None])[:, 0]
        if not bool(own.isfinite().all()):
            return math.inf
        return average([float(((power - 1) * own - (power * log_p).logsumexp(1)).sum()) for power in powers])

    def p_value(self, rng: torch.Generator) -> float:
        """The two-sided p-value of Z against its own law, from values drawn anew; Z is not normal for peaked rows."""
        cumulative = self.probabilities.cumsum(1).contiguous()
        last = (self.probabilities > 0).long().cumsum(1).argmax(1, keepdim=True)
        n = len(cumulative)

        def simulate(count: int) -> Tensor:
            uniform = torch.rand(n, count, dtype=torch.float64, generator=rng)
            return self.statistic(torch.searchsorted(cumulative, uniform, right=True).minimum(last)).abs()

        most = int(min(MOST_DRAWS, max(LEAST_DRAWS, WORK / n)))
        observed = abs(float(self.statistic()))
        return monte_carlo_p_value(observed, simulate, most=most, size=max(100, min(2000, 2**19 // n)))


def kolmogorov_p_value(transforms: Tensor) -> float:
    """The exact p-value of the largest distance of the empirical distribution from the uniform one on [0, 1]."""
    from scipy.stats import kstest  # takes a second

    return float(kstest(transforms.numpy(), "uniform").pvalue)
