"""All that is measured of one question: cost against batch, the best batch, its rate, and what the timing may hide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from torchstone.models.checks import space_of
from torchstone.models.model import ImplicitIterative, Model, Split
from torchstone.suites.context import out_of_memory
from torchstone.suites.metrics.power_law import PowerLaw, power_law
from torchstone.suites.metrics.rates import Centre
from torchstone.suites.timing import checks
from torchstone.suites.timing.checks import Fault
from torchstone.suites.timing.questions import Question, Sampling
from torchstone.suites.timing.rig import Rig, Timing

__all__ = ["Answered", "Point", "ladder", "measured"]

STEPS = (4, 64)  # of an iterative sampler, whose times are compared
AS_GOOD = 0.95  # of the highest rate, that a smaller batch must reach to be the best


@final
@dataclass(frozen=True, slots=True)
class Point:
    """Seconds of some calls for ``n`` examples."""

    n: int
    seconds: Tensor

    @property
    def typical(self) -> float:
        """Their median."""
        return float(self.seconds.median())


@final
@dataclass(frozen=True)
class Answered:
    """What was measured of one question.

    Attributes:
        question: that was asked.
        single: timing of calls for one example; None where it was not asked for.
        curve: cost against batch, a few calls each.
        timing: by the whole protocol, at the best batch.
        agreement: of interleaved halves.
        faults: of the checks.
        notes: in sentences.
    """

    question: Question
    single: Timing | None
    curve: tuple[Point, ...]
    timing: Timing
    agreement: Centre
    faults: tuple[Fault, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def law(self) -> PowerLaw | None:
        """How the time of a call grows with its examples; None for fewer than three batch sizes."""
        if len(self.curve) < 3:
            return None
        return power_law([each.n for each in self.curve], [each.typical for each in self.curve])


def ladder(largest: int, batch: int | None) -> tuple[int, ...]:
    """The batch sizes that are tried: powers of four up to ``largest``, or ``batch`` alone where it is given.

    >>> ladder(100, None)
    (1, 4, 16, 64)
    """
    if batch is not None:
        return (batch,)
    sizes = [1]
    while sizes[-1] * 4 <= largest:
        sizes.append(sizes[-1] * 4)
    return tuple(sizes)


def measured(
    rig: Rig,
    question: Question,
    model: Model,
    sizes: Sequence[int],
    longest: float,
    *,
    split: Split,
    latency: bool,
    say: Callable[[str], None],
) -> Answered:
    """Measure one question.

    Args:
        rig: that times.
        question: to be asked.
        model: it is put to.
        sizes: of the batches that are tried, smallest first.
        longest: seconds that a call may take for a larger batch to be tried, but for the smallest.
        split: examples like those that are sampled.
        latency: whether calls for one example are timed by the whole protocol as well.
        say: told what is being done.
    """
    space = space_of(model) if isinstance(question, Sampling) else None
    say(f"{question.name}, batches")
    curve, notes = _curve(rig, question, sizes, longest)
    best = _best(curve)
    say(f"{question.name}, one by one")
    single = rig.time(question, 1, space) if latency else None
    say(f"{question.name}, {best} at a time")
    timing = rig.time(question, best, space)
    first, second = timing.halves, None
    if not first.low <= 1 <= first.high:  # what would be flagged is measured once more
        second = rig.time(question, best, space).halves
    probes = {n: (rig.once(question, n).seconds, rig.once(question, n).seconds) for n in _unseen(sizes)}
    faults = [
        *checks.materialisation(question.name, timing),
        *checks.validity(question.name, timing.outputs),
        *(checks.validity(question.name, single.outputs) if single else ()),
        *checks.freshness(question.name, timing.outputs, None if space is None else split),
        *checks.shapes(question.name, probes),
        *checks.growth(question.name, [each.n for each in curve], [each.typical for each in curve]),
        *checks.agreement(question.name, first, second),
        *checks.steadiness(question.name, timing),
        *checks.threading(question.name, timing, rig.threads),
        *_steps(rig, question, model),
    ]
    for each in (single, timing):
        if each is not None and not each.warmup.settled:
            notes.append(_unsettled(question, each))
    return Answered(question, single, curve, timing, first, tuple(faults), tuple(notes))


def _curve(rig: Rig, question: Question, sizes: Sequence[int], longest: float) -> tuple[tuple[Point, ...], list[str]]:
    found: list[Point] = []
    for n in sizes:
        if found and found[-1].typical * n / found[-1].n > longest:
            break
        try:
            found.append(Point(n, rig.few(question, n)))
        except Exception as error:
            if not found or not out_of_memory(error):
                raise
            return tuple(found), [f"{question.name}: memory ran out at a batch of {n}; larger ones were not tried."]
    return tuple(found), []


def _best(curve: Sequence[Point]) -> int:
    """The smallest batch that is nearly as fast, for each example, as any."""
    rates = {each.n: each.n / each.typical for each in curve}
    return next(n for n, rate in rates.items() if rate >= AS_GOOD * max(rates.values()))


def _unseen(sizes: Sequence[int]) -> tuple[int, ...]:
    """Two small batch sizes that were not asked for."""
    return tuple([n for n in (2, 3, 5, 6, 7) if n not in sizes][:2])


def _steps(rig: Rig, question: Question, model: Model) -> Iterator[Fault]:
    """Whether an iterative sampler takes longer for more steps."""
    if isinstance(model, ImplicitIterative) and isinstance(question, Sampling):
        few, many = (rig.few(question.stepping(steps), 1) for steps in STEPS)
        yield from checks.growth(question.name, STEPS, [float(few.median()), float(many.median())], "steps")


def _unsettled(question: Question, timing: Timing) -> str:
    return (
        f"{question.name}: the warm-up did not settle in {timing.warmup.calls} calls of {timing.n}: the last windows "
        f"lie {100 * timing.warmup.spread:.0f} % apart. Leave the machine to it, or give it longer with "
        "suite.warmup_seconds=…"
    )
