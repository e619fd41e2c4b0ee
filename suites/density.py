"""The density suite: negative log-likelihood and bits per dimension, exact or as a bound, with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, assert_never, final

import torch
from annotated_types import Ge
from torch import Tensor

from torchstone.models.checks import space_of
from torchstone.models.model import Continuous, Discrete, ExplicitApproximate, ExplicitExact, LatentVariable, Model, family
from torchstone.results.record import Flat, Kind, Score
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset, Source
from torchstone.suites.dequantisation import Dequantiser
from torchstone.suites.metrics.uncertainty import Mean, mean, replicate_stderr
from torchstone.suites.metrics.units import bits_per_dim
from torchstone.suites.questions import ask_elbo, ask_importance_weighted, ask_log_prob, check_support, model_dtype, refusal, validated
from torchstone.suites.suite import Evaluation, Suite

__all__ = ["Density"]

FALSE_ALARMS = 1e-3


@final
@dataclass(frozen=True)
class Density(Suite):
    """Negative log-likelihood of every example once, in nats, and in bits per dimension (per byte for text).

    Discrete models with an exact density give exact values. Continuous models of discrete data are dequantised with
    uniform noise, and models with a bound are asked for it; both give upper bounds, printed with ``≤``. Where the
    estimate is stochastic, some examples are asked several times, and their mean is used: a mean of bounds is a bound,
    no tighter than one.

    Attributes:
        split: which split is measured.
        importance_samples: draws K of the importance-weighted bound of latent-variable models.
        replicates: how often an example is asked where the estimate is stochastic.
        replicated_examples: how many of the examples are asked that often; the others are asked once.
        block: examples per stochastic question; part of what defines the random numbers.
    """

    name: ClassVar[str] = "density"
    version: ClassVar[int] = 1
    default_models: ClassVar[tuple[str, ...]] = (
        "independent", "mixture", "linear_gaussian", "rnn", "transformer", "pixelcnn", "flow", "vae",
    )  # fmt: skip
    metrics: ClassVar[Mapping[str, str]] = {
        "nll": "negative log-likelihood, nats per example",
        "bits_per_dim": "the same in bits per dimension, for discrete data",
        "bits_per_byte": "the same in bits per byte, for text",
        "excess_bits_per_dim": "bits per dimension above the true entropy, where it is known: KL(data || model)",
        "excess_nats_per_dim": "the same in nats, for continuous data",
    }
    standard: ClassVar[Mapping[str, object]] = {"importance_samples": 5000}

    split: Literal["test", "validation", "train"] = "test"
    importance_samples: Annotated[int, Ge(1)] = 1000
    replicates: Annotated[int, Ge(1)] = 10
    replicated_examples: Annotated[int, Ge(0)] = 500
    block: Annotated[int, Ge(1)] = 50

    def skip(self, model: Model, data: Dataset) -> str | None:
        """Models without a density, and data that the model's support cannot hold."""
        if not isinstance(model, ExplicitExact | ExplicitApproximate):
            return f"{type(model).__name__} is {family(model)} and has no density to measure; the density suite needs an explicit model."
        return refusal(model, data, self.split)

    def evaluate(self, model: Model, data: Dataset, context: Context) -> Evaluation:
        """Scores ``nll``, and the rate and excess that the data allow; per-example columns ``nll`` and ``nll_stderr``."""
        question = _Question(self, model, data, context)
        with validated():
            costs, variances, asked = question.answers()
        nll = mean(costs)
        contract = self._contract(model, data) | question.contract()
        scores = _scores(nll, data, question.kind, question.parameters(nll, variances, asked), bool(contract["conditional"]))
        columns = {"nll": costs}
        warnings = _warnings(nll)
        if data.source is not None and not contract["conditional"]:
            warnings += self._impossible(costs, data, data.source)
        if question.stochastic:
            columns["nll_stderr"] = (variances / asked).sqrt()
        return Evaluation(scores, contract, data.split(self.split).ids, columns, warnings)

    def _impossible(self, costs: Tensor, data: Dataset, source: Source) -> tuple[str, ...]:
        """A warning where the model beats the truth by more than any normalised density can.

        ``E[prod p(x_i) / r(x_i)] <= 1`` for independent ``x_i ~ r``, so that by Markov's inequality an honest model
        is warned of with a probability of at most ``FALSE_ALARMS``, however many examples there are.
        """
        evidence = 0.0
        split = data.split(self.split)
        for start in range(0, len(split), 4096):
            x, _ = split.batch(start, start + 4096)
            evidence += float((-costs[start : start + 4096] - source.log_prob(x)).sum())
        if not evidence > -math.log(FALSE_ALARMS):
            return ()
        return (
            f"This density beats the true one by {evidence:.1f} nats over {len(split)} examples, which a normalised density does with "
            f"probability {math.exp(-evidence):.1e} at most: it does not sum to one, or it has seen these examples.",
        )

    def _contract(self, model: Model, data: Dataset) -> Flat:
        support = data.space.support
        return {
            "data": data.fingerprint,
            "dataset": data.name,
            **{f"variant.{key}": value for key, value in data.variant.items()},
            "split": self.split,
            "examples": len(data.split(self.split)),
            "dims": data.space.dims,
            "support": f"discrete-{support.levels}" if isinstance(support, Discrete) else "continuous",
            "quantity": "nll",
            "conditional": space_of(model).classes is not None,
        }


