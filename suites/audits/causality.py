"""Each conditional of an autoregressive model sees what was generated before it, and nothing else."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor

from torchstone.models.model import Autoregressive, Discrete, Enumerable, ModelError
from torchstone.suites.audits.arithmetic import ROUNDING, Difference, computing_in, difference
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.perturbation import KINDS, changed, conditional_gaps, order_of, values_between
from torchstone.suites.audits.subject import Subject
from torchstone.suites.pictures.audits import causality_matrix

__all__ = ["BlindSpots", "Causality"]

ROWS = 64
TINY_ROWS = 32
DRAWN = 64  # positions of the causality matrix
EXAMPLES = 4  # over which an influence is the greatest

NOT = "The model is not autoregressive, and declares no order to hold it to."


@final
class Causality(Audit):
    """Values at or after a position are changed, and the conditionals up to it must not move.

    All changes lie inside the support, large ones among them, in the declared order; both questions are asked in
    batches of one shape. At most `ROWS` positions drawn at random are tried in each of four ways at full size, and
    every position of the tiny instance. A movement that stays in double precision is a counter-example. What a
    gradient or a NaN shows of continuous models is flagged only: a masked product lets a NaN through honestly.
    """

    name: ClassVar[str] = "causality"
    claim: ClassVar[str] = "In the declared order no conditional depends on its own value or on a later one."

    def audit(self, subject: Subject) -> Finding:
        """Fail on a conditional that is moved by what comes later."""
        model = subject.model
        if not isinstance(model, Autoregressive):
            return Finding.not_applicable(NOT)
        dims = subject.space.dims
        order = order_of(model, dims)
        x, y = subject.test(ROWS)
        ranks = _ranks(len(x), dims, subject.rng("causality/ranks"))
        found, words = _held(subject, subject.own(x), y, order, ranks, "The conditional")
        if found.real:
            return Finding(Verdict.FAIL, Grade.PROVED, words, found.double)
        seen, odd = [words], found.odd
        if isinstance(model, Enumerable):
            tiny = model.tiny()
            if isinstance(tiny, Autoregressive):
                found, words = _tiny(subject, tiny)
                if found.real:
                    return Finding(Verdict.FAIL, Grade.PROVED, words, found.double)
                seen, odd = [*seen, words], odd or found.odd
        poisoned = _poison(subject, subject.own(x[:1]), None if y is None else y[:1], order)
        if poisoned:
            return Finding(Verdict.FLAG, Grade.INVARIANT, " ".join([*seen, poisoned]), found.own)
        power = (
            f"{len(x)} positions out of {dims}, each in {len(KINDS)} ways"
            + ("" if len(seen) == 1 else ", and every position of the tiny instance")
            + ": would see any leak from later values that moves a conditional by a billionth there."
        )
        verdict = Verdict.FLAG if odd else Verdict.PASS
        return Finding(verdict, Grade.INVARIANT, " ".join(seen), found.own, power=power)


@final
class BlindSpots(Audit):
    """Which values of the past a conditional does not listen to: a report, and no fault."""

    name: ClassVar[str] = "blind spots"
    claim: ClassVar[str] = "Which earlier values reach a conditional is shown; none has to."

    def audit(self, subject: Subject) -> Finding:
        """Report the share of pairs without influence, with the matrix of all influences."""
        model = subject.model
        if not isinstance(model, Autoregressive):
            return Finding.not_applicable(NOT)
        dims = subject.space.dims
        try:
            order = order_of(model, dims)
        except ModelError as error:  # which fails causality
            return Finding.not_applicable(f"Without an order there is no past to listen to: {error}")
        ranks = torch.linspace(0, dims - 1, min(DRAWN, dims)).round().long()
        influence = _influence(subject, order, ranks)
        past = torch.ones(len(ranks), len(ranks), dtype=torch.bool).tril(-1)
        blind = past & (influence == 0)
        deaf = int((blind | ~past).all(0)[:-1].sum())
        share = float(blind.sum()) / max(1, int(past.sum()))
        words = (
            f"Of {int(past.sum())} pairs of a conditional and an earlier value, {int(blind.sum())} "
            f"({share:.1%}) have no influence on {EXAMPLES} examples; {deaf} of {len(ranks) - 1} values reach no later "
            "conditional."
        )
        picture = causality_matrix(influence, order[ranks])
        return Finding(
            Verdict.PASS, Grade.INVARIANT, words, share, pictures={"causality": picture} if len(ranks) > 1 else {}
        )


def _ranks(n: int, dims: int, rng: torch.Generator) -> Tensor:
    """``n`` places in the order of generation, each once before any comes twice."""
    rounds = [torch.randperm(dims, generator=rng) for _ in range(-(-n // dims))]
    return torch.cat(rounds)[:n]


def _held(
    subject: Subject, x: Tensor, y: Tensor | None, order: Tensor, ranks: Tensor, what: str
) -> tuple[Difference, str]:
    """The greatest movement of a conditional at or before the first change, over all kinds of change."""
    labels = None if y is None else y.to(subject.context.device)
    early = torch.arange(len(order)) <= ranks[:, None]

    def gaps() -> Tensor:
        values = x.to(subject.dtype) if x.is_floating_point() and subject.dtype is not None else x
        moved = []
        for kind in KINDS:
            rng = subject.rng(f"causality/{kind}")
            pair = changed(subject, values, labels, order, ranks, kind, rng)
            moved.append(conditional_gaps(subject, pair, order, rng) * early)
        return torch.stack(moved).nan_to_num(0.0, torch.inf)

    found = difference(subject.model, gaps)
    kind, row, place = (int(i) for i in torch.unravel_index(torch.tensor(found.place), (len(KINDS), *early.shape)))
    if found.real or found.odd:
        told = f"{what} of position {int(order[place])} moves by {found.words} when {KINDS[kind]} is changed from "
        told += f"position {int(order[ranks[row]])} on, which the order puts no earlier"
        return found, told + ("." if found.real else ", and it could not be told whether that is rounding.")
    return found, f"{what} at or before a change moves by {found.words} at most, in {len(x)} examples."


def _tiny(subject: Subject, tiny: Autoregressive) -> tuple[Difference, str]:
    """The same of every position of the tiny instance, on random examples of its support."""
    small = subject.of_instance(tiny)
    space, rng = small.space, subject.rng("causality/tiny")
    order = order_of(tiny, space.dims)
    n = TINY_ROWS * space.dims
    if isinstance(space.support, Discrete):
        x = torch.randint(space.support.levels, (n, *space.event_shape), generator=rng)
    else:
        low, high = values_between(small)
        x = low + (high - low) * torch.rand((n, *space.event_shape), generator=rng, dtype=torch.float64)
    x, y = x.to(subject.context.device), small.labels(n, rng)
    ranks = torch.arange(space.dims).repeat(TINY_ROWS)
    return _held(small, x, y, order, ranks, "In the tiny instance the conditional")


def _poison(subject: Subject, x: Tensor, y: Tensor | None, order: Tensor) -> str | None:
    """What NaN and gradients show of a continuous model, as a sentence; None where they show nothing."""
    model = subject.model
    if isinstance(subject.space.support, Discrete):
        return None
    assert isinstance(model, Autoregressive)
    labels = None if y is None else y.to(subject.context.device)
    middle = len(order) // 2
    early, late = order[: middle + 1], order[middle:]
    given = x.clone().requires_grad_()
    with torch.enable_grad():
        terms = model.conditionals(given, labels).log_prob(x).flatten()
    if terms.requires_grad:
        (slope,) = torch.autograd.grad(terms[early.to(terms.device)].sum(), given, allow_unused=True)
        if slope is not None and bool((slope.flatten()[late] != 0).any()):
            return f"The gradient of conditionals up to position {int(order[middle])} reaches that position or later."
    poisoned = x.clone()
    poisoned.view(-1)[late] = torch.nan
    try:
        with torch.no_grad():
            after = model.conditionals(poisoned, labels).log_prob(x).flatten()[early]
    except ValueError:  # a distribution that refuses NaN
        return None
    if bool(after.isnan().any()):
        return (
            f"NaN from position {int(order[middle])} on reaches a conditional before it: look whether a mask stops it."
        )
    return None


def _influence(subject: Subject, order: Tensor, ranks: Tensor) -> Tensor:
    """The greatest movement of each conditional when one value alone is changed, ``(R, R)``: row moved, column by whom.

    In double precision where that can be had; what may be rounding is no influence.
    """
    try:
        with computing_in(subject.model, torch.float64):
            influence, least = _movements(subject, order, ranks), ROUNDING
    except Exception:  # an adapter that cannot compute in double precision
        influence, least = _movements(subject, order, ranks), 1e-5
    return torch.where(influence > least, influence, 0.0)


def _movements(subject: Subject, order: Tensor, ranks: Tensor) -> Tensor:
    stored, y = subject.test(EXAMPLES)
    x = subject.own(stored)
    n, movements = len(x), []
    for some in torch.split(ranks, max(1, subject.context.batch_size // n)):
        rng, times = subject.rng("blind spots"), len(some)
        labels = None if y is None else y.repeat(times).to(subject.context.device)
        rows = x.repeat(times, *[1] * (x.ndim - 1))
        pair = changed(subject, rows, labels, order, some.repeat_interleave(n), "this value alone", rng)
        gaps = conditional_gaps(subject, pair, order, rng)[:, ranks]
        movements.append(gaps.view(times, n, -1).amax(1))
    return torch.cat(movements).T
