"""Asking changes nothing, and the answer depends on the question alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, final

import torch
from torch import Tensor

from torchstone.models.model import (
    Discriminative,
    Encoder,
    ExplicitApproximate,
    ExplicitExact,
    LatentVariable,
    Sampler,
)
from torchstone.models.randomness import draw
from torchstone.suites.audits.arithmetic import difference, gap
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.rows import Rows, answers, rows_of, what
from torchstone.suites.audits.second_process import compared
from torchstone.suites.audits.state import generators, global_seed, process, restored, training, weights
from torchstone.suites.audits.subject import Subject
from torchstone.suites.metrics.permutation import matches_test
from torchstone.suites.questions import ask_elbo

__all__ = ["Purity"]

ROWS = 32
SAMPLES = 16
PROOF = 1e-9  # what coincidence is left no more than, where samples repeat
SAME = 1e-6


@final
@dataclass(frozen=True, slots=True)
class _Seen:
    """One thing that was seen; a proof fails the model, anything else is flagged."""

    words: str
    proof: bool = False


@final
@dataclass(frozen=True, slots=True)
class _Untried:
    """Something that could not be tried, and why."""

    words: str


@final
class Purity(Audit):
    """What a question may touch and what its answer may depend on, tried one by one.

    Proofs are: a question that writes into its input; an answer of a deterministic question that follows the global
    seed, what was asked before, or the process in which it is asked, in double precision; draws that follow no seed at
    all; distinct samples that repeat in one order under different seeds. What is careless and harmless by itself is
    flagged: weights, flags and switches that move, and draws from the global generators although a generator was given.
    """

    name: ClassVar[str] = "purity"
    claim: ClassVar[str] = "Asking changes nothing, and answers depend on the question and its generator alone."

    def audit(self, subject: Subject) -> Finding:
        """Try everything, and report the worst."""
        questions = tuple(_questions(subject))
        if not questions:
            return Finding.not_applicable("The model gives neither a density, nor samples, nor features.")
        seen: list[_Seen] = []
        untried: list[str] = []
        errors: list[Exception] = []
        for tried in (_touched, _answers, _draws, _first, _elsewhere):
            with restored():
                try:
                    for found in tried(subject):
                        if isinstance(found, _Seen):
                            seen.append(found)
                        else:
                            untried.append(found.words)
                except Exception as error:  # what was proved by then stays proved
                    errors.append(error)
        proofs = [each.words for each in seen if each.proof]
        if proofs:
            return Finding(Verdict.FAIL, Grade.INVARIANT, " ".join(proofs))
        if errors:
            raise errors[0]
        if seen:
            return Finding(Verdict.FLAG, Grade.INVARIANT, " ".join(each.words for each in seen))
        names = ", ".join(name for name, _ in questions)
        words = f"Inputs, weights, flags, switches and global generators were left alone by {names}; answers repeat."
        if subject.second_process:
            words = " ".join([words, *(untried or ["A second process answers the same."])])
        power = (
            f"Tried on {ROWS} examples and {SAMPLES} samples; would not see what begins later than some dozen calls."
        )
        return Finding(Verdict.PASS, Grade.INVARIANT, words, power=power)


def _questions(subject: Subject) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Everything that can be asked, by name, in small; draws have the same seed each time."""
    model = subject.model
    if what(subject):
        x, y = subject.test(ROWS)
        rows = rows_of(subject, x, y, "purity")
        yield ", ".join(what(subject)), lambda: answers(subject, rows)
    if isinstance(model, ExplicitApproximate):
        yield "elbo", lambda: _elbo(subject)
    if isinstance(model, Sampler):
        yield "sample", lambda: _sample(subject, "purity")


