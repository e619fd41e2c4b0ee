"""Every state of a small instance: their probabilities add up to no more than one, and samples follow them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from torchstone.models.model import (
    Autoregressive,
    Discrete,
    ExplicitApproximate,
    ExplicitExact,
    LatentVariable,
    Sampler,
    Tokenised,
)
from torchstone.results.record import NO_DENSITY
from torchstone.suites.audits.arithmetic import BEYOND, doubled
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.draws import samples
from torchstone.suites.audits.small import Small, enumerable, states_of, tables
from torchstone.suites.audits.subject import Subject, draws_nothing
from torchstone.suites.metrics.evidence import average, monte_carlo_p_value, p_value, undefined, worth
from torchstone.suites.metrics.goodness import g_statistic, pooled, visible_divergence
from torchstone.suites.pictures.audits import mass_meter

__all__ = ["Enumeration", "GoodnessOfFit"]

LOST_PER_DIM = 2e-5  # what honest arithmetic may lose in each dimension
REPLICATES, WEIGHTS, MOST_WEIGHTS = 128, 16, 2**22
MOST_LEVELS, MOST_VALUES = 1024, 2**14
DRAWS, MOST_CELLS = 4000, 256
ASKED_ONCE = "the model cannot be asked in float64."


@final
class Enumeration(Audit):
    """The sum over all states of the model itself, where they are few, or of its tiny instance.

    Only an excess over one fails: what is left over harms the model alone, and is flagged. Of a latent-variable model
    the probabilities are known through unbiased weights: their sum has a mean of at most one, and the product of
    independent such sums is an e-value. Of an autoregressive model the conditionals of test examples are added up as
    well, at full size.
    """

    name: ClassVar[str] = "enumeration"
    claim: ClassVar[str] = "The probabilities of all states add up to no more than one."

    def audit(self, subject: Subject) -> Finding:
        """Add up; a sum above one beyond the rounding of a rerun in float64 is a proof."""
        if not isinstance(subject.model, ExplicitExact | ExplicitApproximate):
            return Finding.not_applicable(NO_DENSITY)
        if not isinstance(subject.space.support, Discrete):
            return Finding.not_applicable("A continuous density has no states to add up; its mass is integrated.")
        largest = _largest_conditional(subject)
        conditionals, broken, settled = (None, 0, True) if largest is None else largest
        if conditionals is not None and conditionals > 1 + (_tolerance(subject) if settled else BEYOND):
            witness = f"At full size the probabilities of the levels of one position add up to {conditionals:.9g}."
            return Finding(Verdict.FAIL, Grade.PROVED, witness, conditionals).counting(broken)
        small = enumerable(subject)
        if isinstance(small, str):
            found = Finding.inconclusive(small)
        else:
            found = _weighted(small) if isinstance(small.model, LatentVariable) else _summed(small)
        if conditionals is None:
            return found
        words = f"{found.witness} At full size conditionals of test examples add up to {conditionals:.9g}"
        if not settled and found.verdict is not Verdict.FAIL:
            return Finding.inconclusive(f"{words}, which may be rounding: {ASKED_ONCE}").counting(broken)
        return replace(found, witness=f"{words}.").counting(broken)


@final
class GoodnessOfFit(Audit):
    """The G-test of samples of a small instance against its own enumerated probabilities.

    The p-value is by simulation, since with sparse cells the chi-square law does not hold. Beyond 256 states those of
    similar probability share a cell. What the probabilities lack of one is left out of account: the test is of shape.
    """

    name: ClassVar[str] = "goodness of fit"
    claim: ClassVar[str] = "Samples of a small instance follow its density."

    def audit(self, subject: Subject) -> Finding:
        """Draw, count, and compare with as many draws from the density itself."""
        if not (isinstance(subject.model, Sampler) and isinstance(subject.model, ExplicitExact)):
            return Finding.not_applicable("This needs a sampler with an exact density.")
        small = enumerable(subject)
        if isinstance(small, str):
            return Finding.not_applicable(small)
        if not (isinstance(small.model, Sampler) and isinstance(small.model, ExplicitExact)):
            return Finding.not_applicable("The tiny instance is no sampler with an exact density.")
        answers = tables(small, "goodness of fit")
        log_p = _each_whole(worth(answers))
        counts = torch.bincount(_indices(small), minlength=len(log_p))
        if bool((counts[log_p == -math.inf] > 0).any()):
            again = doubled(small.model, lambda: tables(small, "goodness of fit"))
            log_p = log_p if again is None else _each_whole(worth(again))
        if bool(log_p.isnan().any()):
            return Finding.inconclusive(f"{small.name} holds every state for impossible.").counting(undefined(answers))
        observed, expected = pooled(counts, log_p.softmax(0), MOST_CELLS)
        expected = expected / expected.sum()
        statistic = float(g_statistic(observed, expected))
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=subject.rng("goodness of fit/null"))))
        simulate = lambda n: g_statistic(torch.from_numpy(rng.multinomial(DRAWS, expected.numpy(), n)), expected)  # noqa: E731
        return Finding.tested(
            monte_carlo_p_value(statistic, simulate),
            statistic,
            f"{small.name} gave {DRAWS} samples in {len(expected)} cells with G = {statistic:.4g}.",
            f"Would see a divergence KL(sampler‖density) of {visible_divergence(len(expected), DRAWS):.2g} nats at "
            f"level 0.001 with 99 % power, at n = {DRAWS}.",
        ).counting(undefined(answers))


def _each_whole(log_p: Tensor) -> Tensor:
    """``(classes, states)`` log-densities, each class made to sum to one and all equally likely, flat.

    Labels are drawn uniformly, so that what one class lacks of one must not become a frequency of labels. A class
    without any possible state gives NaN.
    """
    return (log_p.log_softmax(1) - math.log(len(log_p))).flatten()


def _summed(small: Small) -> Finding:
    """Exact densities, and bounds without draws."""
    answers = tables(small, "enumeration")
    logs, broken = worth(answers), undefined(answers)
    exact = isinstance(small.model, ExplicitExact)
    if isinstance(small.model, ExplicitApproximate) and not exact and not _without_draws(small):
        return Finding.inconclusive(
            f"{small.name} gives draws whose mean is a bound: exponentials of such draws may add up to more, honestly."
        )
    totals, tolerance = logs.logsumexp(1).exp(), _tolerance(small.subject)
    if float(totals.max()) > 1 + tolerance:
        again = doubled(small.model, lambda: tables(small, "enumeration"))
        if again is not None:
            totals, broken = torch.minimum(totals, worth(again).logsumexp(1).exp()), max(broken, undefined(again))
        elif float(totals.max()) <= 1 + BEYOND:
            words = f"{small.name} has probabilities that add up to {float(totals.max()):.9g}, which may be rounding"
            return Finding.inconclusive(f"{words}: {ASKED_ONCE}").counting(broken)
    least, largest = float(totals.min()), float(totals.max())
    between = f"{least:.9g}" if least == largest else f"{least:.9g} to {largest:.9g}"
    classes = f" in each of {len(totals)} classes" if len(totals) > 1 else ""
    witness = f"{small.name} has {logs.shape[1]} states{classes}, whose probabilities add up to {between}"
    lost = exact and least < 1 - LOST_PER_DIM * small.subject.space.dims
    verdict = Verdict.FAIL if largest > 1 + tolerance else Verdict.FLAG if lost else Verdict.PASS
    return Finding(
        verdict,
        Grade.PROVED,
        f"{witness}: what is left over is lost to the model." if verdict is Verdict.FLAG else f"{witness}.",
        least if verdict is Verdict.FLAG else largest,
        power=f"Sees every excess above {tolerance:g}, at this size.",
        pictures={"enumeration": mass_meter(_labelled(small, totals))},
    ).counting(broken)


def _without_draws(small: Small) -> bool:
    model, context = small.model, small.subject.context
    assert isinstance(model, ExplicitApproximate)
    x = states_of(small.subject.space)[:8].to(context.device)
    y = None if small.subject.space.classes is None else torch.zeros(len(x), dtype=torch.long, device=context.device)
    return draws_nothing(model, x, y, context.rng("audit/enumeration/draws"))


def _weighted(small: Small) -> Finding:
    """Unbiased weights of a latent-variable model."""
    classes = small.subject.space.classes or 1
    states = len(states_of(small.subject.space))
    replicates = max(4, min(REPLICATES, MOST_WEIGHTS // (states * classes * WEIGHTS)))
    broken, sums = 0, []
    for replicate in range(replicates):
        answers = tables(small, f"enumeration/{replicate}", samples=WEIGHTS)
        broken += undefined(answers)
        sums.append(worth(answers).logsumexp(1))
    logs = torch.stack(sums)
    means, spread = logs.exp().mean(0), float(logs.var(0).nan_to_num(0.0).max())
    stderr = float(logs.exp().std(0).max()) / math.sqrt(replicates)
    evidence = average(logs.sum(0).tolist())
    return Finding.tested(
        p_value(evidence),
        evidence,
        f"{small.name} has {states} states, whose weights add up to {float(means.max()):.6g} ± {stderr:.2g} on "
        f"average over {replicates} sums.",
        f"Would see probabilities that add up to {math.exp(10 / replicates + spread / 2):.3f}, at this size.",
        {"enumeration": mass_meter(_labelled(small, means))},
    ).counting(broken)


def _tolerance(subject: Subject) -> float:
    return 1e-9 if subject.dtype is torch.float64 else 1e-5


def _labelled(small: Small, totals: Tensor) -> dict[str, float]:
    if len(totals) == 1:
        return {"all states": float(totals[0])}
    return {f"class {label}": total for label, total in enumerate(totals.tolist())}


def _indices(small: Small) -> Tensor:
    """The flat places of samples in a table of classes and states."""
    space = small.subject.space
    assert isinstance(space.support, Discrete)
    x, y = samples(small.subject, DRAWS, "goodness of fit")
    place = space.support.levels ** torch.arange(space.dims - 1, -1, -1)
    state = (x.flatten(1) * place).sum(1)
    return state if y is None else y * space.support.levels**space.dims + state


def _largest_conditional(subject: Subject) -> tuple[float, int, bool] | None:
    """The largest sum over all levels of one conditional of an autoregressive model, on a few test examples.

    With it the number of terms that are NaN or infinite, and whether a sum above one was computed in float64 again.
    None where the model has no discrete conditionals, or too many levels.
    """
    model, support = subject.model, subject.space.support
    if not isinstance(model, Autoregressive) or isinstance(model, Tokenised) or not isinstance(support, Discrete):
        return None
    if support.levels > MOST_LEVELS:
        return None
    x, y = subject.test(max(1, min(16, MOST_VALUES // (support.levels * subject.space.dims))))
    x, y = x.to(subject.context.device), None if y is None else y.to(subject.context.device)
    largest, broken = _conditional_sum(model, support.levels, x, y)
    if largest <= 1 + _tolerance(subject):
        return largest, broken, True
    again = doubled(model, lambda: _conditional_sum(model, support.levels, x, y))
    return (largest, broken, False) if again is None else (min(largest, again[0]), max(broken, again[1]), True)


def _conditional_sum(model: Autoregressive, levels: int, x: Tensor, y: Tensor | None) -> tuple[float, int]:
    with torch.no_grad():
        given = model.conditionals(x, y)
        terms = torch.stack([given.log_prob(torch.full_like(x, level)) for level in range(levels)])
    return float(worth(terms).logsumexp(0).exp().max()), undefined(terms)
