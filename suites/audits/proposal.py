"""Reference densities fitted to points: a heavy-tailed one to integrate continuous densities by, and a light one."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from torchstone.models.model import Continuous

__all__ = ["Bell", "HeavyTails"]

FREEDOM = 5.0
SHARES = (0.3, 0.6, 0.1)  # of one wide Student, of many narrow ones, of the box
CENTRES = 64


@final
class HeavyTails:
    """A mixture of Student densities of five degrees of freedom, fitted to points, and of a uniform box.

    One Student has the mean and covariance of the points; as many narrower ones as there are centres, up to 64, sit on
    points; the box is the support, or, of an unbounded one, twice as far from the points' middle as they reach.

    Args:
        points: ``(m, D)`` float64, at least one; not those that the reference is to be judged by.
        support: of the density that is to be integrated.
    """

    def __init__(self, points: Tensor, support: Continuous) -> None:
        dims = points.shape[1]
        self.mean = points.mean(0)
        reach = (points - self.mean).abs().amax(0).clamp_min(1e-3)
        width = torch.full_like(reach, support.high - support.low) if support.bounded else reach
        centred = points - self.mean
        covariance = centred.T @ centred / max(1, len(points) - 1) + torch.diag((1e-3 * width) ** 2)
        self.factor: Tensor = torch.linalg.cholesky(covariance)
        self.centres = points[:: max(1, -(-len(points) // CENTRES))]
        self.narrow = self.factor * len(self.centres) ** (-1 / (dims + 4))
        if support.bounded:
            self.low, self.high = torch.full_like(reach, support.low), torch.full_like(reach, support.high)
        else:
            self.low, self.high = self.mean - 2 * reach, self.mean + 2 * reach

    def draw(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """``n`` independent points ``(n, D)``, float64, and their log-densities ``(n,)``."""
        dims = len(self.mean)
        part = torch.multinomial(torch.tensor(SHARES), n, replacement=True, generator=rng)[:, None]
        normal = torch.randn(n, dims, dtype=torch.float64, generator=rng)
        chi = torch.randn(n, int(FREEDOM), dtype=torch.float64, generator=rng).square().sum(1, keepdim=True)
        student = normal / (chi / FREEDOM).sqrt()
        centre = self.centres[torch.randint(len(self.centres), (n,), generator=rng)]
        box = self.low + (self.high - self.low) * torch.rand(n, dims, dtype=torch.float64, generator=rng)
        wide, narrow = self.mean + student @ self.factor.T, centre + student @ self.narrow.T
        x = torch.where(part == 0, wide, torch.where(part == 1, narrow, box))
        return x, self.log_density(x)

    def log_density(self, x: Tensor) -> Tensor:
        """``(n,)`` nats of points ``(n, D)``."""
        wide = _student(x - self.mean, self.factor)
        offsets = (x[:, None] - self.centres).flatten(0, 1)
        narrow = _student(offsets, self.narrow).view(len(x), -1).logsumexp(1) - math.log(len(self.centres))
        inside = ((x >= self.low) & (x <= self.high)).all(1)
        box = torch.where(inside, -(self.high - self.low).log().sum(), -math.inf)
        shares = torch.tensor(SHARES, dtype=torch.float64).log()
        mixed: Tensor = torch.logsumexp(torch.stack([wide, narrow, box]) + shares[:, None], 0)
        return mixed


@final
class Bell:
    """The Gaussian density with the mean and covariance of points: lighter than most, and close to many.

    Args:
        points: ``(m, D)`` float64, at least one; not those that the density is to be judged by.
    """

    def __init__(self, points: Tensor) -> None:
        self.mean = points.mean(0)
        centred = points - self.mean
        least = 1e-3 * centred.abs().amax(0).clamp_min(1e-3)
        self.factor: Tensor = torch.linalg.cholesky(centred.T @ centred / len(points) + torch.diag(least**2))

    def log_density(self, x: Tensor) -> Tensor:
        """``(n,)`` nats of points ``(n, D)``."""
        bell = MultivariateNormal(self.mean, scale_tril=self.factor, validate_args=False)
        log_p: Tensor = bell.log_prob(x)  # type: ignore[no-untyped-call]
        return log_p


def _student(offset: Tensor, factor: Tensor) -> Tensor:
    """The Student log-density of ``offset``, ``(n, D)``, with the Cholesky factor of its scale matrix."""
    dims = offset.shape[1]
    white = torch.linalg.solve_triangular(factor, offset.T, upper=False).square().sum(0)
    constant = (
        math.lgamma((FREEDOM + dims) / 2)
        - math.lgamma(FREEDOM / 2)
        - 0.5 * dims * math.log(FREEDOM * math.pi)
        - float(factor.diagonal().log().sum())
    )
    return constant - 0.5 * (FREEDOM + dims) * torch.log1p(white / FREEDOM)
