"""Conditional and marginal densities: they must be those of one joint density, where a model says that they are."""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
from torch import Tensor

from torchstone.models.model import ExplicitExact, Joint, ModelError
from torchstone.suites.audits.arithmetic import difference, gap
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.subject import Subject
from torchstone.suites.metrics.evidence import undefined
from torchstone.suites.questions import ask_log_prob

__all__ = ["ConditionalMarginal"]

EXAMPLES = 64  # each is asked about with every label
PROOF = 1e-6  # relative: constants that were rounded to single precision once stay so in double
TINY = -700.0  # nats: where probabilities themselves lose their digits


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
        prior = _prior(model, space.classes)
        total, most = float(prior.double().exp().sum()), _rounding(prior)
        if not total <= 1 + most:  # NaN too
            words = f"The probabilities of the {space.classes} labels add up to {total:.6g}."
            return Finding(Verdict.FAIL, Grade.PROVED, words, total)
        x = _points(subject)
        answers = _densities(subject, x)
        found, broken = difference(model, lambda: _gaps(_densities(subject, x))), undefined(answers)
        one, other = (float(each[found.place]) for each in answers)
        words = (
            f"Of an example log p(x) = {one:.6g}, and added up over labels {other:.6g}: they differ by {found.words}"
        )
        if found.real and (found.double or 0.0) > PROOF:
            return Finding(Verdict.FAIL, Grade.PROVED, f"{words}, relative to their size.", found.double).counting(
                broken
            )
        if found.real or found.odd:
            witness = f"{words}, which may be rounding."
            return Finding(Verdict.FLAG, Grade.INVARIANT, witness, found.own).counting(broken)
        words = f"Of {len(x)} examples, half of them noise, p(x) is the sum of p(y) p(x|y) over {space.classes} labels"
        lacking = total < 1 - most
        return Finding(
            Verdict.FLAG if lacking else Verdict.PASS,
            Grade.INVARIANT,
            f"{words}; these add up to {total:.6g}, and what is left over is lost to the model."
            if lacking
            else f"{words}.",
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
    return answer.detach().cpu()


def _rounding(log_prior: Tensor) -> float:
    """How far from one rounding may take the sum of the probabilities of the labels, in the type of the answer."""
    eps, likely = torch.finfo(log_prior.dtype).eps, log_prior[log_prior > -math.inf].double()
    return eps * (4 + float(likely.abs().max())) if len(likely) else eps


def _points(subject: Subject) -> Tensor:
    """Test examples, as the model takes them, and as many of noise: each place of another example."""
    images = subject.own(subject.test(min(subject.examples, EXAMPLES) // 2)[0])
    flat, rng = images.flatten(1), subject.rng("conditional and marginal")
    turned = torch.rand(flat.shape, generator=rng).argsort(0).to(flat.device)
    return torch.cat([images, flat.gather(0, turned).view_as(images)])


def _densities(subject: Subject, x: Tensor) -> Tensor:
    """``log p(x)``, and the logarithm of the sum of ``p(y) p(x|y)`` over labels: ``(2, N)`` nats."""
    model, classes = subject.model, subject.space.classes
    assert isinstance(model, Joint) and classes is not None
    prior, size = _prior(model, classes).double(), max(1, subject.context.batch_size // classes)
    found = []
    for start in range(0, len(x), size):
        rows = x[start : start + size]
        every = rows.repeat_interleave(classes, 0)
        labels = torch.arange(classes, device=x.device).repeat(len(rows))
        given = ask_log_prob(model, every, labels).view(-1, classes)
        found.append(torch.stack([ask_log_prob(model, rows, None), (prior + given).logsumexp(1)]))
    return torch.cat(found, 1)


def _gaps(densities: Tensor) -> Tensor:
    """How far both are apart, ``(N,)``, where both are defined; what is too improbable to be told apart is equal."""
    marginal, composed = densities
    defined = ~(densities.isnan() | (densities == math.inf)).any(0)
    return torch.where(defined & ~(densities < TINY).all(0), gap(marginal, composed), 0.0)
