"""Total mass: that distinct points have no more than one together, and that a density integrates to no more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from torchstone.models.checks import space_of
from torchstone.models.model import (
    Continuous,
    Discrete,
    Enumerable,
    ExplicitExact,
    LatentVariable,
    Model,
    Sampler,
    Tokenised,
)
from torchstone.results.record import NO_DENSITY
from torchstone.suites.audits.arithmetic import BEYOND, doubled
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.draws import samples
from torchstone.suites.audits.proposal import Bell, HeavyTails
from torchstone.suites.audits.subject import Density, Subject
from torchstone.suites.metrics.evidence import average, log_bet, p_value, undefined, worth
from torchstone.suites.pictures.audits import mass_meter
from torchstone.suites.questions import ask_importance_weighted, ask_log_prob

__all__ = ["ImportanceMass", "SuperUnity"]

EXCESS = 1e-6  # nats that a sum of exact probabilities may be above 0
ROUNDING_PER_DIM = 1e-5  # the same where nothing but float32 is to be had
MOST_DIMS, DRAWS, FITTED = 8, 10_000, 1_000
CLOSE, FEWEST_EFFECTIVE = 0.05, 0.05
WEIGHTS = 16
VISIBLE = 1e-2  # a p-value that is evidence
WORTH_DRAWING = -7.0  # nats: a mass that can be seen in a picture


@final
class SuperUnity(Audit):
    """Distinct points of discrete data, under one label where there are any: images of both splits, noise, constants.

    Exact probabilities, and bounds without draws, that add up to more than one prove that the model is not normalised,
    at full size. Of stochastic weights the sum is an e-value.
    """

    name: ClassVar[str] = "super-unity"
    claim: ClassVar[str] = "No set of distinct points has a total probability above one."

    def audit(self, subject: Subject) -> Finding:
        """Add up the probabilities of what no density can all hold for likely."""
        if isinstance(subject.model, Tokenised) or not isinstance(subject.data.space.support, Discrete):
            return Finding.not_applicable("Only points of discrete data in the model's own terms have a probability.")
        if subject.density in (Density.NONE, Density.NOISY):
            return Finding.not_applicable(
                NO_DENSITY
                if subject.density is Density.NONE
                else "Exponentials of draws whose mean is a bound may add up to more, honestly."
            )
        x, y, group = _points(subject)
        answers = subject.log_density(x, y, "super-unity", WEIGHTS)
        log_p, broken = worth(answers), undefined(answers)
        largest = max(_totals(log_p, y))
        pictures = {"super_unity": mass_meter(_masses(log_p, y, group))} if largest > WORTH_DRAWING else {}
        if subject.density is Density.WEIGHT:
            evidence = average(_totals(log_p, y))
            p = p_value(evidence)
            return Finding(
                Verdict.PASS, Grade.TESTED if p < VISIBLE else Grade.INVARIANT,  # it sees so little that a pass is none
                f"The weights of {len(x)} distinct points add up to exp({largest:.4g}).",
                evidence, p, "Would see them add up to 10,000 and more.", pictures,
            ).counting(broken)  # fmt: skip
        allowed = EXCESS if subject.dtype is torch.float64 else ROUNDING_PER_DIM * subject.space.dims
        if largest > allowed:
            again = doubled(subject.model, lambda: subject.log_density(x, y, "super-unity"))
            if again is not None:
                largest, broken = min(largest, max(_totals(worth(again), y))), max(broken, undefined(again))
            elif largest <= math.log1p(BEYOND):
                words = f"The probabilities of {len(x)} distinct points add up to exp({largest:.6g}), which may be "
                return Finding.inconclusive(f"{words}rounding: the model cannot be asked in float64.").counting(broken)
        failed = largest > allowed
        return Finding(
            Verdict.FAIL if failed else Verdict.PASS,
            Grade.PROVED if failed else Grade.INVARIANT,  # a sum over some points proves what is above one alone
            f"The probabilities of {len(x)} distinct points add up to exp({largest:.6g}).",
            largest,
            power="Sees a model that holds some of these points for certain; not one that is only a little too large.",
            pictures=pictures,
        ).counting(broken)


@final
class ImportanceMass(Audit):
    """The integral of a continuous density of at most eight dimensions, by importance sampling.

    The model itself where it is small enough, else its tiny instance. Points are drawn from a heavy-tailed reference
    that is fitted to other draws, and the evidence is a bet on ``p / r`` at them. Only an excess fails; mass that is
    missing, such as the tails of a Gaussian beyond a bounded support, is lost to the model alone.

    Of an exact density that draws samples the other direction is a bet on ``r / p`` at samples: it wins where the
    samples follow something else than the density. Both bets are averaged.
    """

    name: ClassVar[str] = "importance mass"
    claim: ClassVar[str] = "A continuous density integrates to no more than one, and its samples follow it."

    def audit(self, subject: Subject) -> Finding:
        """Integrate."""
        chosen = _integrable(subject)
        if isinstance(chosen, str):
            return Finding.not_applicable(chosen)
        space = chosen.space
        assert isinstance(space.support, Continuous)
        y = chosen.labels(DRAWS, chosen.rng("importance mass/labels"))
        points = _points_of(chosen)
        reference = HeavyTails(points, space.support)
        x, log_r = reference.draw(DRAWS, chosen.rng("importance mass"))
        answers = _inside(chosen, x, y, "importance mass")
        log_p = worth(answers)
        integral, followed = log_bet(log_p, log_r), _followed(chosen, [reference, Bell(points)])
        evidence = integral if followed is None else average([integral, followed])
        ratios = (log_p - log_r).exp()
        mass, stderr = float(ratios.mean()), float(ratios.std()) / math.sqrt(DRAWS)
        effective = float(ratios.sum().square() / ratios.square().sum()) / DRAWS if mass > 0 else 0.0
        settled = 4 * stderr <= CLOSE and effective > FEWEST_EFFECTIVE
        missing = settled and mass + 4 * stderr < 1 - CLOSE
        name = "The model itself" if chosen.model is subject.model else "The tiny instance"
        return Finding(
            Verdict.FLAG if missing else Verdict.PASS if settled else Verdict.INCONCLUSIVE,
            Grade.TESTED,
            f"{name} has a mass of {mass:.5g} ± {stderr:.2g} over {space.dims} dimensions"
            + (": the rest lies outside of its support, or nowhere." if missing else ".")
            + ("" if followed is None else f" A bet that its samples do not follow it gained exp({followed:.3g})."),
            evidence,
            p_value(evidence),
            f"{DRAWS} points, as good as {effective:.0%} of them from the density: would see a mass above "
            f"{1 + math.sqrt(20 / DRAWS) * float(ratios.std()):.4g}.",
            {"importance_mass": mass_meter({f"integral over {space.dims} dimensions": mass})},
        ).counting(undefined(answers))


def _followed(subject: Subject, references: Sequence[Bell | HeavyTails]) -> float | None:
    """The logarithm of a bet against samples that follow their exact density; None where there are no such samples.

    Only samples strictly inside the support count, as some models move what falls outside to its ends: of an honest
    model ``E [1(x inside) r(x) / p(x)]`` is then the mass of the reference inside, which is at most one.
    """
    model, space = subject.model, subject.space
    if not (isinstance(model, Sampler) and isinstance(model, ExplicitExact)):
        return None
    assert isinstance(space.support, Continuous)
    drawn, y = samples(subject, DRAWS, "importance mass/samples")
    x = drawn.flatten(1).double()
    log_p = worth(_inside(subject, x, y, "importance mass/samples"))
    counts = ((x > space.support.low) & (x < space.support.high)).all(1) & log_p.isfinite()
    bets = []
    for reference in references:
        log_r = torch.full_like(log_p, -math.inf)
        log_r[counts] = reference.log_density(x[counts])
        bets.append(log_bet(log_r, log_p.masked_fill(~counts, 0.0)))
    return average(bets)


def _integrable(subject: Subject) -> Subject | str:
    """The model, or its tiny instance, where it is a continuous density of few dimensions, or why there is neither."""
    candidates = [subject.model]
    if isinstance(subject.model, Enumerable) and not _is_small(subject.model):
        candidates.append(subject.model.tiny())
    for model in candidates:
        if _is_small(model) and isinstance(model, ExplicitExact | LatentVariable):
            return subject.of_instance(model)
    return (
        f"This needs a continuous density, or unbiased weights of one, of at most {MOST_DIMS} dimensions: of the model "
        "itself or of its tiny instance."
    )


def _is_small(model: Model) -> bool:
    space = space_of(model)
    return isinstance(space.support, Continuous) and space.dims <= MOST_DIMS


def _inside(subject: Subject, x: Tensor, y: Tensor | None, purpose: str) -> Tensor:
    """``log p``, or the logarithm of a weight, of points ``(n, D)``; minus infinity outside the support.

    What lies outside is not asked.
    """
    model, space, context = subject.model, subject.space, subject.context
    assert isinstance(space.support, Continuous)
    rows = x.to(subject.dtype or torch.float64)
    inside = ((rows >= space.support.low) & (rows <= space.support.high)).all(1)
    kept = rows[inside].view(-1, *space.event_shape).to(context.device)
    labels = None if y is None else y[inside].to(context.device)
    answers = [torch.empty(0, dtype=torch.float64)]
    for block, start in enumerate(range(0, len(kept), context.batch_size)):
        batch = kept[start : start + context.batch_size]
        label = None if labels is None else labels[start : start + context.batch_size]
        if isinstance(model, ExplicitExact):
            answers.append(ask_log_prob(model, batch, label))
        else:
            assert isinstance(model, LatentVariable)
            rng = context.rng(f"audit/{purpose}", block)
            answers.append(ask_importance_weighted(model, batch, label, WEIGHTS, rng, context))
    found = torch.full((len(x),), -math.inf, dtype=torch.float64)
    found[inside] = torch.cat(answers)
    return found


def _points_of(subject: Subject) -> Tensor:
    """Points to fit references to: samples, or, where the model draws none, what a wide reference finds likely."""
    space = subject.space
    assert isinstance(space.support, Continuous)
    if isinstance(subject.model, Sampler):
        points = samples(subject, FITTED, "importance mass/fit")[0].flatten(1).double()
        points = points[points.isfinite().all(1)]
        if len(points):
            return points
    rng = subject.rng("importance mass/pilot")
    if space.support.bounded:
        wide = torch.rand(FITTED, space.dims, dtype=torch.float64, generator=rng)
        broad = space.support.low + (space.support.high - space.support.low) * wide
    else:
        broad = 5.0 * torch.randn(FITTED, space.dims, dtype=torch.float64, generator=rng)
    x, log_r = HeavyTails(broad, space.support).draw(DRAWS, rng)
    y = subject.labels(DRAWS, rng)
    weights = (worth(_inside(subject, x, y, "importance mass/pilot")) - log_r).softmax(0)
    if not bool(weights.isfinite().all()):
        return broad
    return x[torch.multinomial(weights, FITTED, replacement=True, generator=rng)]


def _points(subject: Subject) -> tuple[Tensor, Tensor | None, Tensor]:
    """Distinct points, their labels, and which of the four kinds each is."""
    (test, y_test), (train, y_train) = subject.test(subject.examples), subject.train(subject.examples)
    assert isinstance(subject.data.space.support, Discrete)
    levels, shape = subject.data.space.support.levels, subject.data.space.event_shape
    rng = subject.rng("super-unity/points")
    noise = torch.randint(levels, (min(64, subject.examples), *shape), generator=rng)
    constants = torch.arange(min(levels, 64)).view(-1, *[1] * len(shape)).expand(-1, *shape)
    parts = [test, train, noise, constants]
    x = torch.cat([part.long() for part in parts])
    group = torch.cat([torch.full((len(part),), place) for place, part in enumerate(parts)])
    drawn = subject.labels(len(noise) + len(constants), rng)
    y = None if y_test is None or y_train is None or drawn is None else torch.cat([y_test, y_train, drawn])
    _, inverse = torch.unique(x.flatten(1), dim=0, return_inverse=True)
    first = torch.full((int(inverse.max()) + 1,), len(x)).scatter_reduce(0, inverse, torch.arange(len(x)), "amin")
    return x[first], None if y is None else y[first], group[first]


def _totals(log_p: Tensor, y: Tensor | None) -> list[float]:
    """The logarithm of the sum over the points of each label."""
    if y is None:
        return [float(log_p.logsumexp(0))]
    return [float(log_p[y == label].logsumexp(0)) for label in torch.unique(y).tolist()]


def _masses(log_p: Tensor, y: Tensor | None, group: Tensor) -> dict[str, float]:
    """Mass by kind of point; of labelled ones the largest over the labels."""
    names = ("test images", "training images", "noise", "constants")
    return {
        name: math.exp(max(_totals(log_p[group == place], None if y is None else y[group == place])))
        for place, name in enumerate(names)
        if bool((group == place).any())
    }
