"""The adapter contract: the questions a model answers, and the plain types it answers them with.

A model subclasses one or more capabilities. Each is an abstract class without state, so that an adapter
is usually an ``nn.Module`` that also inherits a capability; inheriting one is a promise. An adapter answers
primitive questions only: log-densities per example in nats, distribution objects, raw samples, raw
features. Means, unit conversions, dequantisation and bounds over several samples are the harness's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution

from torchstone.models.randomness import draw

__all__ = [
    "Autoregressive",
    "Budget",
    "Continuous",
    "DiffusionChain",
    "Discrete",
    "Discriminative",
    "Elbo",
    "Encoder",
    "Enumerable",
    "ExplicitApproximate",
    "ExplicitExact",
    "Implicit",
    "ImplicitIterative",
    "ImportanceResampler",
    "Joint",
    "LatentVariable",
    "Model",
    "ModelError",
    "Pretrained",
    "Sampler",
    "Space",
    "Split",
    "Tokenised",
    "Trainable",
    "capabilities",
    "family",
]


class ModelError(Exception):
    """An adapter broke its contract. The message is one sentence that says how, and what to do next."""


@dataclass(frozen=True, slots=True)
class Discrete:
    """Integers ``0, 1, ..., levels - 1`` in every dimension; the model is given them as int64."""

    levels: int


@dataclass(frozen=True, slots=True)
class Continuous:
    """Real numbers between ``low`` and ``high`` in every dimension; infinite limits mean unbounded.

    Discrete data reach a model with bounded continuous support through one affine map,
    ``u = low + (high - low)(x + e) / levels`` with noise ``e`` in ``[0, 1)``, and come back through its floor.
    """

    low: float = 0.0
    high: float = 1.0

    @property
    def bounded(self) -> bool:
        """Whether both limits are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def dequantise(self, x: Tensor, noise: Tensor, levels: int) -> Tensor:
        """Map integers ``x`` with ``noise`` in ``[0, 1)``, of the same shape, to this support, in float64."""
        if not self.bounded:
            raise ModelError(
                f"Discrete data cannot be dequantised to the unbounded support ({self.low}, {self.high}): "
                "declare a bounded one, such as Continuous(0.0, 1.0)."
            )
        return self.low + (self.high - self.low) * (x.double() + noise.double()) / levels

    def quantise(self, u: Tensor, levels: int) -> Tensor:
        """Map values of this support back to integers: the inverse of `dequantise`, then the floor."""
        scaled = (u.double() - self.low) / (self.high - self.low) * levels
        return scaled.floor().clamp(0, levels - 1).long()

    def log_jacobian(self, levels: int) -> float:
        """``ln |du/dx|`` of the affine map for one dimension, in nats."""
        return math.log((self.high - self.low) / levels)


@dataclass(frozen=True, slots=True)
class Space:
    """What one example is: its shape, the values it can take, and how many classes label it (None: no labels)."""

    event_shape: tuple[int, ...]
    support: Discrete | Continuous
    classes: int | None = None

    @property
    def dims(self) -> int:
        """Scalars in one example, as stored: a 32×32 RGB image has 3,072."""
        return math.prod(self.event_shape)


