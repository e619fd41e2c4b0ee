"""What is said of an example does not depend on the others in its batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, final

import torch
from torch import Tensor

from torchstone.models.model import Discrete, Enumerable, ExplicitApproximate, LatentVariable, Sampler
from torchstone.suites.audits.arithmetic import Difference, difference, gap
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.rows import Rows, answers, rows_of, what
from torchstone.suites.audits.subject import Density, Subject
from torchstone.suites.metrics.permutation import energy_test, sign_test
from torchstone.suites.questions import ask_elbo

__all__ = ["BatchIndependence"]

BATCH = 64
ALONE = 16
CROWDED = 8
SINGLES = 16
SINGLES_BESIDE_TINY = 8
SMALL_SINGLES = 128
SMALL = 16  # dimensions, of which a single sample is had quickly


@final
class BatchIndependence(Audit):
    """Alone, in a batch, shuffled, among extreme neighbours, and beside copies of itself, an example is worth the same.

    Answers that depend on nothing but the example must be equal: a difference that stays in double precision proves
    that they do depend on something else. Draws must follow one law whatever the batch: one sample at a time against
    many at once, by the permutation test of the energy distance, which holds for every sampler.
    """

    name: ClassVar[str] = "batch independence"
    claim: ClassVar[str] = "What the model says of an example depends on no other example in the batch."

    def audit(self, subject: Subject) -> Finding:
        """Fail on a difference that is no rounding; test samplers and noisy bounds."""
        seen, p_values, odd = [], [], False
        if what(subject):
            found, words = _deterministic(subject)
            seen.append(words)
            if found.real:
                return Finding(Verdict.FAIL, Grade.INVARIANT, words, found.double)
            odd = found.odd
        if _draws_its_bound(subject):
            p_values.append(_bound(subject))
            seen.append(f"Draws of the bound alone and in a batch are alike (p = {p_values[-1]:.3g}).")
        for name, sampler in _samplers(subject):
            p_values.append(_samples(sampler))
            seen.append(f"{name} drawn singly and together are alike (p = {p_values[-1]:.3g}).")
        if not seen:
            return Finding.not_applicable("The model gives neither a density, nor samples, nor features.")
        verdict = Verdict.FLAG if odd else Verdict.PASS
        if not p_values:
            return Finding(verdict, Grade.INVARIANT, " ".join(seen), found.own)
        p = min(1.0, len(p_values) * min(p_values))
        power = (
            f"Would see a sampler that follows another law in batches of {BATCH} than alone; not a small change of it."
        )
        return Finding(verdict, Grade.TESTED if not what(subject) else Grade.INVARIANT, " ".join(seen), p, p, power)


def _deterministic(subject: Subject) -> tuple[Difference, str]:
    """The greatest difference over all layouts of one batch, and where it is."""
    x, y = subject.test(BATCH)
    rows = rows_of(subject, x, y, "independence")
    crowd = rows_of(subject, *_crowd(subject), "independence/crowd")
    layouts = tuple(_layouts(subject, rows, crowd))

    def gaps() -> Tensor:
        reference = answers(subject, rows)
        return torch.stack([_apart(subject, batch, at, reference[of]) for _, batch, at, of in layouts])

    found = difference(subject.model, gaps)
    name = layouts[found.place][0]
    told = ", ".join(what(subject))
    if found.real:
        return found, f"{told} of an example {name} differs from that in a batch of {len(x)} by {found.words}."
    if found.odd:
        return found, f"{told} {name} differs by {found.words}, and it could not be told whether that is rounding."
    return found, f"{told} of {len(x)} examples: {len(layouts)} layouts of the batch differ by {found.words} at most."


def _layouts(subject: Subject, rows: Rows, crowd: Rows) -> Iterator[tuple[str, Rows, Tensor, Tensor]]:
    """What a layout is called, its batch, which rows of it are looked at, and which examples they are."""
    n, every = len(rows), torch.arange(len(rows))
    for place in range(min(ALONE, n)):
        yield "alone", rows.take(torch.tensor([place])), torch.tensor([0]), torch.tensor([place])
    order = torch.randperm(n, generator=subject.rng("independence/order"))
    yield "in a shuffled batch", rows.take(order), every, order
    yield "in a batch of seven", rows.take(every[:7]), every[:7], every[:7]
    for place in range(min(CROWDED, n)):
        example = torch.tensor([place])
        at = torch.tensor([(place * 37) % (len(crowd) + 1)])
        front, back = crowd.take(torch.arange(int(at))), crowd.take(torch.arange(int(at), len(crowd)))
        yield "among extreme neighbours", _joined(front, rows.take(example), back), at, example
        yield "beside copies of itself", rows.take(example.expand(BATCH)), torch.arange(BATCH), example.expand(BATCH)


def _apart(subject: Subject, batch: Rows, at: Tensor, reference: Tensor) -> Tensor:
    """The greatest gap between the answers in a layout and those that they must equal."""
    return gap(answers(subject, batch)[at], reference).max()


def _crowd(subject: Subject) -> tuple[Tensor, Tensor | None]:
    """Constant, extreme and random examples of the data's support, and labels where the model takes them."""
    shape, n, rng = subject.data.space.event_shape, BATCH - 1, subject.rng("independence/neighbours")
    support = subject.data.space.support
    if isinstance(support, Discrete):
        x = torch.randint(support.levels, (n, *shape), generator=rng)
        high: float = support.levels - 1
        low: float = 0
    else:
        train, _ = subject.train(500)
        low, high = float(train.min()), float(train.max())
        x = low + (high - low) * torch.rand((n, *shape), generator=rng, dtype=train.dtype)
    x[: n // 3], x[n // 3 : n // 2] = high, low
    x[n // 2 : 2 * n // 3] = torch.where(torch.rand((2 * n // 3 - n // 2, *shape), generator=rng) < 0.5, low, high).to(
        x
    )
    return x, subject.labels(n, rng)


def _joined(*parts: Rows) -> Rows:
    x = torch.cat([part.x for part in parts])
    y = [part.y for part in parts if part.y is not None]
    z = [part.z for part in parts if part.z is not None]
    return Rows(x, torch.cat(y) if y else None, torch.cat(z) if z else None)


def _draws_its_bound(subject: Subject) -> bool:
    model = subject.model
    noisy = isinstance(model, ExplicitApproximate) and not isinstance(model, LatentVariable)
    return noisy and subject.density is not Density.BOUND


def _bound(subject: Subject) -> float:
    """Each example's bound in a batch, and alone, every one drawn in a call of its own."""
    assert isinstance(subject.model, ExplicitApproximate)
    x, y = subject.test(BATCH)
    own = subject.own(x)
    labels = None if y is None else y.to(subject.context.device)
    differences = []
    for place in range(min(SINGLES, len(x))):
        only = slice(place, place + 1)
        together, alone = (
            ask_elbo(
                subject.model,
                own[part],
                None if labels is None else labels[part],
                subject.context.rng(f"audit/independence/{name}", place),
            )
            for name, part in (("together", slice(None)), ("alone", only))
        )
        differences.append(torch.where(together[place] == alone[0], 0.0, together[place] - alone[0]))
    return sign_test(torch.stack(differences), subject.rng("independence/signs"))


def _samplers(subject: Subject) -> Iterator[tuple[str, Subject]]:
    model = subject.model
    if not isinstance(model, Sampler):
        return
    yield "Samples", subject
    if isinstance(model, Enumerable) and subject.space.dims > SMALL:
        tiny = model.tiny()
        if isinstance(tiny, Sampler):
            yield "Samples of the tiny instance", subject.of_instance(tiny)


def _samples(subject: Subject) -> float:
    """The p-value of samples drawn at once and one by one, of labels drawn alike."""
    model = subject.model
    assert isinstance(model, Sampler)
    if subject.space.dims <= SMALL:
        n = SMALL_SINGLES
    else:
        n = SINGLES_BESIDE_TINY if isinstance(model, Enumerable) else SINGLES
    many = max(n, BATCH)
    y = subject.labels(many + n, subject.rng("independence/labels"))
    labels = None if y is None else y.to(subject.context.device)
    with torch.no_grad():
        together = model.sample(
            many, None if labels is None else labels[:many], rng=subject.context.rng("audit/independence/samples")
        )
        singly = [
            model.sample(
                1,
                None if labels is None else labels[many + place : many + place + 1],
                rng=subject.context.rng("audit/independence/single", place),
            )
            for place in range(n)
        ]
    a, b = (part.double().cpu().nan_to_num(0.0, 1e30, -1e30) for part in (together, torch.cat(singly)))
    return energy_test(a, b, subject.rng("independence/permutations"))[1]
