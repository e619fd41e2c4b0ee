"""A normalising flow of autoregressive splines."""

from __future__ import annotations

from typing import Annotated, final

import torch
from annotated_types import Ge
from torch import Tensor, nn

from torchstone.models.model import Budget, Continuous, Enumerable, ExplicitExact, Sampler, Space, Split, Trainable
from torchstone.models.randomness import generator, seeded
from torchstone.models.spaces import continuous_support, labels, narrowed, relax
from torchstone.models.training import minimise

__all__ = ["Flow"]

BOUND = 5.0  # the splines act on [-5, 5]


@final
class Flow(nn.Module, ExplicitExact, Sampler, Trainable, Enumerable):
    r"""Autoregressive rational-quadratic splines.

    .. math:: p(x) = p_0(f(x))\ |\det \partial f / \partial x|

    A bounded support is mapped to [-5, 5] by an affine map; the splines act there, and the base is uniform: no mass is
    lost outside. Data of an unbounded support are standardised, and the base is Gaussian.

    Reference: Durkan et al., "Neural Spline Flows", 2019.

    Args:
        space: data of any shape; discrete ones are modelled on ``Continuous(0, 1)``.
        transforms: how many splines are composed.
        width: features of each of the two hidden layers.
        bins: pieces of a spline.
        batch: examples in a minibatch.
        conditional: whether labels are given.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        space: Space,
        *,
        transforms: Annotated[int, Ge(1)] = 2,
        width: Annotated[int, Ge(1)] = 128,
        bins: Annotated[int, Ge(2)] = 16,
        batch: Annotated[int, Ge(1)] = 64,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        import zuko

        support, self.levels = continuous_support(space)
        self.space = narrowed(space, support, conditional)
        self.batch = batch
        classes = self.space.classes or 1
        splines = [
            zuko.flows.MaskedAutoregressiveTransform(
                space.dims,
                classes,
                order=torch.arange(space.dims) if index % 2 == 0 else torch.arange(space.dims).flip(0),
                univariate=zuko.transforms.MonotonicRQSTransform,
                shapes=[(bins,), (bins,), (bins - 1,)],
                hidden_features=(width, width),
            )
            for index in range(transforms)
        ]
        low = torch.full((space.dims,), -BOUND)
        if support.bounded:
            base = zuko.lazy.UnconditionalDistribution(zuko.distributions.BoxUniform, low, -low, buffer=True)
            self.edge = BOUND * (1 - 1e-6)  # the base is flat: this only undoes the rounding of z at the ends
            shift, scale = (support.low + support.high) / 2, (support.high - support.low) / (2 * BOUND)
        else:
            base = zuko.lazy.UnconditionalDistribution(zuko.distributions.DiagNormal, 0 * low, 0 * low + 1, buffer=True)
            self.edge, shift, scale = torch.inf, 0.0, 1.0
        self.flow = zuko.flows.Flow(splines, base)
        self.register_buffer("shift", torch.full((space.dims,), shift))
        self.register_buffer("scale", torch.full((space.dims,), scale))
        self.eval()

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The log-density of each example in nats, ``(N,)``."""
        assert isinstance(self.space.support, Continuous)
        inside = ((x >= self.space.support.low) & (x <= self.space.support.high)).flatten(1).all(1)
        flow = self.flow(self._context(y, len(x)))
        z, log_slope = flow.transform.call_and_ladj((x.flatten(1) - self.shift) / self.scale)
        log_density: Tensor = flow.base.log_prob(z.clamp(-self.edge, self.edge)) + log_slope
        outside = torch.where(inside, 0.0, torch.inf)
        return log_density - self.scale.log().sum() - outside

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator) -> Tensor:
        """``n`` events in the support, ``(n, *event)``."""
        assert isinstance(self.space.support, Continuous)
        with seeded(rng):
            z = self.flow(self._context(y, n)).sample()
        x: Tensor = (z * self.scale + self.shift).view(n, *self.space.event_shape)
        return x.clamp(self.space.support.low, self.space.support.high)

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Maximise the likelihood by gradient descent; discrete data are dequantised afresh in every minibatch."""
        support = self.space.support
        assert isinstance(support, Continuous)
        if not support.bounded:
            x = train.batch(0, len(train))[0].double().flatten(1)
            self.shift.copy_(x.mean(0))
            self.scale.copy_(x.std(0).clamp_min(1e-6))

        def nats(x: Tensor, y: Tensor | None) -> Tensor:
            return -self.log_prob(relax(x, support, self.levels, self.shift.dtype), y)

        minimise(self, nats, train, validation, budget, rng=rng, batch=self.batch, learning_rate=5e-3)

    def _context(self, y: Tensor | None, n: int) -> Tensor:
        """The class of each example, one-hot: what the splines depend on besides the dimensions before."""
        index = labels(self.space, y, n, self.shift.device)
        return nn.functional.one_hot(index, self.space.classes or 1).to(self.shift)

    @classmethod
    def tiny(cls) -> Flow:
        """Two continuous dimensions in the unit square."""
        with seeded(generator(0, "tiny")):
            return cls(Space((2,), Continuous(0.0, 1.0)), width=16, bins=4)
