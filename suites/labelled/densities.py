"""The log-density of every example given every label: exact, or bounded with the same noise for all labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from torch import Tensor

from torchstone.models.checks import model_dtype, space_of
from torchstone.models.model import (
    Discriminative,
    ExplicitApproximate,
    ExplicitExact,
    Joint,
    LatentVariable,
    ModelError,
)
from torchstone.results.record import Flat, Kind
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.dequantisation import dequantiser_for
from torchstone.suites.latent.examples import Examples
from torchstone.suites.metrics.bounds import LogMeanExp
from torchstone.suites.questions import ask_elbo, ask_log_prob, ask_log_prob_label, ask_weights, check_support

__all__ = ["ClassDensities", "Given", "ask_labels", "own_prior"]


@final
@dataclass(frozen=True, slots=True)
class Given:
    """``log p(x|y)`` of every example and label, nats, float64; what is not finite is worth minus infinity.

    Attributes:
        nats: ``(N, C)``, exact values, or means of bounds over replicates.
        first: ``(N, C)``, of a single draw; the same where the answers are exact.
        variances: ``(N, C)``, of the replicates; NaN where there is one.
        undefined: how many answers were NaN, or infinitely likely.
    """

    nats: Tensor
    first: Tensor
    variances: Tensor
    undefined: int


@final
class ClassDensities:
    """How ``log p(x|y)`` is asked of one model on one split, for all labels.

    Where an answer depends on draws, every label is asked with a generator of one seed: the noise of the latents, and
    that of dequantisation, is the same for each, so that labels are told apart by the model and not by their luck.

    Attributes:
        dequantised: whether noise is added to the data.
        stochastic: whether an answer depends on draws.
    """

    def __init__(
        self,
        model: ExplicitExact | ExplicitApproximate,
        data: Dataset,
        split: str,
        samples: int,
        replicates: int,
        block: int,
        context: Context,
    ) -> None:
        self.model, self.context, self.block = model, context, block
        self.split, self.classes = data.split(split), _classes(data)
        self.dtype = model_dtype(model)
        self.dequantiser = dequantiser_for(model, data.space)
        self.dequantised = self.dequantiser is not None
        self.stochastic = self.dequantised or not isinstance(model, ExplicitExact)
        self.samples = samples if isinstance(model, LatentVariable) else None
        self.replicates = replicates if self.stochastic and self.samples is None else 1

    @property
    def estimator(self) -> str:
        """The name of the estimator in the contract."""
        match self.model:
            case ExplicitExact():
                return "exact"
            case LatentVariable():
                return "importance-weighted"
            case _:
                return "elbo"

    @property
    def kind(self) -> Kind:
        """Of the negative log-density given the right label."""
        return Kind.UPPER_BOUND if self.stochastic else Kind.EXACT

    @property
    def marginal_kind(self) -> Kind:
        """Of the negative log-density without a label.

        The logarithm of a sum of importance weights is a bound in expectation. One of sums of noisy bounds need not be:
        noise raises the largest of them.
        """
        return Kind.ESTIMATE if self.estimator == "elbo" else self.kind

    def contract(self) -> Flat:
        """What sets these numbers apart from others on the same data."""
        return {
            "kind": self.kind.value,
            "dequantisation": "uniform" if self.dequantised else "none",
            "estimator": self.estimator,
            "importance_samples": self.samples,
        }

    def ask(self) -> Given:
        """Ask about every example with every label."""
        n = len(self.split)
        draws = torch.full((self.replicates, n, self.classes), math.nan, dtype=torch.float64)
        first = draws[0] if self.samples is None else torch.empty(n, self.classes, dtype=torch.float64)
        self._check()
        for label in range(self.classes):
            answers = self._stochastic(label, first) if self.stochastic else self._exact(label)
            for start, stop, answer in answers:
                draws[:, start:stop, label] = answer
                self.context.progress("labels", label * n + stop, self.classes * n)
        undefined = draws.isnan() | (draws == math.inf)
        worth = torch.where(undefined, -math.inf, draws)
        spread = worth.var(0) if self.replicates > 1 else torch.full_like(worth[0], math.nan)
        one = torch.where(first.isnan() | (first == math.inf), -math.inf, first)
        return Given(worth.mean(0), one, spread, int(undefined.sum()))

    def marginals(self) -> Tensor:
        """``log p(x)`` of every example, ``(N,)`` nats, by a model of examples and labels together."""
        model = self.model
        assert isinstance(model, Joint)
        found = self.context.batches(
            len(self.split), lambda start, stop: ask_log_prob(model, self._x(start, stop), None)
        )
        return torch.cat([answer for _, _, answer in found])

    def _check(self) -> None:
        x = self._x(0, 1)
        if self.dequantiser is not None:
            x = self.dequantiser(x, self.context.rng("check", device="cpu"), self.dtype or torch.get_default_dtype())
        check_support(self.model, x, self._labels(0, 1), self.context.rng("check"))

    def _exact(self, label: int) -> Iterator[tuple[int, int, Tensor]]:
        model = self.model
        assert isinstance(model, ExplicitExact)

        def question(start: int, stop: int) -> Tensor:
            return ask_log_prob(model, self._x(start, stop), self._labels(label, stop - start))

        yield from self.context.batches(len(self.split), question)

    def _stochastic(self, label: int, first: Tensor) -> Iterator[tuple[int, int, Tensor]]:
        """Blocks of examples, each with ``(replicates, block)`` log-densities; one draw of each goes to ``first``."""
        for number, start in enumerate(range(0, len(self.split), self.block)):
            stop = min(start + self.block, len(self.split))
            x, y = self._x(start, stop), self._labels(label, stop - start)
            found = torch.stack([self._replicate(r, number, x, y) for r in range(self.replicates)])
            if self.samples is not None:
                first[start:stop, label], found = found[0, 0], found[:, 1]
            yield start, stop, found

    def _replicate(self, replicate: int, number: int, x: Tensor, y: Tensor) -> Tensor:
        """One draw for each example, ``(block,)`` nats; of latent-variable models the first weight and all of them."""
        constant = 0.0
        if self.dequantiser is not None:
            noise = self.context.rng(f"dequantisation/{replicate}", number, device="cpu")
            x, constant = (
                self.dequantiser(x, noise, self.dtype or torch.get_default_dtype()),
                self.dequantiser.log_volume,
            )
        rng, model = self.context.rng(f"latents/{replicate}", number), self.model
        if isinstance(model, LatentVariable):
            assert self.samples is not None
            return _weighted(model, x, y, self.samples, rng, self.context) + constant
        if isinstance(model, ExplicitExact):
            batches = self.context.batches(len(x), lambda a, b: ask_log_prob(model, x[a:b], y[a:b]))
            return torch.cat([answer for _, _, answer in batches]) + constant
        return ask_elbo(model, x, y, rng) + constant

    def _x(self, start: int, stop: int) -> Tensor:
        x, _ = self.split.batch(start, stop)
        if x.is_floating_point() and self.dtype is not None:
            x = x.to(self.dtype)
        return x.to(self.context.device)

    def _labels(self, label: int, n: int) -> Tensor:
        return torch.full((n,), label, dtype=torch.long, device=self.context.device)


def own_prior(model: Joint) -> Tensor:
    """``log p(y)`` that the model states, ``(C,)`` nats in float64. Raises ModelError on a wrong shape or sum."""
    classes, name = space_of(model).classes, f"{type(model).__name__}.log_prior_label"
    with torch.no_grad():
        answer: object = model.log_prior_label()
    if not isinstance(answer, Tensor) or answer.shape != (classes,) or not answer.is_floating_point():
        found = f"shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
        raise ModelError(f"{name} returned {found}; return one log-probability per class, ({classes},).")
    prior = answer.detach().double().cpu()
    if not abs(float(prior.logsumexp(0))) < 1e-4:
        raise ModelError(f"{name} gives probabilities that do not add up to one; apply log_softmax over the classes.")
    return prior


def ask_labels(model: Discriminative, data: Dataset, split: str, block: int, context: Context) -> tuple[Tensor, bool]:
    """``log p(y|x)`` of a classifier for every example, ``(N, C)`` nats, and whether noise was added to the data."""
    examples = Examples(model, data, split, block, context)
    found = []
    for number in range(examples.blocks):
        start, stop, rows = examples.block(number)
        batches = context.batches(stop - start, partial(_label_rows, model, rows.x))
        found += [answer for _, _, answer in batches]
        context.progress("labels", stop, len(examples))
    return torch.cat(found), examples.dequantised


def _label_rows(model: Discriminative, x: Tensor, start: int, stop: int) -> Tensor:
    return ask_log_prob_label(model, x[start:stop])


def _weighted(
    model: LatentVariable, x: Tensor, y: Tensor, samples: int, rng: torch.Generator, context: Context
) -> Tensor:
    """The first log-weight of each example and the importance-weighted bound of all, ``(2, N)`` nats."""
    running, first = LogMeanExp(len(x)), None
    for weights in ask_weights(model, x, y, samples, rng, context):
        first = weights.log[0] if first is None else first
        running.add(weights.log)
    assert first is not None
    return torch.stack([first, running.value])


def _classes(data: Dataset) -> int:
    assert data.space.classes is not None
    return data.space.classes
