"""Sources whose density and entropy are known exactly, and the same examples drawn from them on every machine."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from functools import cached_property
from typing import Annotated, final

import numpy as np
import torch
from annotated_types import Interval
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor
from torch.nn.functional import logsigmoid

from torchstone.models.model import Continuous, Discrete, Space, Split
from torchstone.suites.data.dataset import Dataset, Source

__all__ = [
    "FINGERPRINTS",
    "Bernoulli",
    "Ising",
    "LinearGaussian",
    "Markov",
    "Mixture",
    "bernoulli",
    "ising",
    "linear_gaussian",
    "markov",
    "mixture",
    "truth",
]

FINGERPRINTS = {
    "bernoulli": "7ca83801eb23dd3e15b54207b033ba6fed41aea498da96987981d7537e6901c6",
    "ising": "edf546f560149c8cdf5734d49c2ba7f37de62f40742a0dda25acb6b94c4afece",
    "linear_gaussian": "1a7f53543f8f3ea221a59c0e9104df4eca9412cc0db7ea70c8565bbb27cb5dbb",
    "markov": "05f6fc7d577c3c31ba1c5dc86b150957fb4499e495b039828835834019be6b15",
    "mixture": "f365a2977a239b250a1f3d7c297d082d3b092dcdf88579129d185d02cd9eb883",
}
"""The fingerprint of each dataset of this file with its default settings, the same on every machine."""

_REAL_LINE = Continuous(-math.inf, math.inf)
_SIZES = {"train": 8000, "validation": 1000, "test": 2000}


class _Drawn(Source):
    """A source that turns uniform random numbers into examples by inverting distribution functions.

    Attributes:
        uniforms: how many uniform numbers make one example.
    """

    uniforms: int

    @abstractmethod
    def examples(self, u: Tensor) -> Tensor:
        """Map uniforms, ``(N, uniforms)`` in float64 and strictly between 0 and 1, to examples ``(N, *event)``."""

    @abstractmethod
    def log_density(self, x: Tensor) -> Tensor:
        """The log-density ``(N,)`` in float64 of examples that are known to lie in the support."""

    @final
    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Exact log-density in nats, float64, ``(N,)``; minus infinity outside the support."""
        support = self.space.support
        if isinstance(support, Discrete):
            inside = (x >= 0) & (x < support.levels) & (x == x.floor() if x.is_floating_point() else True)
            x = torch.where(inside, x, 0).long()
        else:
            inside = x.isfinite()
            x = torch.where(inside, x, 0).double()
        return self.log_density(x).masked_fill(~inside.flatten(1).all(1), -math.inf)

    @final
    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator) -> Tensor:
        """``n`` independent exact draws on the device of ``rng``."""
        bits = torch.randint(2**52, (n, self.uniforms), generator=rng, device=rng.device)
        return self.examples(_open_interval(bits))


@final
class Bernoulli(_Drawn):
    """Four bits, each a logistic function of those before it: ``P(x_i = 1 | x_<i) = sigmoid(b_i + sum_j W_ij x_j)``."""

    space = Space((4,), Discrete(2))
    uniforms = 4
    bias = torch.tensor([0.2, -0.5, 0.3, -0.1], dtype=torch.float64)
    weight = torch.tensor(
        [[0.0, 0.0, 0.0, 0.0], [1.2, 0.0, 0.0, 0.0], [-0.7, 0.9, 0.0, 0.0], [0.4, -1.1, 0.6, 0.0]], dtype=torch.float64
    )

    def log_density(self, x: Tensor) -> Tensor:
        """Sum of the four conditional log-probabilities."""
        sign = 2.0 * x - 1.0
        return logsigmoid(sign * self._logits(x.double())).sum(1)

    def examples(self, u: Tensor) -> Tensor:
        """One bit after the other."""
        x = torch.zeros_like(u)
        for i in range(4):
            x[:, i] = (u[:, i] < torch.sigmoid(self._logits(x)[:, i])).double()
        return x.long()

    @cached_property
    def entropy(self) -> float:
        """By enumeration of the 16 states."""
        states = torch.tensor(list(itertools.product((0, 1), repeat=4)))
        log_p = self.log_prob(states)
        return -float((log_p.exp() * log_p).sum())

    def _logits(self, x: Tensor) -> Tensor:
        return self.bias.to(x.device) + (x[:, None, :] * self.weight.to(x.device)).sum(2)


