"""Flow matching along straight paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, final

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from torchstone.models.implicit.denoiser import Denoiser
from torchstone.models.implicit.scaling import Scaling
from torchstone.models.model import Budget, Continuous, ImplicitIterative, ModelError, Space, Split, Trainable
from torchstone.models.randomness import seeded
from torchstone.models.spaces import continuous_support, labels, narrowed, relax
from torchstone.models.training import minimise

__all__ = ["FlowMatching", "integrate"]

Solver = Literal["euler", "midpoint", "heun"]


def integrate(velocity: Callable[[Tensor, float], Tensor], x: Tensor, steps: int, solver: Solver) -> Tensor:
    """Follow ``dx/dt = velocity(x, t)`` from t = 0 to 1 in equal steps.

    Args:
        velocity: of all examples at one time.
        x: where they are at time 0, ``(N, dims)``.
        steps: how many.
        solver: ``euler`` asks once for each step and is of order 1; ``midpoint`` and ``heun`` ask twice, of order 2.
    """
    h = 1 / steps
    for step in range(steps):
        t = step * h
        slope = velocity(x, t)
        match solver:
            case "midpoint":
                slope = velocity(x + h / 2 * slope, t + h / 2)
            case "heun":
                slope = (slope + velocity(x + h * slope, t + h)) / 2
            case "euler":
                pass
        x = x + h * slope
    return x


@final
class FlowMatching(nn.Module, ImplicitIterative, Trainable):
    r"""A velocity field that carries Gaussian noise to the data.

    .. math:: x_t = (1 - t)\,x_0 + t\,x_1, \qquad \min\ E\,\lVert v(x_t, t) - x_1 + x_0 \rVert^2,\qquad x_0 \sim N(0, I)

    Samples solve :math:`dx/dt = v(x, t)` from noise at time 0 to time 1. The data are standardised for this, each
    dimension by its own mean and deviation. What ends outside of a bounded support is moved to its ends.

    References: Lipman et al., "Flow Matching for Generative Modeling", 2023, arXiv:2210.02747; Liu, Gong and Liu, "Flow
    Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow", 2022, arXiv:2209.03003.

    Args:
        space: data of any shape; discrete ones are modelled on ``Continuous(0, 1)``, with uniform noise in training.
        steps: how many the solver takes where none are asked for.
        solver: ``euler`` evaluates the network once for each step, ``midpoint`` and ``heun`` twice.
        width: features of the hidden layers.
        blocks: how many residual perceptrons.
        dropout: probability of dropping a feature in training.
        batch: examples in a minibatch.
        conditional: whether labels are given.
    """

    def __init__(
        self,
        space: Space,
        *,
        steps: Annotated[int, Ge(1)] = 25,
        solver: Solver = "midpoint",
        width: Annotated[int, Ge(1)] = 256,
        blocks: Annotated[int, Ge(1)] = 3,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1,
        batch: Annotated[int, Ge(1)] = 256,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        support, self.levels = continuous_support(space)
        self.space = narrowed(space, support, conditional)
        self.steps, self.solver, self.batch = steps, solver, batch
        self.scaling = Scaling(space.dims, support)
        self.network = Denoiser(
            space.dims, space.dims, self.space.classes or 1, width=width, blocks=blocks, dropout=dropout
        )
        self.eval()

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator, steps: int | None = None) -> Tensor:
        """``n`` events in the support, ``(n, *event)``."""
        count, scale = self.steps if steps is None else steps, self.scaling.scale
        if count < 1:
            raise ModelError(f"steps={count} is too few: pass at least 1.")
        label = labels(self.space, y, n, scale.device)

        def velocity(x: Tensor, t: float) -> Tensor:
            predicted: Tensor = self.network(x, torch.full((n,), t).to(x), label)
            return predicted

        noise = torch.randn((n, self.space.dims), generator=rng, device=rng.device).to(scale)
        x = integrate(velocity, noise, count, self.solver)
        return self.scaling.inverse(x).view(n, *self.space.event_shape)

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Minimise the squared error of the velocity; discrete data are dequantised afresh in every minibatch."""
        support = self.space.support
        assert isinstance(support, Continuous)
        with seeded(rng):
            u = relax(train.batch(0, len(train))[0], support, self.levels, torch.float64)
        self.scaling.fit(u)

        def squares(x: Tensor, y: Tensor | None) -> Tensor:
            data = relax(x, support, self.levels, self.scaling.scale.dtype)
            time = (torch.arange(len(x)) + torch.rand(len(x))) / len(x)
            return self.squared_error(data, y, torch.randn_like(data.flatten(1)), time.to(data))

        minimise(self, squares, train, validation, budget, rng=rng, batch=self.batch, learning_rate=4e-3)

    def squared_error(self, u: Tensor, y: Tensor | None, noise: Tensor, time: Tensor) -> Tensor:
        """That of the velocity on the way from ``noise`` ``(N, dims)`` to examples ``u``, summed over dimensions."""
        data = self.scaling(u)
        between = torch.lerp(noise, data, time[:, None])
        predicted: Tensor = self.network(between, time, labels(self.space, y, len(u), data.device))
        error: Tensor = (predicted - (data - noise)).square().sum(1)
        return error
