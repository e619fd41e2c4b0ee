"""The boundary to adapters: every primitive question is asked here, and its answer checked before it is used.

Answers leave as float64 on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.distributions import Distribution

from torchstone.models.checks import space_of
from torchstone.models.model import (
    Autoregressive,
    Continuous,
    Discrete,
    ExplicitApproximate,
    ExplicitExact,
    LatentVariable,
    Model,
    ModelError,
    Tokenised,
)
from torchstone.models.randomness import draw
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.metrics.bounds import LogMeanExp
from torchstone.suites.tokens import token_refusal

__all__ = [
    "ask_elbo",
    "ask_importance_weighted",
    "ask_log_prob",
    "check_support",
    "refusal",
    "validated",
]

SAMPLES_PER_DRAW = 50


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
    return _support_refusal(name, space.support, data) or _entry_refusal(name, space.support, data, split)


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


def ask_elbo(model: ExplicitApproximate, x: Tensor, y: Tensor | None, rng: torch.Generator) -> Tensor:
    """One draw of the evidence lower bound of each example, ``reconstruction - rate``, ``(N,)`` nats."""
    with torch.no_grad():
        elbo = model.elbo(x, y, rng=rng)
        reconstruction = _per_example(model, "elbo().reconstruction", elbo.reconstruction, x.shape[0])
        return reconstruction - _per_example(model, "elbo().rate", elbo.rate, x.shape[0])


def ask_importance_weighted(
    model: LatentVariable, x: Tensor, y: Tensor | None, samples: int, rng: torch.Generator, context: Context
) -> Tensor:
    """The importance-weighted bound of each example with ``samples`` draws from its posterior, ``(N,)`` nats.

    Latents are drawn in fixed pieces, and likelihoods asked in batches of the context's size: memory grows with
    neither the number of samples nor the number of examples, and the draws do not depend on the batch size.
    """
    n = x.shape[0]
    running = LogMeanExp(n)
    with torch.no_grad():
        posterior, prior = model.posterior(x, y), model.prior(y)
        for first in range(0, samples, SAMPLES_PER_DRAW):
            k = min(SAMPLES_PER_DRAW, samples - first)
            z = draw(posterior, rng, (k,))
            log_ratio = _weights(model, "prior", prior, z, (k, n)) - _weights(model, "posterior", posterior, z, (k, n))
            reconstruction = torch.empty(k * n, dtype=torch.float64)
            for start, stop, answer in context.batches(k * n, _LikelihoodRows(model, z.flatten(0, 1), x, y)):
                reconstruction[start:stop] = answer
            running.add(reconstruction.view(k, n) + log_ratio)
    return running.value


class _LikelihoodRows:
    """The question ``log p(x|z)`` for rows of latents, example after example within each sample."""

    def __init__(self, model: LatentVariable, z: Tensor, x: Tensor, y: Tensor | None) -> None:
        self.model, self.z, self.x, self.y = model, z, x, y

    def __call__(self, start: int, stop: int) -> Tensor:
        example = torch.arange(start, stop, device=self.x.device) % self.x.shape[0]
        y = None if self.y is None else self.y[example]
        likelihood = self.model.likelihood(self.z[start:stop], y)
        return _per_example(self.model, "likelihood().log_prob", likelihood.log_prob(self.x[example]), stop - start)


def _weights(model: Model, method: str, distribution: Distribution, z: Tensor, shape: tuple[int, int]) -> Tensor:
    answer = distribution.log_prob(z)
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
