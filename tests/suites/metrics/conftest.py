"""What the tests of the metrics share: a linear Gaussian model, every number of which has a closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

F64 = torch.float64


class LinearGaussian:
    """x = W z + b + noise of variance 1/4; two latents, three dimensions, and one example x."""

    w = torch.tensor([[1.0, 0.5], [-0.3, 0.8], [0.2, -1.1]], dtype=F64)
    b = torch.tensor([0.1, -0.2, 0.3], dtype=F64)
    x = torch.tensor([0.9, -0.4, 1.2], dtype=F64)
    variance = 0.25
    log_p = -3.545899506493611

    def log_prior(self, z: Tensor) -> Tensor:
        return -0.5 * z.square().sum(-1) - math.log(2 * math.pi)

    def log_likelihood(self, z: Tensor) -> Tensor:
        residual = self.x - self.b - z @ self.w.T
        return -0.5 * residual.square().sum(-1) / self.variance - 1.5 * math.log(2 * math.pi * self.variance)

    def tempered(self, t: float) -> tuple[Tensor, Tensor]:
        """Mean and covariance of ``p(z) p(x|z)^t``, normalised."""
        covariance = torch.linalg.inv(torch.eye(2, dtype=F64) + t * self.w.T @ self.w / self.variance)
        return covariance @ (t * self.w.T @ (self.x - self.b) / self.variance), covariance

    def draws(self, t: float, n: int, rng: torch.Generator) -> Tensor:
        """Exact draws from it, ``(n, 2)``."""
        mean, covariance = self.tempered(t)
        return mean + torch.randn(n, 2, generator=rng, dtype=F64) @ torch.linalg.cholesky(covariance).T

    def expected_log_likelihood(self, mean: Tensor, covariance: Tensor) -> float:
        """Of Gaussian latents."""
        spread = float((self.w @ covariance @ self.w.T).trace())
        return float(self.log_likelihood(mean)) - 0.5 * spread / self.variance

    def elbo(self, mean: Tensor, variances: Tensor) -> float:
        """Of a Gaussian posterior with independent latents."""
        rate = 0.5 * float((mean**2 + variances - 1 - variances.log()).sum())
        return self.expected_log_likelihood(mean, variances.diag()) - rate


@pytest.fixture
def linear_gaussian() -> LinearGaussian:
    return LinearGaussian()
