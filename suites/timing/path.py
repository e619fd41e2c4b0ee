"""Whether what was timed is what is evaluated: timed outputs beside those of an untouched copy, without a clock."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from torchstone.models.model import Model
from torchstone.suites.audits.arithmetic import doubled, gap
from torchstone.suites.audits.audit import Grade, Verdict
from torchstone.suites.timing.checks import Fault
from torchstone.suites.timing.outputs import Kept, content
from torchstone.suites.timing.questions import Deterministic, Question

__all__ = ["Path"]

CHECKED = 4  # outputs of each question: the first, and the latest that were kept
ROUNDING = 1e-5  # relative to 1 + |value|: what single precision may lose in a sum
SLACK = 10.0  # times the error that a copy makes in its own arithmetic
FEW = 0.1  # of the rows, that other kernels on a device may change by their rounding


@final
class Path:
    """Compares timed outputs with those of a copy that was made before anything was timed.

    An answer without draws is asked for once more in two parts of other sizes. It may differ from the timed one by ten
    times as much as from the same in double precision, or by `ROUNDING`. What is drawn is drawn once more by the same
    seed, for as many examples, and each row must come out again. Where it does not from two copies of the model
    either, that is flagged, as nothing can be told of the timed one then.
    """

    def __init__(self, untouched: Model) -> None:
        self._untouched = untouched

    def faults(self, question: Question, kept: list[Kept], device: torch.device) -> Iterator[Fault]:
        """What differs, of the outputs that were ``kept``."""
        for each in kept[:1] + kept[1:][-CHECKED + 1 :]:
            if isinstance(question, Deterministic):
                yield from self._answer(question, each)
            else:
                yield from self._draw(question, each, device)

    def _copied(self, question: Question) -> tuple[Model, Question]:
        model = copy.deepcopy(self._untouched)
        return model, question.of(model)

    def _answer(self, question: Deterministic, each: Kept) -> Iterator[Fault]:
        model, asked = self._copied(question)
        assert isinstance(asked, Deterministic)
        with torch.no_grad():
            again = asked.in_parts(each.n, each.number)().cpu()
            exact = doubled(model, asked.in_parts(each.n, each.number, torch.float64))
            reference = again if exact is None or exact.shape != again.shape else exact.cpu()
            if again.shape != each.copy.shape:
                yield _fault(
                    question, f"has shape {tuple(each.copy.shape)} when timed and {tuple(again.shape)} otherwise"
                )
                return
            own, seen = float(gap(again, reference).max()), float(gap(each.copy, reference).max())
            allowed = max(ROUNDING, SLACK * own)
            if seen <= allowed:
                return
            _, whole = self._copied(question)
            same = float(gap(each.copy, whole.prepare(each.n, each.number)().cpu()).max()) <= allowed
        words = f"an answer differs by {seen:.3g} from that to the same question outside of the clock"
        words += f", where {allowed:.2g} is rounding" + (", and depends on the batch it is in" if same else "")
        yield _fault(question, words, sure=not same)

    def _draw(self, question: Question, each: Kept, device: torch.device) -> Iterator[Fault]:
        with torch.no_grad():
            first, second = (self._copied(question)[1].prepare(each.n, each.number)().cpu() for _ in range(2))
        if first.shape != each.copy.shape or first.dtype != each.copy.dtype:
            yield _fault(question, "draws another shape or type when timed than otherwise")
            return
        differ = int((~_same(each.copy, first)).sum())
        unsure = int((~_same(first, second)).sum())
        if unsure:
            words = f"{unsure} of {each.n} draws do not come out again from the same seed, outside of the clock: "
            yield _fault(question, words + "whether what is timed is what is evaluated cannot be told", sure=False)
        if differ <= unsure:
            return
        words = f"{differ} of {each.n} draws differ from those of the same seed outside of the clock"
        yield _fault(question, words, sure=unsure == 0 and (device.type == "cpu" or differ > FEW * each.n))


def _same(a: Tensor, b: Tensor) -> Tensor:
    """Which rows are equal, ``(n,)``: to the bit where they are integers, else but for rounding."""
    if not a.is_floating_point():
        return torch.tensor([content(x) == content(y) for x, y in zip(a, b, strict=True)])
    close = gap(a, b) <= ROUNDING
    return close.flatten(1).all(1) if close.ndim > 1 else close


def _fault(question: Question, words: str, *, sure: bool = True) -> Fault:
    return Fault(
        "timed path",
        Verdict.FAIL if sure else Verdict.FLAG,
        f"{question.name}: {words}.",
        Grade.PROVED if sure else Grade.INVARIANT,
    )