@final
class Markov(_Drawn):
    """A chain of three states that starts away from its stationary distribution.

    Args:
        length: how many states make one example.
    """

    initial = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    transition = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.25, 0.25, 0.5]], dtype=torch.float64)

    def __init__(self, length: int) -> None:
        self.space = Space((length,), Discrete(3))
        self.uniforms = length

    def log_density(self, x: Tensor) -> Tensor:
        """Log-probability of the first state and of every transition."""
        first, steps = self.initial.log().to(x.device), self.transition.log().to(x.device)
        return first[x[:, 0]] + steps[x[:, :-1], x[:, 1:]].sum(1)

    def examples(self, u: Tensor) -> Tensor:
        """One state after the other, each by inversion of its cumulative distribution."""
        first, steps = self.initial.cumsum(0).to(u.device), self.transition.cumsum(1).to(u.device)
        states = [(u[:, :1] > first[:-1]).sum(1)]
        for t in range(1, self.uniforms):
            states.append((u[:, t, None] > steps[states[-1], :-1]).sum(1))
        return torch.stack(states, 1)

    @cached_property
    def entropy(self) -> float:
        """``H(x_1) + sum_t H(x_t | x_t-1)``, in closed form."""
        rows = -(self.transition * self.transition.log()).sum(1)
        total, marginal = -float(self.initial @ self.initial.log()), self.initial
        for _ in range(self.uniforms - 1):
            total += float(marginal @ rows)
            marginal = marginal @ self.transition
        return total


@final
class Ising(_Drawn):
    """A square of spins with free boundary: ``p(s) = exp(J sum_<ij> s_i s_j + h sum_i s_i) / Z``; level 1 is spin +1.

    Everything is exact by a transfer matrix that adds one spin at a time, in raster order. The state is the last
    ``side`` spins as bits, the newest lowest: the spin to the left is the lowest bit, the one above the highest.

    Args:
        side: spins along one side.
        coupling: J.
        field: h.
    """

    def __init__(self, side: int, coupling: float, field: float) -> None:
        self.space = Space((side, side), Discrete(2))
        self.uniforms = side * side
        self.side, self.coupling, self.field = side, coupling, field

    def log_density(self, x: Tensor) -> Tensor:
        """The Boltzmann factor over the partition function."""
        s = 2.0 * x.double() - 1.0
        bonds = (s[:, 1:] * s[:, :-1]).sum((1, 2)) + (s[:, :, 1:] * s[:, :, :-1]).sum((1, 2))
        return self.coupling * bonds + self.field * s.sum((1, 2)) - self.log_partition

    def examples(self, u: Tensor) -> Tensor:
        """One spin after the other, given the last ``side`` spins."""
        logits = self._recursion[0].to(u.device)
        state = torch.zeros(len(u), dtype=torch.int64, device=u.device)
        spins = []
        for k in range(self.uniforms):
            spins.append((u[:, k] < torch.sigmoid(logits[k, state])).long())
            state = (2 * state + spins[-1]).remainder(2**self.side)
        return torch.stack(spins, 1).reshape(-1, self.side, self.side)

    @cached_property
    def log_partition(self) -> float:
        """``ln Z``."""
        return self._recursion[1]

    @cached_property
    def entropy(self) -> float:
        """By the same recursion as the partition function."""
        return self._recursion[2]

    @cached_property
    def _recursion(self) -> tuple[Tensor, float, float]:
        """From the last spin back: log-odds of +1 by position and state, ``(side^2, 2^side)``; ``ln Z``; entropy."""
        states = np.arange(2**self.side)
        down, up = 2 * states % 2**self.side, (2 * states + 1) % 2**self.side
        log_z, entropy = np.zeros((2, len(states)))
        logits = np.empty((self.uniforms, len(states)))
        for k in reversed(range(self.uniforms)):
            force = self._force(k, states)
            odds = logits[k] = 2 * force + log_z[up] - log_z[down]
            p = expit(odds)
            surprise = p * np.logaddexp(0, -odds) + (1 - p) * np.logaddexp(0, odds)
            entropy = surprise + p * entropy[up] + (1 - p) * entropy[down]
            log_z = np.logaddexp(force + log_z[up], log_z[down] - force)
        return torch.from_numpy(logits), float(log_z[0]), float(entropy[0])

    def _force(self, k: int, states: NDArray[np.int64]) -> NDArray[np.float64]:
        """What multiplies spin ``k`` in the exponent, given the spins before it."""
        left = 2.0 * (states & 1) - 1.0 if k % self.side else 0.0
        above = 2.0 * (states >> (self.side - 1)) - 1.0 if k >= self.side else 0.0
        return self.field + self.coupling * (left + above) + np.zeros(len(states))


@final
class Mixture(_Drawn):
    """Two normals on the real line: ``0.3 N(-1, 0.25) + 0.7 N(2, 1)``."""

    space = Space((1,), _REAL_LINE)
    uniforms = 2
    weight = torch.tensor([0.3, 0.7], dtype=torch.float64)
    mean = torch.tensor([-1.0, 2.0], dtype=torch.float64)
    std = torch.tensor([0.5, 1.0], dtype=torch.float64)

    def log_density(self, x: Tensor) -> Tensor:
        """The log of the sum of both weighted densities."""
        weight, mean, std = (constant.to(x.device) for constant in (self.weight, self.mean, self.std))
        constants = weight.log() - std.log() - 0.5 * math.log(2 * math.pi)
        log_p: Tensor = torch.logsumexp(constants - 0.5 * ((x - mean) / std).square(), 1)
        return log_p

    def examples(self, u: Tensor) -> Tensor:
        """A component by the first uniform, a place in it by the second."""
        component = (u[:, 0] > float(self.weight[0])).long()
        mean, std = self.mean.to(u.device)[component], self.std.to(u.device)[component]
        return _on_grid(mean + std * torch.special.ndtri(u[:, 1]))[:, None]

    @cached_property
    def entropy(self) -> float:
        """Differential entropy by the trapezoid rule, which for such a smooth density is exact to rounding."""
        t = torch.linspace(-12.0, 14.0, 20001, dtype=torch.float64)
        log_p = self.log_prob(t[:, None])
        return -float(torch.trapezoid(log_p.exp() * log_p, t))


