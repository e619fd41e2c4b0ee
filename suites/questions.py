"""The boundary to adapters: every primitive question is asked here, and its answer checked before it is used.

Answers leave as float64 on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution

from torchstone.models.checks import space_of
from torchstone.models.model import (
    Autoregressive,
    Continuous,
    Discrete,
    Discriminative,
    Elbo,
    ExplicitApproximate,
    ExplicitExact,
    ImportanceResampler,
    LatentVariable,
    Model,
    ModelError,
    Tokenised,
)
from torchstone.models.randomness import draw
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.metrics.annealing import Path
from torchstone.suites.metrics.bounds import LogMeanExp
from torchstone.suites.supports import innermost, log_prob_within, unvalidated
from torchstone.suites.tokens import token_refusal

__all__ = [
    "Weights",
    "ask_elbo",
    "ask_elbo_terms",
    "ask_importance_weighted",
    "ask_log_prob",
    "ask_log_prob_label",
    "ask_log_weight",
    "ask_path",
    "ask_weights",
    "check_support",
    "refusal",
    "shape_refusal",
    "validated",
]

SAMPLES_PER_DRAW = 250  # part of what defines the random numbers
UNNORMALISED = 1e-4  # nats by which probabilities in single precision may miss one
ROWS_PER_EXAMPLE = 4  # importance samples asked at once for each example of a batch: activations that stay in the cache


@contextmanager
def validated() -> Iterator[None]:
    """Within the block every distribution checks its parameters and its values, as torch does by default.

    Importing some libraries (zuko is one) turns these checks off for the whole process, so that a negative scale
    or a level that does not exist gives a number in place of an error.
    """
    before = Distribution._validate_args
    Distribution.set_default_validate_args(True)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


def _half_precision(model: Model) -> torch.dtype | None:
    parameters = model.parameters() if isinstance(model, torch.nn.Module) else ()
    return next((p.dtype for p in parameters if p.is_floating_point() and p.dtype.itemsize < 4), None)


def refusal(model: Model, data: Dataset, split: str) -> str | None:
    """Why ``model`` cannot be asked about ``split`` of ``data``, as a sentence; None where it can."""
    space, name = space_of(model), type(model).__name__
    if half := _half_precision(model):
        return f"{name} has parameters of {half}, in which a density has two or three digits; measure model.float()."
    if isinstance(model, Tokenised):
        return token_refusal(model, data)
    return (
        shape_refusal(model, data)
        or _support_refusal(name, space.support, data)
        or _entry_refusal(name, space.support, data, split)
    )


def shape_refusal(model: Model, data: Dataset) -> str | None:
    """Why the shapes or the labels of ``model`` are not those of ``data``, as a sentence; None where they are."""
    space, name = space_of(model), type(model).__name__
    if space.event_shape != data.space.event_shape:
        return (
            f"{name} is for examples of shape {space.event_shape}, those of {data.name} have {data.space.event_shape}; "
            "build the model for this dataset's space."
        )
    if space.classes is not None and space.classes != data.space.classes:
        has = "no labels" if data.space.classes is None else f"{data.space.classes} classes"
        return (
            f"{name} takes labels of {space.classes} classes and {data.name} has {has}; choose a dataset with "
            "them, or model.conditional=false."
        )
    return None


def _support_refusal(name: str, support: Discrete | Continuous, data: Dataset) -> str | None:
    theirs = data.space.support
    match support, theirs:
        case Discrete(levels), Discrete(needed) if levels < needed:
            return f"{name} has {levels} levels and {data.name} needs {needed}; build it with levels={needed}."
        case Discrete(), Continuous():
            return (
                f"{name} is a discrete model and {data.name} is continuous: its density there is zero; use a "
                "continuous model."
            )
        case Continuous() as ours, Discrete() if not ours.bounded:
            return (
                f"{name} has unbounded support, to which the discrete {data.name} cannot be dequantised; "
                "declare a bounded one, such as Continuous(0.0, 1.0)."
            )
        case Continuous(low, high), Continuous(least, most) if least < low or most > high:
            return (
                f"{name} has support [{low}, {high}] and {data.name} reaches from {least} to {most}; declare a "
                "support that holds it."
            )
    return None


def _entry_refusal(name: str, support: Discrete | Continuous, data: Dataset, split: str) -> str | None:
    """Name the first example that is outside of what the dataset declares or the model can hold."""
    examples = data.split(split)
    low, high = _limits(data.space.support)
    for start in range(0, len(examples), 4096):
        x, _ = examples.batch(start, start + 4096)
        inside = ((x >= low) & (x <= high)).flatten(1).all(1)
        if not bool(inside.all()):
            worst = start + int((~inside).nonzero()[0])
            return (
                f"Example {int(examples.ids[worst])} of {data.name} ({split}) has a value outside {low} to {high}, "
                f"which {name} cannot hold; mend the data or its declared support."
            )
    return None


def _limits(support: Discrete | Continuous) -> tuple[float, float]:
    return (0, support.levels - 1) if isinstance(support, Discrete) else (support.low, support.high)


def check_support(model: Model, x: Tensor, y: Tensor | None, rng: torch.Generator) -> None:
    """Raise ModelError where a distribution that ``model`` gives lives on another kind of support than it declares.

    Densities given as numbers cannot be looked at in this way.
    """
    match model:
        case Autoregressive():
            given, method = model.conditionals(x, y), "conditionals"
        case LatentVariable():
            given, method = model.likelihood(draw(model.posterior(x, y), rng), y), "likelihood"
        case _:
            return
    declared = space_of(model).support
    discrete = _is_discrete(given)
    if discrete is not None and discrete != isinstance(declared, Discrete):
        raise ModelError(
            f"{type(model).__name__} declares {declared} and its {method} is a {type(given).__name__} over "
            f"{'discrete' if discrete else 'continuous'} values: declare the support that the density is on."
        )


def _is_discrete(distribution: Distribution) -> bool | None:
    try:
        support = distribution.support
    except NotImplementedError:
        return None
    return None if support is None else bool(support.is_discrete)


def ask_log_prob(model: ExplicitExact, x: Tensor, y: Tensor | None) -> Tensor:
    """``log p(x)`` or ``log p(x|y)``, ``(N,)`` nats. Raises ModelError on a wrong shape or type."""
    with torch.no_grad():
        return _per_example(model, "log_prob", model.log_prob(x, y), x.shape[0])


def ask_log_prob_label(model: Discriminative, x: Tensor) -> Tensor:
    """``log p(y|x)`` for every class, ``(N, C)`` nats in float64. Raises ModelError where they do not add up to one."""
    classes, name = space_of(model).classes, f"{type(model).__name__}.log_prob_label"
    with torch.no_grad():
        answer: object = model.log_prob_label(x)
    if not isinstance(answer, Tensor) or answer.shape != (len(x), classes) or not answer.is_floating_point():
        found = f"shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
        raise ModelError(f"{name} returned {found}; return log-probabilities of shape ({len(x)}, {classes}).")
    answer = answer.detach().double().cpu()
    if not bool((answer.logsumexp(1).abs() < UNNORMALISED).all()):
        raise ModelError(f"{name} gives probabilities that do not add up to one; apply log_softmax over the classes.")
    return answer


def ask_log_weight(model: ImportanceResampler, x: Tensor, y: Tensor | None) -> Tensor:
    """Log-weights of candidates, ``(N,)`` nats in float64. Raises ModelError on a wrong shape or type."""
    with torch.no_grad():
        return _per_example(model, "log_weight", model.log_weight(x, y), x.shape[0])


def ask_elbo(model: ExplicitApproximate, x: Tensor, y: Tensor | None, rng: torch.Generator) -> Tensor:
    """One draw of the evidence lower bound of each example, ``reconstruction - rate``, ``(N,)`` nats."""
    answer = ask_elbo_terms(model, x, y, rng)
    return answer.reconstruction - answer.rate


def ask_elbo_terms(model: ExplicitApproximate, x: Tensor, y: Tensor | None, rng: torch.Generator) -> Elbo:
    """The same draw taken apart, with the parts that the model names, each ``(N,)`` nats in float64 on the CPU."""
    n = x.shape[0]
    with torch.no_grad():
        answer = model.elbo(x, y, rng=rng)
        return Elbo(
            _per_example(model, "elbo().reconstruction", answer.reconstruction, n),
            _per_example(model, "elbo().rate", answer.rate, n),
            {name: _per_example(model, f"elbo().parts[{name!r}]", part, n) for name, part in answer.parts.items()},
        )


@final
@dataclass(frozen=True, slots=True)
class Weights:
    """Importance weights of some draws from the posterior taken apart, ``(k, N)`` nats each, float64 on the CPU."""

    reconstruction: Tensor
    rate: Tensor

    @property
    def log(self) -> Tensor:
        """``log p(x|z) + log p(z) - log q(z|x)``, ``(k, N)``."""
        return self.reconstruction - self.rate


def ask_weights(
    model: LatentVariable, x: Tensor, y: Tensor | None, samples: int, rng: torch.Generator, context: Context
) -> Iterator[Weights]:
    """Importance weights of ``samples`` draws from the posterior of each example, piece by piece.

    Latents are drawn in pieces of fixed size, and likelihoods asked for `ROWS_PER_EXAMPLE` times as many rows at once
    as the context has examples in a batch: memory grows with neither the number of samples nor, beyond the latents of
    one piece, the number of examples, and the draws do not depend on the batch size. Distributions check the first
    piece, where they check at all; later ones have the same examples and the same code.
    """
    n = x.shape[0]
    with torch.no_grad():
        posterior, prior = model.posterior(x, y), model.prior(y)
        rows = _Rows(model, x, y, min(context.batch_size * ROWS_PER_EXAMPLE, samples * n, SAMPLES_PER_DRAW * n))
    for first in range(0, samples, SAMPLES_PER_DRAW):
        k = min(SAMPLES_PER_DRAW, samples - first)
        with torch.no_grad(), nullcontext() if first == 0 else unvalidated():
            z = draw(posterior, rng, (k,))
            rate = _weights(model, "posterior", posterior, z, (k, n)) - _weights(model, "prior", prior, z, (k, n))
            reconstruction = torch.empty(k * n, dtype=torch.float64)
            question = partial(rows.log_prob, z.flatten(0, 1))
            for start, stop, answer in context.batches(k * n, question, scale=ROWS_PER_EXAMPLE):
                reconstruction[start:stop] = answer
        yield Weights(reconstruction.view(k, n), rate)


def ask_importance_weighted(
    model: LatentVariable, x: Tensor, y: Tensor | None, samples: int, rng: torch.Generator, context: Context
) -> Tensor:
    """The importance-weighted bound of each example with ``samples`` draws from its posterior, ``(N,)`` nats."""
    running = LogMeanExp(x.shape[0])
    for weights in ask_weights(model, x, y, samples, rng, context):
        running.add(weights.log)
    return running.value


@final
class _Rows:
    """The question ``log p(x|z)`` for rows of latents, example after example within each sample.

    The examples are laid out ``most`` rows long once, and every question about fewer rows looks at a part of that.
    """

    def __init__(self, model: LatentVariable, x: Tensor, y: Tensor | None, most: int) -> None:
        self.model, self.n = model, x.shape[0]
        copies = -(-most // self.n) + 1
        self.x = x.repeat(copies, *[1] * (x.ndim - 1))
        self.y = None if y is None else y.repeat(copies)

    def log_prob(self, z: Tensor, start: int, stop: int) -> Tensor:
        """Of rows ``start`` to ``stop`` of ``z``, ``(stop - start,)`` nats."""
        first, count = start % self.n, stop - start
        likelihood = self.model.likelihood(z[start:stop], None if self.y is None else self.y[first : first + count])
        return _per_example(
            self.model, "likelihood().log_prob", likelihood.log_prob(self.x[first : first + count]), count
        )


def ask_path(model: LatentVariable, x: Tensor, y: Tensor | None, chains: int) -> Path:
    """The log-densities that annealing needs, for ``chains`` chains of every example, chain after chain.

    Raises:
        ModelError: where latents are not real numbers; later, where a density has no gradient in them.
    """
    n = x.shape[0]
    prior = model.prior(y)
    support = innermost(prior)
    if support is None:
        raise ModelError(
            f"the prior of {type(model).__name__} does not say where its latents live, and Hamiltonian dynamics needs "
            "latents that are real numbers: give the distribution a support, such as constraints.real_vector."
        )
    if support.is_discrete or support.event_dim:
        raise ModelError(
            f"the latents of {type(model).__name__} live on {support}: Hamiltonian dynamics moves along gradients and "
            "needs latents that are real numbers."
        )
    rows, labels = x.repeat(chains, *[1] * (x.ndim - 1)), None if y is None else y.repeat(chains)

    def log_prior(z: Tensor) -> Tensor:
        return log_prob_within(prior, z.view(chains, n, *z.shape[1:])).flatten()

    def log_likelihood(z: Tensor) -> Tensor:
        return model.likelihood(z, labels).log_prob(rows)

    return Path(log_prior, log_likelihood, n)


def _weights(model: Model, method: str, distribution: Distribution, z: Tensor, shape: tuple[int, int]) -> Tensor:
    answer = log_prob_within(distribution, z)
    if answer.shape != shape:
        raise ModelError(
            f"{type(model).__name__}.{method} gives log-densities of shape {tuple(answer.shape)} for latents of shape "
            f"{tuple(z.shape)}, where {shape} is due: wrap it in torch.distributions.Independent so that it "
            "covers the whole latent."
        )
    return answer.detach().double().cpu()


def _per_example(model: Model, method: str, answer: object, n: int) -> Tensor:
    name = f"{type(model).__name__}.{method}"
    if not isinstance(answer, Tensor):
        raise ModelError(
            f"{name} returned a {type(answer).__name__}; return a tensor of one log-density in nats per "
            f"example, shape ({n},)."
        )
    if answer.shape != (n,):
        raise ModelError(
            f"{name} returned shape {tuple(answer.shape)} for {n} examples; return one log-density in nats "
            "per example, "
            f"shape ({n},), neither averaged nor left apart by dimension."
        )
    if not answer.is_floating_point():
        raise ModelError(f"{name} returned {answer.dtype}; return log-densities in nats as floating-point numbers.")
    return answer.detach().double().cpu()
