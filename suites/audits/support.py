"""Samples are what the model says it models, and new."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor

from torchstone.models.model import Continuous, Discrete, ExplicitExact, Sampler, Space, Split, Tokenised
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.subject import Subject
from torchstone.suites.metrics.copies import row_hashes, twins
from torchstone.suites.metrics.counts import excess_p_value
from torchstone.suites.questions import ask_log_prob, check_support

__all__ = ["Freshness", "Support"]

CALL = 100
CHECKED = 4
ROUNDING = 1e-5  # of the width of the support
LEVEL = 1e-3
NOT = "The model draws no samples."


@final
class Support(Audit):
    """Samples have the shape, the type and the values that the model declares, and densities above zero.

    Before that, conditionals and likelihoods of a few test examples must be distributions over the kind of values that
    the model declares.
    """

    name: ClassVar[str] = "support"
    claim: ClassVar[str] = "Samples lie in the declared support, and the model's own density holds them for possible."

    def audit(self, subject: Subject) -> Finding:
        """Fail on values outside of the support; flag what is not finite, repeats or has no density."""
        _check(subject)
        if not isinstance(subject.model, Sampler):
            return Finding.not_applicable(NOT)
        calls, labels = subject.samples
        for x in calls:
            wrong = _outside(x, subject.space, subject.examples // 4)
            if wrong is not None:
                return Finding(Verdict.FAIL, Grade.PROVED, wrong)
        x = torch.cat(calls)
        odd = [*_odd(x, subject.space), *_repeats(calls)]
        if isinstance(subject.model, ExplicitExact) and not odd:
            impossible = int((~_log_prob(subject.model, x, labels).isfinite()).sum())
            if impossible:
                odd.append(
                    f"{impossible} of {len(x)} samples have no finite log-density under the model that drew them."
                )
        if odd:
            return Finding(Verdict.FLAG, Grade.INVARIANT, " ".join(odd))
        words = f"{len(x)} samples in {len(calls)} calls have the declared shape, type and values."
        return Finding(
            Verdict.PASS, Grade.INVARIANT, words, power=f"Would see what happens in more than {3 / len(x):.2g}."
        )


@final
class Freshness(Audit):
    """Samples that repeat each other, or examples of the data, more often than examples repeat each other.

    Data of low entropy are hit honestly, and a bad model repeats itself honestly: this is flagged, and no fault. How
    often test examples stand in the training split, and twice among themselves, says what is to be expected.
    """

    name: ClassVar[str] = "freshness"
    claim: ClassVar[str] = "Samples are new: no copies of the data or of each other beyond what the data have."

    def audit(self, subject: Subject) -> Finding:
        """Flag copies beyond the rate of the data."""
        if not isinstance(subject.model, Sampler):
            return Finding.not_applicable(NOT)
        calls, _ = subject.samples
        x = _stored(torch.cat(calls), subject)
        drawn, hashes = row_hashes(x), {name: _split(subject.data.split(name), x) for name in subject.data.splits}
        test, train = hashes["test"], hashes["train"]
        expected = int(torch.isin(test, train).sum())
        seen: list[str] = []
        odd: list[str] = []
        for name, known in hashes.items():
            hits = int(torch.isin(drawn, known).sum())
            p = excess_p_value(hits, len(drawn), expected, len(test))
            words = f"{hits} of {len(drawn)} samples stand in the {name} split"
            (odd if p < LEVEL else seen).append(words)
        doubled, rate = twins(drawn), twins(test[: len(drawn)])
        p = excess_p_value(doubled, len(drawn), rate, min(len(test), len(drawn)))
        words = f"{doubled} have a twin among the samples"
        (odd if p < LEVEL else seen).append(words)
        null = f"Of {len(test)} test examples {expected} stand in the train split, and {rate} of the first "
        null += f"{min(len(test), len(drawn))} have a twin."
        if odd:
            return Finding(Verdict.FLAG, Grade.INVARIANT, f"{'; '.join(odd)}. {null}", float(len(odd)))
        power = f"Would see copies of the data in more than about {10 / len(drawn):.2g} of the samples."
        return Finding(Verdict.PASS, Grade.INVARIANT, f"{'; '.join(seen)}. {null}", 0.0, power=power)


def _check(subject: Subject) -> None:
    """Raise ModelError where a density is over another kind of values than is declared."""
    if isinstance(subject.model, Tokenised):
        return
    x, y = subject.test(CHECKED)
    y = None if y is None else y.to(subject.context.device)
    with torch.no_grad():
        check_support(subject.model, subject.own(x), y, subject.context.rng("audit/support/check"))


def _outside(x: object, space: Space, n: int) -> str | None:
    """In what samples are not what ``space`` declares, as a sentence; None where they are."""
    if not isinstance(x, Tensor):
        return f"sample({n}) returned a {type(x).__name__}: return a tensor."
    if x.shape != (n, *space.event_shape):
        return f"sample({n}) returned shape {tuple(x.shape)} where {(n, *space.event_shape)} is due."
    support = space.support
    if isinstance(support, Discrete):
        if x.is_floating_point():
            return f"sample returned {x.dtype} on {support}: return integers."
        low, high, slack = 0.0, support.levels - 1.0, 0.0
    else:
        low, high = support.low, support.high
        slack = ROUNDING * (high - low) if support.bounded else 0.0
    out = (x < low - slack) | (x > high + slack)
    out &= x.isfinite()
    if not bool(out.any()):
        return None
    worst = float(x[out][0])
    return f"{int(out.sum())} values of {n} samples lie outside of {support}, such as {worst:.6g}."


def _odd(x: Tensor, space: Space) -> list[str]:
    """What may come of a bad model, or of rounding."""
    odd = []
    if missing := int((~x.isfinite()).flatten(1).any(1).sum()):
        odd.append(f"{missing} of {len(x)} samples are not finite.")
    support = space.support
    if isinstance(support, Continuous) and bool(((x < support.low) | (x > support.high)).any()):
        odd.append(f"Some samples lie outside of {support} by rounding: clamp them.")
    return odd


def _repeats(calls: tuple[Tensor, ...]) -> list[str]:
    first = calls[0]
    if not all(torch.equal(first, other) for other in calls[1:]):
        return []
    if bool((first == first[:1]).all()):
        return ["All samples are equal: the sampler has collapsed."]
    return [f"{len(calls)} calls with seeds of their own gave one and the same batch."]


def _log_prob(model: ExplicitExact, x: Tensor, y: Tensor | None) -> Tensor:
    rows = range(0, len(x), CALL)
    return torch.cat([ask_log_prob(model, x[i : i + CALL], None if y is None else y[i : i + CALL]) for i in rows])


def _stored(x: Tensor, subject: Subject) -> Tensor:
    """Samples as data are stored: taken back to integers where they were dequantised."""
    if subject.dequantiser is not None:
        return subject.dequantiser.support.quantise(x, subject.dequantiser.levels).cpu()
    return x.detach().cpu()


def _split(split: Split, like: Tensor) -> Tensor:
    """Hashes of all examples of a split, in the type of the samples."""
    starts = range(0, len(split), 4096)
    return torch.cat([row_hashes(split.batch(start, start + 4096)[0].to(like.dtype)) for start in starts])