@final
class LinearGaussian(_Drawn):
    """Probabilistic PCA in three dimensions with two latents, ``x = W z + b + s e``: ``x ~ N(b, W W' + s^2 I)``."""

    space = Space((3,), _REAL_LINE)
    uniforms = 5
    weight = torch.tensor([[1.0, 0.5], [-0.3, 0.8], [0.2, -1.1]], dtype=torch.float64)
    bias = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    variance = 0.25

    def log_density(self, x: Tensor) -> Tensor:
        """The normal density, through the Cholesky factor of its covariance."""
        factor = self._factor.to(x.device)
        white: Tensor = torch.linalg.solve_triangular(factor, (x - self.bias.to(x.device)).T, upper=False)
        return -0.5 * white.square().sum(0) - factor.diagonal().log().sum() - 1.5 * math.log(2 * math.pi)

    def examples(self, u: Tensor) -> Tensor:
        """Two latents and three noises, all normal."""
        normal = torch.special.ndtri(u)
        signal = normal[:, :2] @ self.weight.to(u.device).T + self.bias.to(u.device)
        return _on_grid(signal + math.sqrt(self.variance) * normal[:, 2:])

    @cached_property
    def entropy(self) -> float:
        """Differential entropy, in closed form."""
        return 1.5 * math.log(2 * math.pi * math.e) + float(self._factor.diagonal().log().sum())

    @cached_property
    def _factor(self) -> Tensor:
        covariance = self.weight @ self.weight.T + self.variance * torch.eye(3, dtype=torch.float64)
        factor: Tensor = torch.linalg.cholesky(covariance)
        return factor


def bernoulli() -> Dataset:
    """Four dependent bits: 16 states, so everything about a model of them can be enumerated."""
    return _dataset("bernoulli", Bernoulli(), {})


def markov(length: Annotated[int, Interval(ge=1, le=4096)] = 16) -> Dataset:
    """Sequences of a Markov chain with three states.

    Args:
        length: states in one sequence.
    """
    return _dataset("markov", Markov(length), {"length": length})


def ising(
    side: Annotated[int, Interval(ge=2, le=12)] = 8,
    coupling: Annotated[float, Interval(ge=-5, le=5)] = 0.4,
    field: Annotated[float, Interval(ge=-5, le=5)] = 0.1,
) -> Dataset:
    """Binary images with known probability: the Ising model on a square with free boundary.

    Args:
        side: spins along one side.
        coupling: what two equal neighbours add to the log-density, and two different ones take from it.
        field: what a spin up adds to the log-density, and a spin down takes from it.
    """
    return _dataset("ising", Ising(side, coupling, field), {"side": side, "coupling": coupling, "field": field})


def mixture() -> Dataset:
    """Points on the real line from a mixture of two normals."""
    return _dataset("mixture", Mixture(), {})


def linear_gaussian() -> Dataset:
    """Points in three dimensions from a linear-Gaussian latent-variable model with two latents."""
    return _dataset("linear_gaussian", LinearGaussian(), {})


def truth(*, source: Source) -> Source:
    """The model ``truth``: the very density that the data were drawn from.

    Args:
        source: filled in from the dataset.
    """
    return source


def _dataset(name: str, source: _Drawn, variant: dict[str, int | float]) -> Dataset:
    """8,000 examples to train on, 1,000 to validate, 2,000 to test: always the same."""
    total = sum(_SIZES.values())
    raw = np.random.PCG64(0).random_raw(total * source.uniforms) >> np.uint64(12)
    u = _open_interval(torch.from_numpy(raw.astype(np.int64))).reshape(total, source.uniforms)
    x = source.examples(u)
    stored = x if x.is_floating_point() else x.to(torch.uint8)
    splits, start = {}, 0
    for split, size in _SIZES.items():
        splits[split] = Split(stored[start : start + size].clone(), None, torch.arange(start, start + size))
        start += size
    return Dataset(name, source.space, splits, licence="CC0-1.0", variant=variant, source=source)


def _open_interval(bits: Tensor) -> Tensor:
    """Map integers of 52 bits to the middles of their intervals of (0, 1), exactly."""
    return (bits.double() + 0.5) * 2.0**-52


def _on_grid(x: Tensor) -> Tensor:
    """Round to multiples of 2^-24, so that the last digit of a library's functions does not change the data."""
    return torch.round(x * 2.0**24) * 2.0**-24
