"""Probabilistic principal component analysis, in closed form."""

from __future__ import annotations

import math
from typing import Annotated, final

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.distributions import LowRankMultivariateNormal

from torchstone.models.model import Budget, Continuous, Enumerable, ExplicitExact, Sampler, Space, Split, Trainable
from torchstone.models.randomness import draw, generator
from torchstone.models.spaces import continuous_support, labels, narrowed

__all__ = ["LinearGaussian"]


@final
class LinearGaussian(nn.Module, ExplicitExact, Sampler, Trainable, Enumerable):
    r"""A linear map of Gaussian latents with isotropic noise: :math:`x = W z + \mu_y + \sigma \epsilon`.

    .. math:: p(x \mid y) = N(x;\ \mu_y,\ W W^T + \sigma^2 I)

    Given the covariance of the data, with eigenvalues :math:`\lambda_1 \ge \lambda_2 \ge \dots` and eigenvectors
    :math:`v_j`, the likelihood is largest at :math:`\sigma^2 = \frac{1}{D - q} \sum_{j > q} \lambda_j` and
    :math:`w_j = \sqrt{\lambda_j - \sigma^2}\, v_j`. Discrete data are dequantised by uniform noise, whose mean and
    covariance are known, so that no noise is drawn.

    Reference: Tipping and Bishop, "Probabilistic Principal Component Analysis", 1999.

    Args:
        space: data of any shape; discrete ones are modelled on ``Continuous(0, 1)``.
        latents: the number q of latents, below the number of dimensions (None: chosen on the validation split).
        conditional: whether every class has a mean of its own; W and the noise are shared by all.
    """

    def __init__(
        self, space: Space, *, latents: Annotated[int, Ge(0)] | None = None, conditional: bool = False
    ) -> None:
        super().__init__()
        support, self.levels = continuous_support(space)
        self.space = narrowed(space, support, conditional)
        most = min(space.dims - 1, 512 if latents is None else latents)
        self.candidates = range(0 if latents is None else most, most + 1)
        self.mean = nn.Parameter(torch.zeros(self.space.classes or 1, space.dims))
        self.weight = nn.Parameter(torch.zeros(space.dims, max(1, most)))
        self.log_variance = nn.Parameter(torch.zeros(()))
        self.eval()

    def _density(self, y: Tensor | None, n: int) -> LowRankMultivariateNormal:
        mean = self.mean[labels(self.space, y, n, self.mean.device)]
        return LowRankMultivariateNormal(mean, self.weight, self.log_variance.exp().expand(mean.shape[-1]))

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The log-density of each example in nats, ``(N,)``."""
        return self._density(y, len(x)).log_prob(x.flatten(1))  # type: ignore[no-any-return, no-untyped-call]

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator) -> Tensor:
        """``n`` events, ``(n, *event)``; the Gaussian's tails outside of a bounded support are moved to its ends."""
        support = self.space.support
        assert isinstance(support, Continuous)
        x = draw(self._density(y, n), rng).view(n, *self.space.event_shape)
        return x.clamp(support.low, support.high)

    @torch.no_grad()
    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Decompose the covariance of ``train``; the number of latents is the best on ``validation``."""
        mean = self._class_means(train)
        values, vectors = torch.linalg.eigh(self._covariance(train, mean))
        values, vectors = values.flip(0).clamp_min(1e-8 * float(values.max())), vectors.flip(1)
        held_out = (vectors * (self._covariance(validation, mean) @ vectors)).sum(0)
        q = min(self.candidates, key=lambda q: _expected_nats(q, values, held_out))
        variance = float(values[q:].mean())
        self.mean.copy_(mean)
        self.log_variance.fill_(math.log(variance))
        self.weight.zero_()
        self.weight[:, :q] = (values[:q] - variance).clamp_min(0).sqrt() * vectors[:, :q]

    def _moments(self, split: Split) -> tuple[Tensor, Tensor]:
        """The data dequantised by the mean of the noise, float64, and the class of each example."""
        x, y = split.batch(0, len(split))
        u = x.double().flatten(1)
        if self.levels is not None:
            u = (u + 0.5) / self.levels
        return u, labels(self.space, y, len(u), u.device)

    def _class_means(self, split: Split) -> Tensor:
        u, y = self._moments(split)
        sums = u.new_zeros(self.mean.shape).index_add_(0, y, u)
        return sums / y.bincount(minlength=len(sums)).clamp_min(1)[:, None]

    def _covariance(self, split: Split, mean: Tensor) -> Tensor:
        """Second moments about the class means, the variance 1/12 of the noise included."""
        u, y = self._moments(split)
        centred = u - mean[y]
        noise = 0.0 if self.levels is None else 1 / (12 * self.levels**2)
        return centred.T @ centred / len(u) + noise * torch.eye(u.shape[1], dtype=u.dtype)

    @classmethod
    def tiny(cls) -> LinearGaussian:
        """Two continuous dimensions and one latent."""
        model = cls(Space((2,), Continuous(-math.inf, math.inf)))
        for parameter in model.parameters():
            nn.init.normal_(parameter, generator=generator(0, "tiny"))
        return model


def _expected_nats(q: int, values: Tensor, held_out: Tensor) -> float:
    """The expected NLL, up to a constant, of data with variances ``held_out`` along the eigenvectors."""
    model = values.clone()
    model[q:] = values[q:].mean()
    return float((model.log() + held_out / model).sum())
