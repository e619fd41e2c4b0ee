"""The protocol of a timing: warm up until it is steady, then many calls with fresh questions, calibrated between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.models.model import Space
from torchstone.suites.metrics.rates import Centre, median, ratio
from torchstone.suites.timing.calibration import MatrixProduct
from torchstone.suites.timing.clock import Clock
from torchstone.suites.timing.outputs import Outputs
from torchstone.suites.timing.questions import Question

__all__ = ["Call", "Effort", "Rig", "Timing", "Warmup", "thirds"]

AGREE = 0.05  # how far the three windows that end a warm-up may lie apart
WINDOWS = 3
PATIENCE = 5  # times the least warm-up, after which it has not settled
BETWEEN = 10  # seconds of timed calls to one second of calibration
MOST = 100_000  # timed calls, whatever a clock says


@final
@dataclass(frozen=True, slots=True)
class Effort:
    """How long a quantity is measured: at least so many calls, and at least so many seconds."""

    calls: int
    seconds: float
    warmup_calls: int
    warmup_seconds: float


@final
@dataclass(frozen=True, slots=True)
class Warmup:
    """How a warm-up went.

    Attributes:
        first: seconds of its first call.
        calls: how many calls it took.
        spread: how far the last three windows lay apart, relative to the shortest.
        settled: whether that was within `AGREE`.
    """

    first: float
    calls: int
    spread: float
    settled: bool


@final
@dataclass(frozen=True, slots=True)
class Timing:
    """Many timed calls of one question.

    Attributes:
        n: examples in each call.
        seconds: of each call, ``(calls,)`` float64, in the order in which they were made.
        warmup: what went before.
        products: seconds of each calibrating matrix product between the calls.
        cpu: processor seconds of this process for each second of the calls.
        settling: seconds that the output of a call took to be copied to the host, beyond what a plain tensor of its
            size takes; the median over some calls.
        threads: how many threads torch had after the calls.
        outputs: what was returned.
    """

    n: int
    seconds: Tensor
    warmup: Warmup
    products: Tensor
    cpu: float
    settling: float
    threads: int
    outputs: Outputs

    @property
    def typical(self) -> Centre:
        """The median seconds of a call."""
        return median(self.seconds)

    @property
    def rate(self) -> Centre:
        """Examples per second."""
        return self.typical.inverse(self.n)

    @property
    def halves(self) -> Centre:
        """The ratio of the medians of two interleaved halves, in the order ABBA, which cancels a drift."""
        second = torch.tensor([place % 4 in (1, 2) for place in range(len(self.seconds))])
        return ratio(self.seconds[second], self.seconds[~second])

    @property
    def drift(self) -> Centre:
        """The median of the last third of the calls over that of the first."""
        return thirds(self.seconds)


@final
@dataclass(frozen=True, slots=True)
class Call:
    """One call: what it returned, its seconds, the processor seconds of this process in it, and its number."""

    output: object
    seconds: float
    cpu: float
    number: int


@final
class Rig:
    """Times questions with one clock, and never asks one twice in the same words.

    Attributes:
        clock: that times.
        effort: spent on each quantity.
        product: the calibration.
        threads: torch is to compute with.
    """

    def __init__(self, clock: Clock, effort: Effort, product: MatrixProduct, threads: int) -> None:
        self.clock, self.effort, self.product, self.threads = clock, effort, product, threads
        self._number = 0

    def once(self, question: Question, n: int) -> Call:
        """One call with a question that is new."""
        self._number += 1
        with torch.no_grad():
            call = question.prepare(n, self._number)
            before = self.clock.cpu()
            output, seconds = self.clock.timed(call)
        return Call(output, seconds, self.clock.cpu() - before, self._number)

    def few(self, question: Question, n: int, *, calls: int = 3, seconds: float = 0.05, most: int = 50) -> Tensor:
        """Seconds of a few calls after one that is not counted, for choices and curves."""
        found: list[float] = []
        self.once(question, n)
        while len(found) < calls or (sum(found) < seconds and len(found) < most):
            found.append(self.once(question, n).seconds)
        return torch.tensor(found, dtype=torch.float64)

    def time(self, question: Question, n: int, space: Space | None) -> Timing:
        """Time ``question`` for ``n`` examples by the whole protocol; ``space`` is that of samples."""
        warmup, outputs = self._warm(question, n), Outputs(space)
        self._product()  # the first one also loads what it needs
        seconds: list[float] = []
        products, settling = [self._product()], list[float]()
        cpu = total = since = 0.0
        while len(seconds) < MOST and (len(seconds) < self.effort.calls or total < self.effort.seconds):
            call = self.once(question, n)
            seconds.append(call.seconds)
            cpu, total, since = cpu + call.cpu, total + call.seconds, since + call.seconds
            copy, late = self._settled(call.output)
            settling += [late] if len(seconds) & (len(seconds) - 1) == 0 else []
            outputs.take(n, call.number, call.output, copy)
            if since > BETWEEN * products[-1]:
                products.append(self._product())
                since = 0.0
        threads = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        return Timing(
            n,
            torch.tensor(seconds, dtype=torch.float64),
            warmup,
            torch.tensor(products, dtype=torch.float64),
            cpu / total if total > 0 else 0.0,
            float(torch.tensor(settling, dtype=torch.float64).median()),
            threads,
            outputs,
        )

    def _warm(self, question: Question, n: int) -> Warmup:
        """Ask until three windows in a row agree; a window is a call, or as many as take a tenth of the least time."""
        least = self.effort.warmup_seconds
        first = self.once(question, n).seconds
        windows: list[float] = []
        calls, spent = 1, first
        while True:
            window = [self.once(question, n).seconds]
            taken = window[0]
            while taken < least / 10 and len(window) < MOST:
                window.append(self.once(question, n).seconds)
                taken += window[-1]
            calls, spent = calls + len(window), spent + taken
            windows.append(float(torch.tensor(window, dtype=torch.float64).median()))
            last = windows[-WINDOWS:]
            spread = max(last) / min(last) - 1 if min(last) > 0 else 0.0
            enough = calls >= self.effort.warmup_calls and spent >= least and len(last) == WINDOWS
            if enough and spread <= AGREE:
                return Warmup(first, calls, spread, True)
            if enough and spent >= PATIENCE * least and len(windows) >= PATIENCE + WINDOWS:
                return Warmup(first, calls, spread, False)

    def _settled(self, output: object) -> tuple[Tensor | None, float]:
        """The content of an output on the host, and the seconds that it took beyond those of a plain tensor."""
        if not isinstance(output, Tensor):
            return None, 0.0
        copy, seconds = self.clock.timed(_pull(output))
        plain, usual = self.clock.timed(_pull(copy.to(output.device)))
        del plain
        return copy, max(0.0, seconds - usual)

    def _product(self) -> float:
        with torch.no_grad():
            return self.clock.timed(self.product)[1]


def thirds(seconds: Tensor) -> Centre:
    """The ratio of the medians of the last third and of the first."""
    third = max(1, len(seconds) // 3)
    return ratio(seconds[-third:], seconds[:third])


def _pull(output: Tensor) -> Callable[[], Tensor]:
    """Copies ``output`` to the host as a plain tensor."""
    return lambda: output.detach().clone().cpu().as_subclass(Tensor)
