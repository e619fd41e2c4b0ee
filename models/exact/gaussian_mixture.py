"""Mixtures of Gaussians, fitted by scikit-learn."""

from __future__ import annotations

import math
import warnings
from typing import Annotated, final

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from torchstone.models.model import (
    Budget,
    Continuous,
    Discrete,
    Enumerable,
    ExplicitExact,
    ModelError,
    Sampler,
    Space,
    Split,
    Trainable,
)
from torchstone.models.randomness import draw, generator
from torchstone.models.sampling import choose
from torchstone.models.spaces import labels, narrowed

__all__ = ["GaussianMixture"]

FLOORS = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1)


@final
class GaussianMixture(nn.Module, ExplicitExact, Sampler, Trainable, Enumerable):
    r"""A mixture of Gaussians with full covariances.

    .. math:: p(x \mid y) = \sum_k \pi_{yk} N(x;\ \mu_{yk},\ L_{yk} L_{yk}^T)

    Args:
        space: continuous data of any shape.
        components: how many, for each class where conditional.
        conditional: whether every class has a mixture of its own.
    """

    def __init__(self, space: Space, *, components: Annotated[int, Ge(1)] = 10, conditional: bool = False) -> None:
        super().__init__()
        if isinstance(space.support, Discrete):
            raise ModelError("A mixture of Gaussians applies to continuous data: take model=mixture for discrete ones.")
        self.space = narrowed(space, space.support, conditional)
        shape = (self.space.classes or 1, components, space.dims)
        self.weights = nn.Parameter(torch.zeros(shape[:2]))
        self.means = nn.Parameter(torch.zeros(shape))
        self.factors = nn.Parameter(torch.eye(space.dims).repeat(*shape[:2], 1, 1))
        self.eval()

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The log-density of each example in nats, ``(N,)``."""
        index = labels(self.space, y, len(x), x.device)
        rows = index[:1] if self.space.classes is None else index
        densities = MultivariateNormal(self.means[rows], scale_tril=self.factors[rows])
        within: Tensor = densities.log_prob(x.flatten(1)[:, None])  # type: ignore[no-untyped-call]
        return (self.weights.log_softmax(-1)[rows] + within).logsumexp(-1)

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator) -> Tensor:
        """``n`` events, ``(n, *event)``; tails outside of a bounded support are moved to its ends."""
        assert isinstance(self.space.support, Continuous)
        index = labels(self.space, y, n, self.means.device)
        component = choose(self.weights[index], rng)
        density = MultivariateNormal(self.means[index, component], scale_tril=self.factors[index, component])
        x = draw(density, rng).view(n, *self.space.event_shape)
        return x.clamp(self.space.support.low, self.space.support.high)

    @torch.no_grad()
    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """EM of each class by scikit-learn; the floor under the variances is the best on ``validation``."""
        x, y = train.batch(0, len(train))
        index = labels(self.space, y, len(x), x.device)
        scale = float(x.double().var())
        seed = int(torch.randint(2**31 - 1, (), generator=rng))
        best, state = math.inf, {name: value.clone() for name, value in self.state_dict().items()}
        for floor in FLOORS:
            for label in range(len(self.weights)):
                self._fit_class(label, x[index == label].flatten(1), scale * floor, budget.steps, seed)
            nats = -float(self.log_prob(*self._batch(validation)).double().mean())
            if nats < best:
                best, state = nats, {name: value.clone() for name, value in self.state_dict().items()}
        self.load_state_dict(state)

    def _batch(self, split: Split) -> tuple[Tensor, Tensor | None]:
        x, y = split.batch(0, len(split))
        return x.to(self.means), y

    def _fit_class(self, label: int, x: Tensor, floor: float, steps: int, seed: int) -> None:
        from sklearn import exceptions, mixture  # takes a second

        if len(x) < self.weights.shape[1]:
            raise ModelError(f"{len(x)} examples cannot make {self.weights.shape[1]} Gaussians: lower components.")
        fitted = mixture.GaussianMixture(
            self.weights.shape[1], reg_covar=floor, max_iter=min(steps, 200), random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", exceptions.ConvergenceWarning)  # a small budget is meant to stop early
            fitted.fit(x.double().numpy())
        self.weights[label] = torch.as_tensor(fitted.weights_).log()
        self.means[label] = torch.as_tensor(fitted.means_)
        self.factors[label] = torch.linalg.cholesky(torch.as_tensor(fitted.covariances_))

    @classmethod
    def tiny(cls) -> GaussianMixture:
        """Two continuous dimensions and two components."""
        model = cls(Space((2,), Continuous(-math.inf, math.inf)), components=2)
        nn.init.normal_(model.means, generator=generator(0, "tiny"))
        return model
