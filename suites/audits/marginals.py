"""Conditional and marginal densities: they must be those of one joint density, where a model says that they are."""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
from torch import Tensor

from torchstone.models.model import Continuous, ExplicitExact, Joint, ModelError
from torchstone.suites.audits.arithmetic import difference, gap
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.subject import Subject
from torchstone.suites.metrics.evidence import undefined, worth
from torchstone.suites.questions import ask_log_prob

__all__ = ["ConditionalMarginal"]

EXAMPLES = 64  # each is asked about with every label
TOTAL = 1e-4  # how far the probabilities of the labels may add up from one, in any arithmetic


@final
class ConditionalMarginal(Audit):
    """Of a joint density, ``log p(x) = log sum_y p(y) p(x|y)``, and so ``log p(x) >= log p(y) + log p(x|y)``.

    Only a model that promises a `Joint` can break this: any other conditional model promises p(x|y) alone, and an
    unconditional one trained beside it is another model. Test examples and noise are asked about with every label and
    with none. What stays in double precision proves that the densities do not belong together.
    """

    name: ClassVar[str] = "conditional and marginal"
    claim: ClassVar[str] = "The conditional densities and the marginal one belong to one joint density."

    def audit(self, subject: Subject) -> Finding:
        """Add up over the labels, and compare."""
        model, space = subject.model, subject.space
        if not isinstance(model, Joint):
            return Finding.not_applicable(_why_not(subject))
        if space.classes is None:
            raise ModelError(
                f"{type(model).__name__} promises a joint density with labels, and its space has none: set classes."
            )
        total = float(_prior(model, space.classes).exp().sum())
        if not abs(total - 1) <= TOTAL:  # NaN too
            words = f"The probabilities of the {space.classes} labels add up to {total:.6g}."
            return Finding(Verdict.FAIL, Grade.PROVED, words, total)
        x = _points(subject)
        answers = _densities(subject, x)
        broken = undefined(answers)
        found = difference(model, lambda: _gaps(_densities(subject, x)))
        marginal, composed = answers
        one, other = float(marginal[found.place]), float(composed[found.place])
        told = f"log p(x) = {one:.6g}, and added up over labels {other:.6g}"
        if found.real:
            witness = f"Of an example {told}: they differ by {found.words}, relative to their size."
            return Finding(Verdict.FAIL, Grade.PROVED, witness, found.double).counting(broken)
        if found.odd:
            witness = f"Of an example {told}: they differ by {found.words}, which may be rounding."
            return Finding(Verdict.FLAG, Grade.INVARIANT, witness, found.own).counting(broken)
        return Finding(
            Verdict.PASS,
            Grade.INVARIANT,
            f"Of {len(x)} examples, half of them noise, p(x) is the sum of p(y) p(x|y) over {space.classes} labels.",
            found.own if found.double is None else found.double,
            power="Sees any other sum at these examples; says nothing of others.",
        ).counting(broken)


def _why_not(subject: Subject) -> str:
    if not isinstance(subject.model, ExplicitExact):
        return "The model gives no exact density."
    if not subject.conditional:
        return "The model takes no labels: it promises p(x) alone."
    return "The model promises p(x|y) alone; one that also states p(y) and p(x) is a torchstone.models.Joint."


def _prior(model: Joint, classes: int) -> Tensor:
    with torch.no_grad():
        answer = model.log_prior_label()
    if not isinstance(answer, Tensor) or answer.shape != (classes,):
        found = f"shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
        raise ModelError(
            f"{type(model).__name__}.log_prior_label gave {found}; return one log-probability per class, ({classes},)."
        )
    return answer.detach().double().cpu()


def _points(subject: Subject) -> Tensor:
    """Test examples and as many of noise, as the model takes them."""
    images = subject.own(subject.test(min(subject.examples, EXAMPLES) // 2)[0])
    rng, support = subject.rng("conditional and marginal"), subject.space.support
    if isinstance(support, Continuous):
        low, high = (support.low, support.high) if support.bounded else (-1.0, 1.0)
        noise = (low + (high - low) * torch.rand(images.shape, generator=rng, dtype=torch.float64)).to(images.dtype)
    else:
        noise = torch.randint(support.levels, images.shape, generator=rng)
    return torch.cat([images, noise.to(images.device)])


def _densities(subject: Subject, x: Tensor) -> Tensor:
    """``log p(x)``, and the logarithm of the sum of ``p(y) p(x|y)`` over labels: ``(2, N)`` nats."""
    model, classes = subject.model, subject.space.classes
    assert isinstance(model, Joint) and classes is not None
    prior, size = _prior(model, classes), max(1, subject.context.batch_size // classes)
    found = []
    for start in range(0, len(x), size):
        rows = x[start : start + size]
        every = rows.repeat_interleave(classes, 0)
        labels = torch.arange(classes, device=x.device).repeat(len(rows))
        given = worth(ask_log_prob(model, every, labels)).view(-1, classes)
        found.append(torch.stack([ask_log_prob(model, rows, None), (prior + given).logsumexp(1)]))
    return torch.cat(found, 1)


def _gaps(densities: Tensor) -> Tensor:
    """How far both are apart, ``(N,)``; a probability of nothing equals one that is too small to be told."""
    return gap(*densities.nan_to_num(-math.inf, -math.inf, -math.inf))