@dataclass(frozen=True, slots=True)
class Split:
    """Examples as stored, ``x`` of shape ``(N, *event)``, with labels ``y`` and ``ids``, both ``(N,)`` int64.

    Integer images stay in the small integer type of the store: take them through `batch` or `minibatch`,
    which widen them to int64. ``intensities`` (``(N, *event)`` in [0, 1]) are there where a data set is a fresh
    Bernoulli draw at every visit (dynamically binarised MNIST); ``x`` is then one fixed draw.
    """

    x: Tensor
    y: Tensor | None
    ids: Tensor
    intensities: Tensor | None = None

    def __len__(self) -> int:
        return self.x.shape[0]

    def batch(self, start: int, stop: int) -> tuple[Tensor, Tensor | None]:
        """A copy of examples ``start`` to ``stop`` in the order of the split, integers as int64."""
        return _widen(self.x[start:stop].clone()), None if self.y is None else self.y[start:stop].clone()

    def minibatch(self, size: int, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """``size`` examples drawn with replacement by ``rng``, binarised afresh where there are intensities."""
        index = torch.randint(len(self), (size,), generator=rng)
        if self.intensities is None:
            x = _widen(self.x[index])
        else:
            x = torch.bernoulli(self.intensities[index].float(), generator=rng).long()
        return x, None if self.y is None else self.y[index]


def _widen(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.long()


def _silent(done: int, total: int) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to train, in optimiser steps; iterate over it to take them and to show progress.

    >>> [step for step in Budget(3)]
    [0, 1, 2]
    """

    steps: int
    progress: Callable[[int, int], None] = field(default=_silent, compare=False)

    def __iter__(self) -> Iterator[int]:
        for step in range(self.steps):
            yield step
            self.progress(step + 1, self.steps)


@dataclass(frozen=True, slots=True)
class Elbo:
    """An evidence lower bound taken apart, ``(N,)`` nats each, one draw per example: ``reconstruction - rate``.

    ``parts`` may name pieces of the two, such as the L_T, L_t and L_0 of a diffusion model.
    """

    reconstruction: Tensor
    rate: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


class Model(ABC):
    """Anything Torchstone can evaluate. ``space`` says what its examples are."""

    space: Space


class ExplicitExact(Model):
    """Computes its density exactly: an autoregressive model, a flow, a mixture."""

    @abstractmethod
    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Exact log-density of each example in nats, ``(N,)``, on the support that ``space`` declares."""


class Autoregressive(ExplicitExact):
    """Factorises its density over positions: ``p(x) = prod_i p(x_i | x_before i)`` in the order ``order``.

    ``order`` is a LongTensor of flat positions of the event, first generated first.
    """

    order: Tensor

    @abstractmethod
    def conditionals(self, x: Tensor, y: Tensor | None = None) -> Distribution:
        """The conditional of every position given those before it, with batch shape ``(N, *event)``."""

    @final
    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Sum over positions of the conditional log-densities, added in float64, ``(N,)`` nats."""
        terms = self.conditionals(x, y).log_prob(x)
        if terms.shape != x.shape:
            raise ModelError(
                f"{type(self).__name__}.conditionals returned a distribution whose log_prob has shape "
                f"{tuple(terms.shape)} for data of shape {tuple(x.shape)}; give it batch shape (N, *event) "
                "and no event shape."
            )
        return terms.double().flatten(1).sum(1)


class Joint(ExplicitExact):
    """Claims one joint density of example and label: ``p(x, y) = p(y) p(x | y)``, and ``p(x)`` is its sum over labels.

    ``log_prob(x, y)`` is that of x given y. Unlike other models of labelled data it also answers without labels:
    ``log_prob(x)`` is the marginal. Both, and the p(y) that it states here, are audited against each other.
    """

    @abstractmethod
    def log_prior_label(self) -> Tensor:
        """Log-probability of each class before anything is seen, ``(C,)`` nats."""


class ExplicitApproximate(Model):
    """Bounds its density from below: a variational autoencoder, a diffusion model."""

    @abstractmethod
    def elbo(self, x: Tensor, y: Tensor | None = None, *, rng: torch.Generator) -> Elbo:
        """The evidence lower bound of each example in nats, from one draw per example."""


class DiffusionChain(ExplicitApproximate):
    """Bounds its density by a chain of ``timesteps`` steps from data to noise: ``L_T + sum_t L_t + L_0``, the parts.

    A chain of another length is another model, so that the number of its steps is a part of what its bound means.
    """

    timesteps: int


class LatentVariable(ExplicitApproximate):
    """Gives the three distributions of a latent-variable model, from which every bound is derived.

    A hierarchy is one concatenated latent with a distribution of its own. Each distribution covers its whole
    event, so wrap factorised ones in ``torch.distributions.Independent``.
    """

    @abstractmethod
    def prior(self, y: Tensor | None = None) -> Distribution:
        """p(z), batch shape ``()``; or p(z | y), batch shape ``(N,)``."""

    @abstractmethod
    def posterior(self, x: Tensor, y: Tensor | None = None) -> Distribution:
        """The variational posterior q(z | x), batch shape ``(N,)``."""

    @abstractmethod
    def likelihood(self, z: Tensor, y: Tensor | None = None) -> Distribution:
        """p(x | z) for latents of shape ``(N, *latent)``, batch shape ``(N,)``, event shape that of the data."""

    @final
    def elbo(self, x: Tensor, y: Tensor | None = None, *, rng: torch.Generator) -> Elbo:
        """``log p(x|z)`` and ``log q(z|x) - log p(z)`` at one ``z ~ q(z|x)`` per example."""
        posterior = self.posterior(x, y)
        z = draw(posterior, rng)
        reconstruction = self.likelihood(z, y).log_prob(x)
        return Elbo(reconstruction, rate=posterior.log_prob(z) - self.prior(y).log_prob(z))


class Sampler(Model):
    """Draws samples."""

    @abstractmethod
    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator) -> Tensor:
        """``n`` samples of shape ``(n, *event)``, in the support that ``space`` declares."""


class Implicit(Sampler):
    """A sampler without a density that evaluates its network once: a GAN generator."""


class ImplicitIterative(Sampler):
    """A sampler without a density that evaluates its ``network`` many times: a diffusion sampler."""

    network: torch.nn.Module

    @abstractmethod
    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator, steps: int | None = None) -> Tensor:
        """``n`` samples of shape ``(n, *event)`` in ``steps`` steps (None: the model's own number)."""


class ImportanceResampler(Sampler):
    """Draws candidates, and chooses samples among them with probability in proportion to their weights.

    A few heavy candidates make few different samples: the harness asks for the weights, and keeps on record how many
    of the candidates were worth having. ``candidates`` are drawn for each sample that is asked for.
    """

    candidates: int

    @abstractmethod
    def propose(self, n: int, *, rng: torch.Generator) -> Tensor:
        """``n`` independent candidates of shape ``(n, *event)``, whatever the label."""

    @abstractmethod
    def log_weight(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Log of target over proposal density of each candidate, up to a constant of its label, ``(N,)`` nats."""

    @final
    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator) -> Tensor:
        """``n`` samples; those of one label are chosen, independently, among all candidates."""
        x = self.propose(n * self.candidates, rng=rng)
        chosen = torch.empty(n, dtype=torch.long, device=x.device)
        for label in [None] if y is None else sorted(set(y.tolist())):
            here = torch.ones(n, dtype=torch.bool) if label is None or y is None else (y == label).cpu()
            asked = None if label is None else torch.full((len(x),), label, device=x.device)
            weights = self.log_weight(x, asked).double().softmax(0)
            if not bool(weights.isfinite().all()):
                given = "" if label is None else f" given label {label}"
                raise ModelError(f"None of {len(x)} candidates is possible{given}: draw more, by a larger candidates.")
            chosen[here.to(x.device)] = torch.multinomial(weights, int(here.sum()), replacement=True, generator=rng)
        return x[chosen]


class Encoder(Model):
    """Maps examples to features."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Features of shape ``(N, D)``."""


class Pretrained(Model):
    """Comes with weights that were learned elsewhere: ``pretraining`` says on what, in words, empty for none.

    It is part of every contract: numbers of models that saw other data, or labels, stand in a block of their own.
    """

    pretraining: str


class Discriminative(Model):
    """Classifies examples."""

    @abstractmethod
    def log_prob_label(self, x: Tensor) -> Tensor:
        """Log-probability of each class in nats, ``(N, C)``."""


class Tokenised(Model):
    """Has a vocabulary of its own, and can so be measured in bits per byte.

    Sequences of different lengths are padded on the right by the harness, which masks the padding. The last
    token of a sequence ends it: end-of-sequence is part of the event and is paid for.
    """

    @abstractmethod
    def tokenise(self, data: bytes) -> Tensor:
        """The tokens of ``data``, a LongTensor of shape ``(length,)``, end-of-sequence included."""

    @abstractmethod
    def detokenise(self, tokens: Tensor) -> bytes:
        """The bytes that `tokenise` was given, without loss."""


class Trainable(Model):
    """Can be fitted. It sees the training and validation splits, never the test split."""

    @abstractmethod
    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Train on ``train`` for at most ``budget`` steps; choose anything that has to be chosen on ``validation``."""


class Enumerable(Model):
    """Can show its code path at a size that can be summed or integrated."""

    @abstractmethod
    def tiny(self) -> Model:
        """The same code at no more than 2^16 states, or two continuous dimensions. A class method will do."""


_FAMILIES: dict[str, type[Model]] = {
    "explicit-exact": ExplicitExact,
    "implicit-iterative": ImplicitIterative,
    "explicit-approximate": ExplicitApproximate,
    "implicit-direct": Implicit,
    "discriminative": Discriminative,
    "encoder": Encoder,
}

_CAPABILITIES: tuple[type[Model], ...] = (
    ExplicitExact,
    Autoregressive,
    Joint,
    ExplicitApproximate,
    DiffusionChain,
    LatentVariable,
    Sampler,
    Implicit,
    ImplicitIterative,
    ImportanceResampler,
    Encoder,
    Pretrained,
    Discriminative,
    Tokenised,
    Trainable,
    Enumerable,
)


def family(model: Model | type[Model]) -> str:
    """The taxonomy name printed in every table: the first that matches, exact densities before everything."""
    cls = model if isinstance(model, type) else type(model)
    for name, capability in _FAMILIES.items():
        if issubclass(cls, capability):
            return name
    raise ModelError(
        f"{cls.__name__} promises none of the capabilities that make a family; "
        f"subclass one of {', '.join(base.__name__ for base in _FAMILIES.values())} from torchstone.models."
    )


def capabilities(model: Model | type[Model]) -> tuple[str, ...]:
    """The names of all the capabilities a model promises.

    >>> capabilities(Autoregressive)
    ('ExplicitExact', 'Autoregressive')
    """
    cls = model if isinstance(model, type) else type(model)
    return tuple(base.__name__ for base in _CAPABILITIES if issubclass(cls, base))
