"""Whether a sampler agrees with its density, one coordinate at a time."""

from __future__ import annotations

import math
from typing import ClassVar, final

from torch import Tensor

from torchstone.models.model import (
    Autoregressive,
    Continuous,
    Discrete,
    Enumerable,
    ExplicitExact,
    LatentVariable,
    Model,
    Sampler,
    Tokenised,
)
from torchstone.suites.audits.audit import Audit, Finding
from torchstone.suites.audits.draws import samples
from torchstone.suites.audits.simulation import simulated
from torchstone.suites.audits.slices import continuous_slices, discrete_slices, sequential_slices
from torchstone.suites.audits.subject import Subject
from torchstone.suites.metrics.evidence import p_value
from torchstone.suites.metrics.permutation import energy_test
from torchstone.suites.metrics.pit import Slices, kolmogorov_p_value
from torchstone.suites.pictures.audits import pit

__all__ = ["ConditionalPIT"]

CERTAIN = "Every value of every sample is the only possible one given the others."


@final
class ConditionalPIT(Audit):
    """One coordinate of each sample, against its distribution given all the others as the density has it.

    The density is asked along the coordinate, so that its constant cancels. If samples follow it, the randomised
    probability integral transforms are uniform and independent; they are tested by the largest distance of their
    distribution from that, and by a statistic that sees samples that are too probable (a temperature, a truncation) or
    too improbable, against its own law. An autoregressive model gives the distribution of every coordinate given those
    before it, and so the transforms of all of them. Of a latent-variable model, whose density is not exact, samples
    are compared with draws from its prior and likelihood.

    Source: Rosenblatt, "Remarks on a Multivariate Transformation", 1952; Cook, Gelman and Rubin, "Validation of
    Software for Bayesian Models Using Posterior Quantiles", 2006, for the use.
    """

    name: ClassVar[str] = "conditional PIT"
    claim: ClassVar[str] = "Samples follow the density."

    def audit(self, subject: Subject) -> Finding:
        """Draw, ask, and compare."""
        model = subject.model
        if not isinstance(model, Sampler):
            return Finding.not_applicable("The model draws no samples.")
        if isinstance(model, ExplicitExact):
            return _exact(subject)
        if isinstance(model, LatentVariable):
            return _latent(subject)
        return Finding.not_applicable("The model has no density, or a bound on one, that its samples could follow.")


def _exact(subject: Subject) -> Finding:
    if isinstance(subject.model, Tokenised):
        return Finding.not_applicable("A sequence of tokens has no coordinate that could be replaced by any other.")
    if isinstance(subject.model, Autoregressive) and isinstance(subject.space.support, Discrete):
        return _sequential(subject, sequential_slices(subject))
    found: Slices | str = ""
    for seen, name in _candidates(subject):
        support = seen.space.support
        found = discrete_slices(seen) if isinstance(support, Discrete) else continuous_slices(seen)
        if not isinstance(found, str):
            return _judged(subject, found, name)
    assert isinstance(found, str)
    return Finding.inconclusive(found)


def _candidates(subject: Subject) -> list[tuple[Subject, str]]:
    """The model itself, and, where a continuous one may not be integrated, its tiny instance."""
    candidates = [(subject, "full size")]
    if isinstance(subject.space.support, Continuous) and isinstance(subject.model, Enumerable):
        tiny: Model = subject.model.tiny()
        if isinstance(tiny, ExplicitExact) and isinstance(tiny, Sampler):
            candidates.append((subject.of_instance(tiny), "the size of the tiny instance"))
    return candidates


def _sequential(subject: Subject, slices: Slices) -> Finding:
    """Every coordinate given those before it: an e-value against temperatures, and the uniform law."""
    if slices.certain:
        return Finding.not_applicable(CERTAIN)
    transforms = slices.transforms(subject.rng("conditional PIT/transforms"))
    z, n = float(slices.statistic()), len(slices.index)
    p_tempered, p_uniform = p_value(slices.log_tempered()), kolmogorov_p_value(transforms)
    return Finding.tested(
        2 * min(p_tempered, p_uniform),
        z,
        f"In {n // subject.space.dims} samples {n} values have Z = {z:+.2f} (above 0 is too probable; p = "
        f"{p_tempered:.2g} against temperatures), and their transforms are uniform with p = {p_uniform:.2g}.",
        f"Would see a temperature that costs {25 / n:.2g} nats in each value, and a shift of {_distance(n):.2g} in a "
        f"distribution function, at n = {n}.",
        {"conditional_pit": pit(transforms)},
    )


def _distance(n: int) -> float:
    """How far from uniform a distribution function must be for ``n`` values to show it at level 0.0001."""
    return math.sqrt(math.log(2 / 1e-4) / (2 * n))


def _judged(subject: Subject, slices: Slices, size: str) -> Finding:
    if slices.certain:
        return Finding.not_applicable(CERTAIN)
    transforms = slices.transforms(subject.rng("conditional PIT/transforms"))
    z, n = float(slices.statistic()), len(slices.index)
    p_z, p_uniform = slices.p_value(subject.rng("conditional PIT/null")), kolmogorov_p_value(transforms)
    return Finding.tested(
        2 * min(p_z, p_uniform),
        z,
        f"At {size} {n} values have Z = {z:+.2f} (p = {p_z:.2g}; above 0 is too probable), and their transforms are "
        f"uniform with p = {p_uniform:.2g}.",
        f"Would see a shift of {5 / math.sqrt(n):.2g} standard deviations in the log-probability of a value, and of "
        f"{_distance(n):.2g} in a distribution function, at n = {n}.",
        {"conditional_pit": pit(transforms)},
    )


def _latent(subject: Subject) -> Finding:
    """Samples against draws from prior and likelihood, moved to the ends of a bounded support where they leave it."""
    n = subject.examples
    drawn, _ = samples(subject, n, "conditional PIT")
    simulation = simulated(subject, n, "conditional PIT/simulated")
    own, other = _within(drawn, subject), _within(simulation.x, subject)
    distance, p = energy_test(own, other, subject.rng("conditional PIT/null"))
    return Finding.tested(
        p,
        distance,
        f"{n} samples and {n} draws of the harness from prior and likelihood differ with p = {p:.2g} by the energy "
        "distance.",
        f"A test of two samples by permutation, at n = {n} each: sees decoder means in place of draws and latents of "
        "another prior, not a small change of temperature.",
    )


def _within(x: Tensor, subject: Subject) -> Tensor:
    support = subject.space.support
    flat = x.flatten(1).double()
    return flat.clamp(support.low, support.high) if isinstance(support, Continuous) else flat
