"""The density suite: negative log-likelihood and bits per dimension, exact or as a bound, with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, assert_never, final

from annotated_types import Ge
from torch import Tensor

from torchstone.models.checks import space_of
from torchstone.models.model import (
    Continuous,
    Discrete,
    ExplicitApproximate,
    ExplicitExact,
    LatentVariable,
    Model,
    family,
)
from torchstone.results.record import Flat, Kind, Score
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset, Source
from torchstone.suites.data.distinct import first_of_each
from torchstone.suites.log_density import Answers, LogDensity, Sampling
from torchstone.suites.metrics.uncertainty import Mean, mean
from torchstone.suites.metrics.units import bits_per_dim
from torchstone.suites.questions import refusal
from torchstone.suites.suite import Evaluation, Suite

__all__ = ["Density"]

FALSE_ALARMS = 1e-3
ROUNDING = 1e-4  # of a sum of probabilities that were computed in float32


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
        replicated_bounds: the same for importance-weighted bounds, which take K times as long.
        block: examples per stochastic question; part of what defines the random numbers.
    """

    name: ClassVar[str] = "density"
    version: ClassVar[int] = 2
    default_models: ClassVar[tuple[str, ...]] = (
        "independent", "mixture", "linear_gaussian", "rnn", "transformer", "pixelcnn", "flow", "vae",
    )  # fmt: skip
    metrics: ClassVar[Mapping[str, str]] = {
        "nll": "negative log-likelihood, nats per example",
        "bits_per_dim": "the same in bits per dimension, for discrete data",
        "bits_per_byte": "the same in bits per byte, for text",
        "excess_bits_per_dim": "bits per dimension above the true entropy, where it is known: KL(data || model)",
        "excess_nats_per_dim": "the same in nats, for continuous data",
        "part_L_T": "of the bound of a diffusion: what is left of the data in its noise",
        "part_L_t": "of the same: its steps",
        "part_L_0": "of the same: the data given the last step",
    }
    standard: ClassVar[Mapping[str, object]] = {"importance_samples": 5000}

    split: Literal["test", "validation", "train"] = "test"
    importance_samples: Annotated[int, Ge(1)] = 1000
    replicates: Annotated[int, Ge(1)] = 10
    replicated_examples: Annotated[int, Ge(0)] = 500
    replicated_bounds: Annotated[int, Ge(0)] = 50
    block: Annotated[int, Ge(1)] = 50

    def skip(self, model: Model, data: Dataset) -> str | None:
        """Models without a density, and data that the model's support cannot hold."""
        if not isinstance(model, ExplicitExact | ExplicitApproximate):
            return (
                f"{type(model).__name__} is {family(model)} and has no density to measure; the density suite "
                "needs an explicit model."
            )
        return refusal(model, data, self.split)

    def evaluate(self, model: Model, data: Dataset, context: Context) -> Evaluation:
        """Scores ``nll``, and what else the data allow; per-example columns ``nll`` and ``nll_stderr``."""
        assert isinstance(model, ExplicitExact | ExplicitApproximate)
        replicated = self.replicated_bounds if isinstance(model, LatentVariable) else self.replicated_examples
        sampling = Sampling(self.importance_samples, self.replicates, replicated, self.block)
        question = LogDensity(model, data, self.split, sampling, context)
        answers = question.answers()
        nll = mean(answers.costs)
        contract = {
            **data.contract(self.split),
            "quantity": "nll",
            "conditional": space_of(model).classes is not None,
            **question.contract(),
        }
        scores = _scores(nll, data, question.kind, question.parameters(nll, answers), bool(contract["conditional"]))
        scores += _parts(answers, data)
        columns = {"nll": answers.costs, **answers.parts}
        warnings = _warnings(nll)
        if isinstance(data.space.support, Discrete) and not contract["conditional"]:
            warnings += self._too_much(answers.costs, data, exact=question.kind is Kind.EXACT)
        if data.source is not None and not contract["conditional"]:
            warnings += self._impossible(answers.costs, data, data.source)
        if question.stochastic:
            columns["nll_stderr"] = (answers.variances / answers.asked).sqrt()
        return Evaluation(scores, contract, data.split(self.split).ids, columns, warnings)

    def _too_much(self, costs: Tensor, data: Dataset, *, exact: bool) -> tuple[str, ...]:
        """A warning where the probabilities of the distinct examples add to more than one.

        Exact ones prove that the model is not normalised. Of bounds that are right in the mean only, an honest sum
        exceeds ``1 / FALSE_ALARMS`` with a probability of at most ``FALSE_ALARMS``, by Markov's inequality.
        """
        total = float((-costs[first_of_each(data.split(self.split))]).logsumexp(0))
        if not total > (ROUNDING if exact else -math.log(FALSE_ALARMS)):
            return ()
        return (
            f"The probabilities of the distinct examples add to e^{total:.3g}, and those of all that are possible to "
            "one at most: this is no probability of discrete data.",
        )

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
            f"This density beats the true one by {evidence:.1f} nats over {len(split)} examples, which a normalised "
            f"density does with probability {math.exp(-evidence):.1e} at most: it does not sum to one, or it has seen "
            "these examples.",
        )


def _scores(nll: Mean, data: Dataset, kind: Kind, parameters: Flat, conditional: bool) -> tuple[Score, ...]:
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
            scores.append(
                score("bits_per_byte", "bits/byte", bits) if data.text else score("bits_per_dim", "bits/dim", bits)
            )
            if entropy is not None:
                scores.append(score("excess_bits_per_dim", "bits/dim", bits, -entropy * bits))
        case Continuous():
            if entropy is not None:
                scores.append(score("excess_nats_per_dim", "nats/dim", 1 / dims, -entropy / dims))
        case unknown:
            assert_never(unknown)
    return tuple(scores)


def _parts(answers: Answers, data: Dataset) -> tuple[Score, ...]:
    """The pieces of a chain's bound: in bits per dimension, or in nats per example where there are none."""
    discrete = isinstance(data.space.support, Discrete)
    factor, unit = (bits_per_dim(1.0, data.space.dims), "bits/dim") if discrete else (1.0, "nats/example")
    found = {name: mean(part).scaled(factor) for name, part in answers.parts.items()}
    return tuple(
        Score(f"part_{name}", part.value, unit, Kind.ESTIMATE, False, part.stderr, part.ci95, part.n)
        for name, part in found.items()
    )


def _warnings(nll: Mean) -> tuple[str, ...]:
    if not nll.nonfinite:
        return ()
    return (
        f"{nll.nonfinite} of {nll.n} log-densities were not finite (NaN or infinite); each is worth minus "
        "infinity, so the mean is infinite. "
        "Look at the examples whose nll is infinite in the record's per-example values.",
    )