def _touched(subject: Subject) -> Iterator[_Seen]:
    """Inputs, weights, flags, switches and global generators that a question leaves changed."""
    model = subject.model
    if subject.fresh is not None and training(model) != training(subject.fresh):
        yield _Seen("Earlier questions left other training flags than they found.")
    for name, ask in _questions(subject):
        before = weights(model), training(model), process(), generators()
        ask()
        after = weights(model), training(model), process(), generators()
        if before[0] != after[0]:
            yield _Seen(f"{name} moves parameters or buffers.")
        if before[1] != after[1]:
            yield _Seen(f"{name} leaves other training flags than it found.")
        if before[2] != after[2]:
            moved = ", ".join(key for key, value in before[2].items() if after[2][key] != value)
            yield _Seen(f"{name} leaves the process with another {moved}.")
        if before[3] != after[3]:
            yield _Seen(f"{name} moves a global generator.")
    for name, given, question in _inputs(subject):
        kept = given.clone()
        question()
        if not torch.equal(given, kept):
            yield _Seen(f"{name} writes into its input: work on a copy.", proof=True)


def _inputs(subject: Subject) -> Iterator[tuple[str, Tensor, Callable[[], object]]]:
    """Every question about data, by name, with the tensor that it is given."""
    model, (stored, y) = subject.model, subject.test(ROWS)
    labels = None if y is None else y.to(subject.context.device)
    with torch.no_grad():
        if isinstance(model, ExplicitExact):
            x = subject.own(stored).clone()
            yield "log_prob", x, partial(model.log_prob, x, labels)
            if labels is not None:
                yield "log_prob", labels, partial(model.log_prob, x, labels)
        if isinstance(model, LatentVariable):
            x = subject.own(stored).clone()
            yield "posterior", x, partial(model.posterior, x, labels)
            yield "likelihood", x, partial(_likelihood, model, x, labels, subject.context.rng("audit/purity"))
        if isinstance(model, ExplicitApproximate):
            x = subject.own(stored).clone()
            yield "elbo", x, partial(model.elbo, x, labels, rng=subject.context.rng("audit/purity"))
        if isinstance(model, Encoder):
            x = subject.own(stored).clone()
            yield "encode", x, partial(model.encode, x)
        if isinstance(model, Discriminative):
            x = subject.own(stored).clone()
            yield "log_prob_label", x, partial(model.log_prob_label, x)


def _likelihood(model: LatentVariable, x: Tensor, y: Tensor | None, rng: torch.Generator) -> Tensor:
    return model.likelihood(draw(model.posterior(x, y), rng), y).log_prob(x)