@final
class _Question:
    """How the log-density of an example is had from one model on one dataset, and all the answers."""

    def __init__(self, suite: Density, model: Model, data: Dataset, context: Context) -> None:
        assert isinstance(model, ExplicitExact | ExplicitApproximate)
        self.suite, self.model, self.context = suite, model, context
        self.split = data.split(suite.split)
        self.dtype = model_dtype(model)
        self.conditional = space_of(model).classes is not None
        ours, theirs = space_of(model).support, data.space.support
        self.dequantiser: Dequantiser | None = None
        if isinstance(ours, Continuous) and isinstance(theirs, Discrete):
            self.dequantiser = Dequantiser(ours, theirs.levels, data.space.dims)
        self.stochastic = self.dequantiser is not None or not isinstance(model, ExplicitExact)
        self.kind = Kind.UPPER_BOUND if self.stochastic else Kind.EXACT

    def contract(self) -> Flat:
        """What sets these numbers apart from others on the same data."""
        samples = self.suite.importance_samples if isinstance(self.model, LatentVariable) else None
        return {
            "kind": self.kind.value,
            "dequantisation": "none" if self.dequantiser is None else "uniform",
            "estimator": self.estimator,
            "importance_samples": samples,
        }

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

    def parameters(self, nll: Mean, variances: Tensor, asked: Tensor) -> dict[str, str | int | float | bool | None]:
        """K, replicates and the estimator's own standard error of ``nll``, in nats; how many answers were not finite."""
        found: dict[str, str | int | float | bool | None] = {"nonfinite": nll.nonfinite}
        if self.stochastic:
            found["replicates"] = self.suite.replicates
            found["replicated_examples"] = int((asked > 1).sum())
            found["estimator_stderr"] = None if nll.nonfinite else replicate_stderr(variances, asked)
        if isinstance(self.model, LatentVariable):
            found["importance_samples"] = self.suite.importance_samples
        return found

    def answers(self) -> tuple[Tensor, Tensor, Tensor]:
        """Costs, variances over replicates, and how often each example was asked: ``(N,)`` float64 each."""
        n = len(self.split)
        costs, variances, asked = torch.empty(n, dtype=torch.float64), torch.full((n,), math.nan, dtype=torch.float64), torch.ones(n)
        self._check()
        for start, stop, draws in self._repeated() if self.stochastic else self._once():
            costs[start:stop] = -torch.where(draws.isfinite().all(0), draws.mean(0), -math.inf)
            asked[start:stop] = draws.shape[0]
            if draws.shape[0] > 1:
                variances[start:stop] = draws.var(0, correction=1)
            self.context.progress("evaluate", stop, n)
        return costs, variances, asked

    def _check(self) -> None:
        x, y = self._examples(0, 1)
        if self.dequantiser is not None:
            x = self.dequantiser(x, self.context.rng("check", device="cpu"), self.dtype or torch.get_default_dtype())
        check_support(self.model, x, y, self.context.rng("check"))

    def _once(self) -> Iterator[tuple[int, int, Tensor]]:
        for start, stop, answer in self.context.batches(len(self.split), self._exact):
            yield start, stop, answer[None]

    def _exact(self, start: int, stop: int) -> Tensor:
        assert isinstance(self.model, ExplicitExact)
        return ask_log_prob(self.model, *self._examples(start, stop))

    def _repeated(self) -> Iterator[tuple[int, int, Tensor]]:
        """Blocks of examples, each with ``(replicates, block)`` log-densities."""
        block = self.suite.block
        for number, start in enumerate(range(0, len(self.split), block)):
            stop = min(start + block, len(self.split))
            replicates = self.suite.replicates if start < self.suite.replicated_examples else 1
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
                answer = ask_importance_weighted(model, rows, labels, self.suite.importance_samples, rng, context)
            else:
                answer = ask_elbo(model, rows, labels, rng)
            yield start, start + n, answer

    def _examples(self, start: int, stop: int) -> tuple[Tensor, Tensor | None]:
        x, y = self.split.batch(start, stop)
        if x.is_floating_point() and self.dtype is not None:
            x = x.to(self.dtype)
        device = self.context.device
        return x.to(device), y.to(device) if self.conditional and y is not None else None


def _scores(nll: Mean, data: Dataset, kind: Kind, parameters: Mapping[str, str | int | float | bool | None], conditional: bool) -> tuple[Score, ...]:
    dims, entropy = data.space.dims, None if data.source is None or conditional else data.source.entropy
    bits = bits_per_dim(1.0, dims)

    def score(metric: str, unit: str, factor: float, offset: float = 0.0) -> Score:
        scaled = nll.scaled(factor, offset)
        own = parameters.get("estimator_stderr")
        rescaled = dict(parameters) | ({"estimator_stderr": own * factor} if isinstance(own, float) else {})
        return Score(metric, scaled.value, unit, kind, False, scaled.stderr, scaled.ci95, nll.n, rescaled)

    scores = [score("nll", "nats/example", 1.0)]
    match data.space.support:
        case Discrete():
            scores.append(score("bits_per_byte", "bits/byte", bits) if data.text else score("bits_per_dim", "bits/dim", bits))
            if entropy is not None:
                scores.append(score("excess_bits_per_dim", "bits/dim", bits, -entropy * bits))
        case Continuous():
            if entropy is not None:
                scores.append(score("excess_nats_per_dim", "nats/dim", 1 / dims, -entropy / dims))
        case unknown:
            assert_never(unknown)
    return tuple(scores)


def _warnings(nll: Mean) -> tuple[str, ...]:
    if not nll.nonfinite:
        return ()
    return (
        f"{nll.nonfinite} of {nll.n} log-densities were not finite (NaN or infinite); each is worth minus infinity, so the mean is infinite. "
        "Look at the examples whose nll is infinite in the record's per-example values.",
    )
