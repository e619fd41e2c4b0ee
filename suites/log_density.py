"""The log-density of every example of a split: exact, dequantised, or bounded, asked once or several times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from torchstone.models.checks import model_dtype, space_of
from torchstone.models.model import (
    Autoregressive,
    DiffusionChain,
    ExplicitApproximate,
    ExplicitExact,
    LatentVariable,
    Tokenised,
)
from torchstone.results.record import Flat, Kind, Scalar
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.dequantisation import dequantiser_for
from torchstone.suites.metrics.uncertainty import Mean, replicate_stderr
from torchstone.suites.questions import (
    ask_elbo_terms,
    ask_importance_weighted,
    ask_log_prob,
    check_support,
    validated,
)
from torchstone.suites.tokens import ask_tokens

__all__ = ["Answers", "LogDensity", "Sampling"]

WEIGHTED = "importance-weighted"


@final
@dataclass(frozen=True, slots=True)
class Sampling:
    """How stochastic questions are asked; see the settings of the density suite."""

    importance_samples: int
    replicates: int
    replicated_examples: int
    block: int


@final
@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered, ``(N,)`` each.

    Attributes:
        costs: negative log-densities in nats, float64, means over replicates; infinite where one was not finite.
        variances: of the replicates of each example; NaN where it was asked once.
        asked: how often it was asked.
        parts: L_T, L_t and L_0 of a diffusion chain, means over replicates; they add up to the cost.
    """

    costs: Tensor
    variances: Tensor
    asked: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


