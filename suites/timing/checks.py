"""What a timing may not hide: each check says what it saw, as a verdict of an audit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from torchstone.models.model import Split
from torchstone.suites.audits.audit import Grade, Verdict, entry
from torchstone.suites.metrics.counts import excess_p_value
from torchstone.suites.metrics.rates import Centre
from torchstone.suites.timing.outputs import Outputs, content
from torchstone.suites.timing.rig import Timing, thirds

__all__ = [
    "CLAIMS",
    "OWN",
    "Fault",
    "agreement",
    "entries",
    "freshness",
    "growth",
    "materialisation",
    "peak",
    "shapes",
    "steadiness",
    "threading",
    "untested",
    "validity",
]

CLAIMS = {
    "materialised": "When a call returns, its output is all there.",
    "valid outputs": "Timed outputs have the shape, the type and the values that are due.",
    "fresh outputs": "Every call computes an output of its own.",
    "timed path": "What is timed is what is evaluated.",
    "every shape": "A batch of a size that was not asked for before costs no more than the next one.",
    "growth": "More examples, or more steps, take more time.",
    "peak": "No more arithmetic is done than the machine can do.",
    "A/A": "The same quantity measured twice is the same.",
    "threads": "Torch computes with the threads that it was given.",
}
_OTHERWISE = {
    "materialised": "Outputs did not change after they were returned, and were copied as fast as plain tensors.",
    "valid outputs": "All of them had.",
    "fresh outputs": "No output repeats another one, and no two share memory.",
    "timed path": "An untouched copy gives the timed outputs again, outside of the clock.",
    "every shape": "The first call of two new sizes took no longer than the second would explain.",
    "growth": "The largest batch took longer than the smallest.",
    "peak": "The arithmetic that was counted is below what matrix products reach.",
    "A/A": "Interleaved halves of the calls agree.",
    "threads": "Their number did not change, and no more processor time was used than they have.",
}
_WORST = (Verdict.FAIL, Verdict.FLAG, Verdict.INCONCLUSIVE)
SURE = 1e-9  # a probability that is left to chance
LEVEL = 1e-3
LATE = 0.25  # of a call's time, that its output may take to be copied beyond a plain tensor's
LATE_SECONDS = 1e-3
RECOMPILED, RECOMPILED_SECONDS = 2.0, 5e-3
FLAT, RANGE = 1.2, 16  # time that grows by less, while examples grow by more
BEYOND = 4.0  # matrix products that fast algorithms for convolutions and causal attention may save
FEW = 12  # measurements on both sides together, below which an interval is too short
OWN = 0.9  # of the seconds, that a process which has a processor to itself is on it
BUSY = 0.25  # processor seconds beyond the threads, for each second


@final
@dataclass(frozen=True, slots=True)
class Fault:
    """Something that a check saw: which claim it concerns, how surely it is meant, and a sentence."""

    check: str
    verdict: Verdict
    words: str
    grade: Grade = Grade.INVARIANT


def entries(faults: Sequence[Fault], untested: Mapping[str, Fault]) -> tuple[Mapping[str, Any], ...]:
    """The verdict of every check, as a record holds those of audits; it passes where it was made and saw nothing.

    Args:
        faults: what was seen.
        untested: for each check that could not be made, what is said of it in place of a pass.
    """
    found = list[Mapping[str, Any]]()
    for name, claim in CLAIMS.items():
        own = [fault for fault in faults if fault.check == name]
        if own:
            worst = min(own, key=lambda fault: _WORST.index(fault.verdict))
            verdict, grade, words = worst.verdict, worst.grade, " ".join(dict.fromkeys(fault.words for fault in own))
        elif name in untested:
            verdict, grade, words = untested[name].verdict, Grade.DECLARED, untested[name].words
        else:
            verdict, grade, words = Verdict.PASS, Grade.INVARIANT, _OTHERWISE[name]
        found.append(entry(name, claim, verdict, grade, words))
    return tuple(found)


def untested(
    *, copied: bool, sizes: Sequence[Sequence[int]], stepped: bool, counted: bool, halves: Sequence[Centre]
) -> dict[str, Fault]:
    """What could not be looked at, by the name of the check, with the reason.

    Args:
        copied: whether an untouched copy of the model gave outputs to compare with.
        sizes: batch sizes that were timed, for each question.
        stepped: whether times for few and for many steps were compared.
        counted: whether the arithmetic of a question was counted.
        halves: ratios of interleaved halves, for each question.
    """
    found: list[Fault] = []
    if not copied:
        words = "No output could be compared with one of an untouched copy of the model."
        found.append(Fault("timed path", Verdict.NOT_APPLICABLE, words))
    if not stepped and not any(_spans(each) for each in sizes):
        words = f"No batch {RANGE} times as large as the smallest was timed; leave suite.batch out, or raise "
        found.append(Fault("growth", Verdict.NOT_APPLICABLE, f"{words}suite.largest_batch or suite.longest_call."))
    if not counted:
        words = "No arithmetic was counted, so that there is none to hold against the matrix products."
        found.append(Fault("peak", Verdict.NOT_APPLICABLE, words))
    if not any(each.n >= FEW for each in halves):
        words = f"Fewer than {FEW} calls were timed, which are too few to judge their halves by; raise suite.calls."
        found.append(Fault("A/A", Verdict.INCONCLUSIVE, words))
    return {each.check: each for each in found}


def materialisation(name: str, timing: Timing) -> Iterator[Fault]:
    """Fails outputs that were not there yet when the clock stopped."""
    outputs = timing.outputs
    if words := outputs.faults.get("lazy"):
        yield Fault("materialised", Verdict.FAIL, f"{name}: {words} Return a plain tensor.", Grade.PROVED)
    if changed := sum(kept.changed for kept in outputs.kept):
        words = (
            f"{name}: {changed} of {len(outputs.kept)} outputs changed after they had been returned: they were still "
        )
        yield Fault("materialised", Verdict.FAIL, f"{words}being computed, or are written into again.", Grade.PROVED)
    if timing.settling > max(LATE_SECONDS, LATE * timing.typical.value):
        words = f"{name}: copying an output took {timing.settling:.3g} s longer than copying a plain tensor, beside "
        yield Fault(
            "materialised", Verdict.FAIL, f"{words}{timing.typical.value:.3g} s for the call: work was left for later."
        )


def validity(name: str, outputs: Outputs) -> Iterator[Fault]:
    """Fails outputs of a wrong shape, type or range; flags what is not finite, which a bad model may give honestly."""
    for kind, words in outputs.faults.items():
        if kind != "lazy":
            verdict = Verdict.FLAG if kind == "finite" else Verdict.FAIL
            yield Fault("valid outputs", verdict, f"{name}: {words}", Grade.PROVED)


def freshness(name: str, outputs: Outputs, split: Split | None) -> Iterator[Fault]:
    """Finds outputs that repeat: of caches that do not look at their inputs, and of pools computed beforehand.

    Two honest outputs agree as a whole with the probability with which two of their rows do, to the power of their
    number. Single samples that have twins are held against the examples of ``split``, which is None where outputs are
    no samples.
    """
    repeated, calls = outputs.repeated(), len(outputs.digests)
    if repeated and outputs.kept:
        chance = calls**2 * _collision(outputs) ** outputs.kept[0].n
        if chance < LEVEL:
            words = (
                f"{name}: {repeated} of {calls} calls with inputs and seeds of their own returned what another one had"
            )
            verdict = Verdict.FAIL if chance < SURE else Verdict.FLAG
            yield Fault("fresh outputs", verdict, f"{words}: they were not computed anew.", Grade.PROVED)
    if shared := outputs.shared():
        words = (
            f"{name}: {shared} outputs lie in the memory of another one: they may be views of a pool that was computed"
        )
        yield Fault("fresh outputs", Verdict.FLAG, f"{words} before; return tensors of their own.")
    if split is not None and outputs.rows:
        twins, n = outputs.twins(), len(outputs.rows)
        examples = [content(row) for row in split.x[:n]]
        expected = len(examples) - len(set(examples))
        if excess_p_value(twins, n, expected, len(examples)) < LEVEL:
            words = (
                f"{name}: {twins} of {n} timed samples equal an earlier one, and {expected} of {len(examples)} examples"
            )
            yield Fault("fresh outputs", Verdict.FLAG, f"{words} do: a small pool, or a model that has collapsed.")


def _collision(outputs: Outputs) -> float:
    """How probable it is, at most, that two rows of an output are equal; from one output, and never zero."""
    copy = outputs.kept[0].copy
    counts = Counter(content(row) for row in copy)
    pairs, equal = math.comb(len(copy), 2), sum(math.comb(count, 2) for count in counts.values())
    return min(1.0, (equal + 1) / (pairs + 1))


def shapes(name: str, sizes: Mapping[int, tuple[float, float]]) -> Iterator[Fault]:
    """Flags a first call of a new size that is dear beside the second: every one of ``sizes`` must be."""
    dear = [n for n, (first, second) in sizes.items() if first > RECOMPILED * second + RECOMPILED_SECONDS]
    if sizes and len(dear) == len(sizes):
        first, second = sizes[dear[0]]
        words = f"{name}: the first call for {dear[0]} examples took {first:.3g} s and the second {second:.3g} s"
        yield Fault(
            "every shape", Verdict.FLAG,
            f"{words}: each new batch size is compiled or set up, which no rate here includes; keep to one size.",
        )  # fmt: skip


def growth(name: str, sizes: Sequence[float], seconds: Sequence[float], what: str = "examples") -> Iterator[Fault]:
    """Flags time that does not grow although the number of examples or steps grew by `RANGE` at least."""
    if _spans(sizes) and seconds[-1] < FLAT * seconds[0]:
        words = f"{name}: {sizes[-1]:g} {what} took {seconds[-1]:.3g} s and {sizes[0]:g} took {seconds[0]:.3g} s"
        yield Fault(
            "growth", Verdict.FLAG,
            f"{words}: so many do not fill the device, or the work is not done then; try larger batches.",
        )  # fmt: skip


def _spans(sizes: Sequence[float]) -> bool:
    """Whether sizes, smallest first, lie far enough apart for time to have to grow from the first to the last."""
    return len(sizes) > 1 and sizes[-1] >= RANGE * sizes[0]


def peak(name: str, fraction: float | None) -> Iterator[Fault]:
    """Fails more arithmetic than the machine can do, at the type of the weights; flags what only tricks explain.

    It decides nothing where the interval of the rate of matrix products is not known.

    Args:
        name: of the question.
        fraction: of the rate of matrix products, the lower end of its interval; None where it has none.
    """
    if fraction is None:
        words = f"{name}: a single matrix product was timed beside it, which does not tell how fast the machine was; "
        yield Fault("peak", Verdict.INCONCLUSIVE, f"{words}raise suite.seconds or suite.calls.", Grade.DECLARED)
        return
    if fraction <= 1.0:
        return
    words = (
        f"{name}: the arithmetic that was counted would need at least {fraction:.3g} times the rate of matrix products"
    )
    if fraction > BEYOND:
        yield Fault("peak", Verdict.FAIL, f"{words}: it was not done, or not in the type of the weights.")
    else:
        yield Fault("peak", Verdict.FLAG, f"{words}: a lower precision, or an algorithm that saves products.")


def agreement(name: str, first: Centre, second: Centre | None) -> Iterator[Fault]:
    """Flags halves that differ beyond their 95 % interval, twice and to the same side."""
    if second is None or _side(first) == 0 or _side(first) != _side(second):
        return
    words = f"{name}: interleaved halves of the same calls differ by a factor of {first.value:.3f}"
    yield Fault(
        "A/A", Verdict.FLAG,
        f"{words} (95 % from {first.low:.3f} to {first.high:.3f}), and did again: something happens every other call.",
    )  # fmt: skip


def steadiness(name: str, timing: Timing) -> Iterator[Fault]:
    """Flags calls that got slower or faster in the course of the measurement, by a tenth at least.

    Not where the process was kept from its processor, which explains as much and is said elsewhere.
    """
    drift, products = timing.drift, thirds(timing.products)
    if timing.cpu < OWN or _side(drift) == 0 or 1 / 1.1 < drift.value < 1.1:
        return
    way = "slower" if drift.value > 1 else "faster"
    cause = (
        "so did the matrix products beside them: the machine throttles, or others use it"
        if _side(products) == _side(drift)
        else "the matrix products beside them did not: the model keeps what it was asked, or leaks"
    )
    words = (
        f"{name}: its calls got {way} in the course of the measurement, by a factor of {drift.value:.3f}, and {cause}."
    )
    yield Fault("A/A", Verdict.FLAG, words)


def threading(name: str, timing: Timing, threads: int) -> Iterator[Fault]:
    """Flags a model that takes more threads than it was given."""
    if timing.threads != threads:
        words = f"{name}: after the calls torch had {timing.threads} threads where {threads} were set"
        yield Fault("threads", Verdict.FLAG, f"{words}; the number is the harness's to set (suite.threads=…).")
    if timing.cpu > threads + BUSY:
        words = f"{name}: its calls used {timing.cpu:.3g} processor seconds in a second, with {threads} threads"
        yield Fault("threads", Verdict.FLAG, f"{words}: the model has threads of its own.")


def _side(ratio: Centre) -> int:
    """On which side of one an interval lies: -1, or 1; 0 for neither, and where measurements are too few to tell."""
    if ratio.n < FEW:
        return 0
    return int(ratio.low > 1) - int(ratio.high < 1)