def _answers(subject: Subject) -> Iterator[_Seen]:
    """Deterministic answers under two global seeds, and before and after everything else is asked."""
    if not what(subject):
        return
    x, y = subject.test(ROWS)
    rows = rows_of(subject, x, y, "purity")

    def seeds() -> Tensor:
        global_seed(1)
        first = answers(subject, rows)
        global_seed(2)
        return gap(answers(subject, rows), first)

    found = difference(subject.model, seeds)
    if found.real or found.odd:
        told = f"{', '.join(what(subject))} of the same examples asked twice under two global seeds differ by "
        yield _Seen(f"{told}{found.words}.", proof=found.real)
        return

    def history() -> Tensor:
        """One example at a time in between, backwards, among draws; the first and the last come again at the end."""
        global_seed(1)
        first = answers(subject, rows)
        for place in (len(rows) - 1, len(rows) // 2, 0):
            answers(subject, rows.take(torch.tensor([place])))
        for _, ask in list(_questions(subject))[1:]:
            ask()
            answers(subject, rows.take(torch.tensor([len(rows) - 1])))
        global_seed(1)
        return gap(answers(subject, rows), first)

    found = difference(subject.model, history)
    if found.real or found.odd:
        words = f"{', '.join(what(subject))} differ by {found.words} from before other questions were asked"
        yield _Seen(f"{words}: they depend on what was asked earlier.", proof=found.real)


def _draws(subject: Subject) -> Iterator[_Seen]:
    """Draws under one generator and two global seeds; where they differ, under one global seed again."""
    for name, ask in _questions(subject):
        if name not in ("elbo", "sample"):
            continue
        global_seed(1)
        first = ask()
        global_seed(2)
        second = ask()
        if _alike(first, second):
            if name == "sample":
                yield from _repeated(subject, first)
            continue
        again = []
        for _ in range(2):
            global_seed(1)
            again.append(ask())
        if _alike(first, again[0]) and _alike(first, again[1]):
            yield _Seen(
                f"{name} draws from a global generator although it was given one: the same seed gives "
                f"{_share(first, second)} other draws under another global seed."
            )
            continue
        sure = subject.context.device.type == "cpu" and _share(first, again[0]) == _share(*again) == "all"
        yield _Seen(f"{name} gives other draws each time under the same seeds: it follows no generator.", proof=sure)


def _repeated(subject: Subject, first: Tensor) -> Iterator[_Seen]:
    """Distinct samples that come in one order under different seeds; a sampler that has collapsed is honest."""
    p = matches_test(first, _sample(subject, "purity again"))
    if p < PROOF:
        yield _Seen(
            f"{len(first)} samples came in the same order under two seeds, which chance does with probability {p:.1g}: "
            "sample ignores its generator.",
            proof=True,
        )


def _first(subject: Subject) -> Iterator[_Seen]:
    """Two copies that nothing has been asked of, each asked about another batch first."""
    if subject.fresh is None or not what(subject):
        return
    x, y = subject.test(2 * ROWS)
    rows = rows_of(subject, x, y, "purity")
    half = torch.arange(len(rows)).tensor_split(2)
    if not len(half[1]):
        return
    copies = tuple(subject.of(copy.deepcopy(subject.fresh)) for _ in range(2))

    def gaps() -> Tensor:
        found = []
        for one, begin in zip(copies, half, strict=True):
            answers(one, rows.take(begin))
            found.append(answers(one, rows.take(half[0])))
        return gap(*found)

    found = difference([one.model for one in copies], gaps)
    if found.real or found.odd:
        words = f"Of two equal copies one was first asked about other examples; they then differ by {found.words}"
        yield _Seen(f"{words}: the first batch leaves its mark.", proof=found.real)


def _elsewhere(subject: Subject) -> Iterator[_Seen | _Untried]:
    """A copy of the model in another process, with other hashes, asked what this one is asked."""
    if not subject.second_process:
        return
    x, y = subject.test(ROWS)
    rows = rows_of(subject, x, y, "purity") if what(subject) else Rows(x[:0], None if y is None else y[:0])
    found = compared(subject, rows, _one_class(subject), SAMPLES)
    if isinstance(found, str):
        yield _Untried(f"It was not asked in a second process: {found}.")
        return
    if found.odd:
        words = f"{', '.join(what(subject))} of the same examples differ by {found.apart:.3g} in a second process"
        yield _Seen(f"{words}: they depend on the process.", proof=found.real)
    if found.samples is not None and not _alike(*found.samples):
        share = _share(*found.samples)
        yield _Seen(f"sample draws {share} of its samples otherwise in a second process, with the same seed.")


def _elbo(subject: Subject) -> Tensor:
    assert isinstance(subject.model, ExplicitApproximate)
    x, y = subject.test(ROWS)
    labels = None if y is None else y.to(subject.context.device)
    return ask_elbo(subject.model, subject.own(x), labels, subject.context.rng("audit/purity/elbo"))


def _sample(subject: Subject, purpose: str) -> Tensor:
    """Samples of one class, where there are any."""
    assert isinstance(subject.model, Sampler)
    rng = subject.context.rng(f"audit/{purpose}")
    with torch.no_grad():
        return subject.model.sample(SAMPLES, _one_class(subject), rng=rng).detach().cpu()


def _one_class(subject: Subject) -> Tensor | None:
    """A label for each sample, the same; None where there are none."""
    if subject.space.classes is None:
        return None
    return torch.zeros(SAMPLES, dtype=torch.int64, device=subject.context.device)


def _same(a: Tensor, b: Tensor) -> Tensor:
    """Which rows are equal but for rounding, ``(N,)``."""
    if a.shape != b.shape:
        return torch.zeros(len(a), dtype=torch.bool)
    return (gap(a, b) <= SAME).flatten(1).all(1) if a.ndim > 1 else gap(a, b) <= SAME


def _alike(a: Tensor, b: Tensor) -> bool:
    return bool(_same(a, b).all())


def _share(a: Tensor, b: Tensor) -> str:
    """How many rows differ, in words."""
    differ = int((~_same(a, b)).sum())
    return "all" if differ == len(a) else f"{differ} of {len(a)}"
