"""Probabilities that are cut off from below, which hides what it costs to be wrong."""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.distributions import Independent

from torchstone.models.model import Autoregressive, Discrete, ExplicitExact, LatentVariable, Tokenised
from torchstone.models.randomness import draw
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.slices import along, conditionals
from torchstone.suites.audits.subject import Subject
from torchstone.suites.metrics.evidence import worth

__all__ = ["Clamping"]

ROWS = 16  # examples, half of them noise
COORDINATES = 64  # that are looked at of a model that gives no conditionals
FEWEST_LEVELS = 5
ALIKE = 3  # levels of one distribution that share the lowest probability
DEEP = 15.0  # nats below the most probable level: counts of 30,000 examples, smoothed by a hundredth, end above it
SAME = 1e-4  # relative, of log-probabilities in float32


@final
class Clamping(Audit):
    """The lowest probability of each value given the others, where the model is surprised: does it repeat itself?

    A clamp, such as the 1e-12 of diffusion decoders or the 1.2e-7 of ``Categorical(probs=...)`` in float32, leaves a
    pmf normalised to many digits, and caps what a value may cost. It shows as several values that are exactly as
    improbable as each other, and more so than counting could make them. A model may mean that, so this is flagged.
    Looked at are test examples and noise, the latter because nothing surprises a model more.
    """

    name: ClassVar[str] = "clamped probabilities"
    claim: ClassVar[str] = "No probability is cut off from below."

    def audit(self, subject: Subject) -> Finding:
        """Look for a floor among the log-probabilities of single values."""
        found = _log_probabilities(subject)
        if isinstance(found, str):
            return Finding.not_applicable(found)
        lowest, alike, depth = _lowest(found)
        clamped = (alike >= ALIKE) & (depth >= DEEP)
        n = len(found)
        power = f"Sees a floor that {ALIKE} values reach, {DEEP:g} nats below the likeliest; not a smooth one."
        if not bool(clamped.any()):
            words = (
                f"In none of {n} distributions of a value are {ALIKE} values equally improbable, {DEEP:g} nats down."
            )
            return Finding(Verdict.PASS, Grade.INVARIANT, words, float(depth.max()), power=power)
        place = int(torch.where(clamped, alike, 0).argmax())
        floor = float(lowest[place])
        words = (
            f"In {int(clamped.sum())} of {n} distributions of a value the least probable ones are equally so; in one, "
            f"{int(alike[place])} of {found.shape[1]} are {float(depth[place]):.4g} nats below the likeliest: being "
            f"wrong costs no more than {-floor / math.log(2):.4g} bits in a dimension."
        )
        return Finding(Verdict.FLAG, Grade.INVARIANT, words, floor, power=power)


def _lowest(log_p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The lowest finite value of each row, how many values of the row are that, and how far below the highest it is."""
    possible = log_p > -math.inf
    lowest = torch.where(possible, log_p, math.inf).amin(1)
    alike = (log_p - lowest[:, None]).abs() <= SAME * lowest[:, None].abs()
    depth = torch.where(possible.any(1), log_p.amax(1) - lowest, 0.0)
    return lowest, (alike & possible).sum(1), depth


def _log_probabilities(subject: Subject) -> Tensor | str:
    """Log-probabilities of every level, a distribution in each row; or why there are none."""
    model, support = subject.model, subject.space.support
    if isinstance(model, Tokenised) or not isinstance(support, Discrete):
        return "Only values of discrete data have a probability of their own."
    if support.levels < FEWEST_LEVELS:
        return f"Of fewer than {FEWEST_LEVELS} values no {ALIKE} can be told to share a floor."
    if not isinstance(model, ExplicitExact | LatentVariable):
        return "The model gives no probability of a single value."
    x, y = _examples(subject, support)
    if isinstance(model, Autoregressive):
        return conditionals(subject, x, y)
    if isinstance(model, ExplicitExact):
        return _along(subject, x, y, support.levels)
    return _decoded(subject, model, x, y, support.levels)


def _examples(subject: Subject, support: Discrete) -> tuple[Tensor, Tensor | None]:
    """Test examples, and as many of noise, with the labels of the former."""
    x, y = subject.test(ROWS // 2)
    noise = torch.randint(support.levels, x.shape, generator=subject.rng("clamping/noise"))
    return torch.cat([x, noise]), None if y is None else y.repeat(2)


def _along(subject: Subject, x: Tensor, y: Tensor | None, levels: int) -> Tensor:
    """Given all other values of an example, at coordinates drawn anew for each."""
    index = torch.arange(COORDINATES) % len(x)
    position = torch.randint(subject.space.dims, (COORDINATES,), generator=subject.rng("clamping/positions"))
    every = torch.arange(levels).expand(COORDINATES, -1)
    log_p = along(subject, x[index], None if y is None else y[index], position, every)
    possible = log_p.amax(1, keepdim=True) > -math.inf
    return torch.where(possible, log_p - log_p.logsumexp(1, keepdim=True), -math.inf)


def _decoded(subject: Subject, model: LatentVariable, x: Tensor, y: Tensor | None, levels: int) -> Tensor | str:
    """Given a latent of each example, where the decoder's dimensions are independent given that."""
    device = subject.context.device
    own, labels = subject.own(x), None if y is None else y.to(device)
    with torch.no_grad():
        given = model.likelihood(draw(model.posterior(own, labels), subject.context.rng("audit/clamping")), labels)
        while isinstance(given, Independent):
            given = given.base_dist
        if given.event_shape or given.batch_shape != own.shape:
            return "The likelihood gives no distribution of a single value."
        each = [worth(given.log_prob(torch.full_like(own, level))).cpu() for level in range(levels)]
    return torch.stack(each, -1).view(-1, levels)