@final
class LogDensity:
    """How the log-density of an example is had from one model on one split, and all the answers.

    Attributes:
        dequantiser: takes discrete data to the model's continuous support; None where there is nothing to take.
        stochastic: whether an answer depends on draws.
        kind: of the negative log-density: exact, or an upper bound.
    """

    def __init__(
        self,
        model: ExplicitExact | ExplicitApproximate,
        data: Dataset,
        split: str,
        sampling: Sampling,
        context: Context,
    ) -> None:
        self.model, self.sampling, self.context = model, sampling, context
        self.split = data.split(split)
        self.dtype = model_dtype(model)
        self.conditional = space_of(model).classes is not None
        self.dequantiser = dequantiser_for(model, data.space)
        self.parts: dict[str, Tensor] = {}
        self.tokenised = isinstance(model, Tokenised)
        self.stochastic = self.dequantiser is not None or not isinstance(model, ExplicitExact)
        self.kind = Kind.UPPER_BOUND if self.stochastic or self.tokenised else Kind.EXACT

    def contract(self) -> Flat:
        """What sets these numbers apart from others on the same data."""
        samples = self.sampling.importance_samples if self.estimator == WEIGHTED else None
        chain: Flat = {"timesteps": self.model.timesteps} if isinstance(self.model, DiffusionChain) else {}
        return {
            "kind": self.kind.value,
            "dequantisation": "none" if self.dequantiser is None else "uniform",
            "estimator": self.estimator,
            "importance_samples": samples,
            **chain,
        }

    @property
    def estimator(self) -> str:
        """The name of the estimator in the contract."""
        match self.model:
            case Tokenised():
                return "tokens"
            case ExplicitExact():
                return "exact"
            case LatentVariable():
                return WEIGHTED
            case _:
                return "elbo"

    def parameters(self, nll: Mean, answers: Answers) -> dict[str, Scalar]:
        """K, replicates, the estimator's own standard error of ``nll`` in nats, and how many were not finite."""
        found: dict[str, Scalar] = {"nonfinite": nll.nonfinite}
        if self.stochastic:
            found["replicates"] = self.sampling.replicates
            found["replicated_examples"] = int((answers.asked > 1).sum())
            share = replicate_stderr(answers.variances, answers.asked)
            found["estimator_stderr"] = None if nll.nonfinite else share
        if self.estimator == WEIGHTED:
            found["importance_samples"] = self.sampling.importance_samples
        return found

    def answers(self) -> Answers:
        """Ask about every example, each once or, where the answers are stochastic, as often as was said."""
        n = len(self.split)
        found = Answers(
            costs=torch.empty(n, dtype=torch.float64),
            variances=torch.full((n,), math.nan, dtype=torch.float64),
            asked=torch.ones(n),
            parts=self.parts,
        )
        with validated():
            self._check()
            for start, stop, draws in self._repeated() if self.stochastic else self._once():
                found.costs[start:stop] = -torch.where(draws.isfinite().all(0), draws.mean(0), -math.inf)
                found.asked[start:stop] = draws.shape[0]
                if draws.shape[0] > 1:
                    found.variances[start:stop] = draws.var(0, correction=1)
                self.context.progress("evaluate", stop, n)
        return found

    def _check(self) -> None:
        """Look at the support of the distributions that the model gives, on the first example."""
        if self.tokenised:
            return
        x, y = self._examples(0, 1)
        if self.dequantiser is not None:
            x = self.dequantiser(x, self.context.rng("check", device="cpu"), self.dtype or torch.get_default_dtype())
        check_support(self.model, x, y, self.context.rng("check"))

    def _once(self) -> Iterator[tuple[int, int, Tensor]]:
        for start, stop, answer in self.context.batches(len(self.split), self._exact):
            yield start, stop, answer[None]

    def _exact(self, start: int, stop: int) -> Tensor:
        if isinstance(self.model, Autoregressive) and self.tokenised:
            return ask_tokens(self.model, *self._examples(start, stop))
        assert isinstance(self.model, ExplicitExact)
        return ask_log_prob(self.model, *self._examples(start, stop))

    def _repeated(self) -> Iterator[tuple[int, int, Tensor]]:
        """Blocks of examples, each with ``(replicates, block)`` log-densities."""
        block = self.sampling.block
        for number, start in enumerate(range(0, len(self.split), block)):
            stop = min(start + block, len(self.split))
            replicates = self.sampling.replicates if start < self.sampling.replicated_examples else 1
            yield start, stop, self._block(number, *self._examples(start, stop), replicates)

    def _block(self, number: int, x: Tensor, y: Tensor | None, replicates: int) -> Tensor:
        n, constant = x.shape[0], 0.0
        rows = x.repeat(replicates, *[1] * (x.ndim - 1))
        labels = None if y is None else y.repeat(replicates)
        if self.dequantiser is not None:
            dtype = self.dtype or torch.get_default_dtype()
            noises = [self.context.rng(f"dequantisation/{r}", number, device="cpu") for r in range(replicates)]
            rows = torch.cat([self.dequantiser(x, noise, dtype) for noise in noises])
            constant = self.dequantiser.log_volume
        answers = torch.empty(replicates * n, dtype=torch.float64)
        for start, stop, answer in self._ask(number, n, rows, labels):
            answers[start:stop] = answer
        return answers.view(replicates, n) + constant

    def _ask(self, number: int, n: int, x: Tensor, y: Tensor | None) -> Iterator[tuple[int, int, Tensor]]:
        """Answers about rows ``x``: in any batches where they are deterministic, replicate by replicate where not."""
        model, context = self.model, self.context
        if isinstance(model, ExplicitExact):
            yield from context.batches(
                x.shape[0], lambda start, stop: ask_log_prob(model, x[start:stop], None if y is None else y[start:stop])
            )
            return
        assert isinstance(model, ExplicitApproximate)
        for replicate, start in enumerate(range(0, x.shape[0], n)):
            rows, labels = x[start : start + n], None if y is None else y[start : start + n]
            rng = context.rng(f"latents/{replicate}", number)
            if isinstance(model, LatentVariable):
                answer = ask_importance_weighted(model, rows, labels, self.sampling.importance_samples, rng, context)
            else:
                terms = ask_elbo_terms(model, rows, labels, rng)
                answer = terms.reconstruction - terms.rate
                if isinstance(model, DiffusionChain):
                    self._keep(terms.parts, number * self.sampling.block, x.shape[0] // n)
            yield start, start + n, answer

    def _keep(self, parts: Mapping[str, Tensor], first: int, replicates: int) -> None:
        """Add one replicate of the parts of a block to their means over replicates."""
        for name, part in parts.items():
            whole = self.parts.setdefault(name, torch.zeros(len(self.split), dtype=torch.float64))
            whole[first : first + len(part)] += part / replicates

    def _examples(self, start: int, stop: int) -> tuple[Tensor, Tensor | None]:
        x, y = self.split.batch(start, stop)
        if x.is_floating_point() and self.dtype is not None:
            x = x.to(self.dtype)
        device = self.context.device
        return x.to(device), y.to(device) if self.conditional and y is not None else None
