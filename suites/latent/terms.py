"""The evidence lower bound of every example, taken apart, and the importance-weighted bounds above it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from torchstone.models.model import ExplicitApproximate, LatentVariable, ModelError
from torchstone.suites.context import Context
from torchstone.suites.latent.examples import Examples
from torchstone.suites.metrics.bounds import RUNGS, Ladder, Rung
from torchstone.suites.metrics.latents import analytic_kl
from torchstone.suites.questions import ask_elbo_terms, ask_weights

__all__ = ["Estimate", "Terms", "ask_parts", "ask_terms", "rungs_up_to"]


@final
@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over draws for each example, ``(N,)`` nats, and the variance of that mean: the estimator's own."""

    value: Tensor
    variance: Tensor

    @staticmethod
    def empty(n: int) -> Estimate:
        """Room for ``n`` examples."""
        return Estimate(*(torch.full((n,), math.nan, dtype=torch.float64) for _ in range(2)))


@final
@dataclass(frozen=True, slots=True)
class Terms:
    """What draws from the posterior say of every example.

    Attributes:
        elbo: reconstruction minus rate.
        reconstruction: ``E_q log p(x|z)``.
        rate: ``E_q [log q(z|x) - log p(z)]``.
        parts: what the model itself names.
        ladder: importance-weighted bounds, lowest first; empty for a model that gives no distributions.
        kl: the rate in closed form, where torch knows it.
    """

    elbo: Estimate
    reconstruction: Estimate
    rate: Estimate
    parts: Mapping[str, Estimate] = field(default_factory=dict)
    ladder: tuple[Rung, ...] = ()
    kl: Tensor | None = None


def rungs_up_to(samples: int) -> tuple[int, ...]:
    """The rungs of the ladder of at most ``samples`` draws; the last is ``samples`` itself.

    >>> rungs_up_to(1000)
    (1, 10, 100, 1000)
    >>> rungs_up_to(64)
    (1, 64)
    """
    found = [1]
    for k in RUNGS[1:]:
        if k < samples and k % found[-1] == 0 and samples % k == 0:
            found.append(k)
    return tuple(found) if samples == 1 else (*found, samples)


def ask_terms(model: LatentVariable, examples: Examples, samples: int, context: Context) -> Terms:
    """Draw ``samples`` latents for every example, and use each of them for every bound.

    The ladder's rungs share their draws, so that they rise exactly; the reconstruction and the rate are means over all.
    Memory is that of a piece of draws of one block.
    """
    n, rungs = len(examples), rungs_up_to(samples)
    reconstruction, rate = Estimate.empty(n), Estimate.empty(n)
    ladder = [_empty_rung(k, samples // k, n) for k in rungs]
    kl: Tensor | None = torch.full((n,), math.nan, dtype=torch.float64)
    for number in range(examples.blocks):
        start, stop, rows = examples.block(number)
        climbing, moments = Ladder(len(rows), rungs), _Moments(2, len(rows))
        rng = context.rng("latents/0", number)
        for piece in ask_weights(model, rows.x, rows.y, samples, rng, context):
            climbing.add(piece.log + examples.constant)
            moments.add(torch.stack([piece.reconstruction + examples.constant, piece.rate], 1))
        for estimate, value, variance in zip((reconstruction, rate), *moments.means(), strict=True):
            estimate.value[start:stop], estimate.variance[start:stop] = value, variance
        for whole, found in zip(ladder, climbing.climb(), strict=True):
            _put(whole, found, start, stop)
        with torch.no_grad():
            exact = analytic_kl(model.posterior(rows.x, rows.y), model.prior(rows.y))
        if kl is not None:
            kl = None if exact is None else _filled(kl, exact, start, stop)
        context.progress("bounds", stop, n)
    elbo = Estimate(ladder[0].bound, ladder[0].variance)
    return Terms(elbo, reconstruction, rate, ladder=tuple(ladder), kl=kl)


def ask_parts(model: ExplicitApproximate, examples: Examples, draws: int, context: Context) -> Terms:
    """Ask a model that gives its bound and no distributions ``draws`` times for each example, with its own parts."""
    n = len(examples)
    whole = {name: Estimate.empty(n) for name in ("elbo", "reconstruction", "rate")}
    parts: dict[str, Estimate] = {}
    for number in range(examples.blocks):
        start, stop, rows = examples.block(number)
        answers = [ask_elbo_terms(model, rows.x, rows.y, context.rng(f"latents/{i}", number)) for i in range(draws)]
        reconstruction = torch.stack([answer.reconstruction for answer in answers]) + examples.constant
        rate = torch.stack([answer.rate for answer in answers])
        drawn = {"elbo": reconstruction - rate, "reconstruction": reconstruction, "rate": rate}
        names = {frozenset(answer.parts) for answer in answers} | ({frozenset(parts)} if number else set())
        if len(names) > 1:
            raise ModelError(f"{type(model).__name__}.elbo names other parts from call to call; name the same ones.")
        for name in answers[0].parts:
            parts.setdefault(name, Estimate.empty(n))
            _average(parts[name], torch.stack([answer.parts[name] for answer in answers]), start, stop)
        for name, values in drawn.items():
            _average(whole[name], values, start, stop)
        context.progress("bounds", stop, n)
    return Terms(whole["elbo"], whole["reconstruction"], whole["rate"], parts)


def _average(estimate: Estimate, values: Tensor, start: int, stop: int) -> None:
    """Put the mean over draws ``(draws, stop - start)``, and its variance, in their places."""
    draws = len(values)
    estimate.value[start:stop] = values.mean(0)
    estimate.variance[start:stop] = values.var(0) / draws if draws > 1 else math.nan


class _Moments:
    """Means and their variances of several quantities over draws that come in pieces (Welford's recurrence)."""

    def __init__(self, quantities: int, n: int) -> None:
        self.count = 0
        self.mean = torch.zeros(quantities, n, dtype=torch.float64)
        self.squares = torch.zeros_like(self.mean)

    def add(self, values: Tensor) -> None:
        """Take in ``(k, quantities, N)`` values."""
        k, mean = values.shape[0], values.mean(0)
        off, total = mean - self.mean, self.count + values.shape[0]
        self.squares += (values - mean).square().sum(0) + off.square() * self.count * k / total
        self.mean += off * k / total
        self.count = total

    def means(self) -> tuple[Tensor, Tensor]:
        """Means ``(quantities, N)`` and the variances of these means; NaN after a single draw."""
        scale = self.count * (self.count - 1)
        return self.mean, self.squares / scale if scale else torch.full_like(self.mean, math.nan)


def _empty_rung(samples: int, groups: int, n: int) -> Rung:
    room = [torch.full((n,), math.nan, dtype=torch.float64) for _ in range(4)]
    return Rung(samples, groups, *room)


def _put(whole: Rung, found: Rung, start: int, stop: int) -> None:
    for into, values in (
        (whole.bound, found.bound),
        (whole.variance, found.variance),
        (whole.effective_samples, found.effective_samples),
        (whole.largest_weight, found.largest_weight),
    ):
        into[start:stop] = values


def _filled(whole: Tensor, values: Tensor, start: int, stop: int) -> Tensor:
    whole[start:stop] = values.double().cpu()
    return whole
