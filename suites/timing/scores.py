"""Scores from timings: rates, latencies, memory, arithmetic, and the share of what the machine can do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch

from torchstone.models.model import Model
from torchstone.results.record import Flat, Kind, Scalar, Score
from torchstone.suites.audits.audit import Verdict
from torchstone.suites.context import Context
from torchstone.suites.metrics.rates import Centre, median, quantile
from torchstone.suites.timing import checks
from torchstone.suites.timing.arithmetic import UNCOUNTED, count_evaluations, count_flops, count_parameters
from torchstone.suites.timing.checks import Fault
from torchstone.suites.timing.machine import Meter, load
from torchstone.suites.timing.memory import peak_memory
from torchstone.suites.timing.questions import Question, Sampling
from torchstone.suites.timing.rig import Rig, Timing
from torchstone.suites.timing.session import Answered

__all__ = ["Sheet"]

ASIDE = 2**40  # numbers of calls that are not timed
Z95 = 1.959963984540054


@final
class Sheet:
    """The scores of one model, with what was seen on the way.

    Attributes:
        scores: in the order of the record.
        faults: of the checks that need counted arithmetic.
        notes: in sentences.
    """

    def __init__(
        self, rig: Rig, model: Model, untouched: Model | None, context: Context, load_before: float | None
    ) -> None:
        self.scores: list[Score] = []
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        self._rig, self._model, self._context = rig, model, context
        self._counted = model if untouched is None else untouched  # so that hooks never touch what is timed
        self._load = load_before

    def rates(self, found: Answered) -> None:
        """The rate of one question, its best batch, and how the halves agree."""
        question, timing = found.question, found.timing
        rate = timing.rate
        own = {"of": question.name, "best_batch": timing.n, "iqr": rate.iqr, **_effort(timing)}
        at = len([score for score in self.scores if score.metric.endswith("_rate")])
        self.scores.insert(at, _score(question.metric, rate, "examples/s", True, own))
        of: dict[str, Scalar] = {"of": question.name}
        if found.single is not None:
            milliseconds = found.single.seconds * 1e3
            for name, level in (("latency_p50", 0.5), ("latency_p95", 0.95)):
                centre = quantile(milliseconds, level)
                self._add(name, centre, "ms", False, {**of, "iqr": centre.iqr, **_effort(found.single)})
        self.scores.append(Score("best_batch", float(timing.n), "examples", Kind.EXACT, False, parameters=of))
        law = found.law
        if law is not None:
            self.scores.append(
                Score(
                    "batch_exponent",
                    law.exponent,
                    "power of the batch",
                    Kind.ESTIMATE,
                    False,
                    law.stderr,
                    law.ci95,
                    parameters=of,
                )
            )
        self._add("aa_ratio", found.agreement, "ratio", False, {**of, "calls": len(timing.seconds)})

    def costs(self, found: Sequence[Answered], first: float, meter: Meter) -> None:
        """Time to the first sample, evaluations, memory, parameters, arithmetic, calibration and energy."""
        headline = found[0]
        if isinstance(headline.question, Sampling):
            self.scores.append(Score("time_to_first_sample", first * 1e3, "ms", Kind.ESTIMATE, False))
            evaluations = self._evaluations(headline)
            if evaluations is not None:
                self.scores.append(Score("evaluations_per_sample", evaluations, "evaluations", Kind.EXACT, False))
        self._memory(headline)
        parameters = count_parameters(self._model)
        if parameters is not None:
            self.scores.append(Score("parameters", float(parameters), "parameters", Kind.EXACT, False))
        products = torch.cat([each.timing.products for each in found])
        rate = median(products).inverse(self._rig.product.flops / 1e9)
        for each in found:
            self._arithmetic(each)
        machine = {"side": self._rig.product.side, "calls": len(products), "iqr": rate.iqr, "load": self._load}
        self._add("matmul_rate", rate, "GFLOP/s", True, {**machine, **meter.state()})
        self._energy(headline, meter)
        self._crowd(found)

    def _add(self, metric: str, centre: Centre, unit: str, higher: bool, parameters: Flat) -> None:
        self.scores.append(_score(metric, centre, unit, higher, parameters))

    def _evaluations(self, found: Answered) -> float | None:
        """Of the best batch; a batch of one must take as many."""
        counts = [self._count(found.question, n) for n in (found.timing.n, 1)]
        batched, alone = counts
        if batched is not None and alone is not None and not math.isclose(batched, alone, rel_tol=1e-6):
            words = f"{found.question.name}: a sample takes {batched:g} evaluations of the network in a batch of "
            words += f"{found.timing.n} and {alone:g} alone: the fast path is another sampler."
            self.faults.append(Fault("timed path", Verdict.FLAG, words))
        return batched

    def _count(self, question: Question, n: int) -> float | None:
        asked = question.of(self._counted)
        return count_evaluations(self._counted, asked.prepare(n, ASIDE + n), n)

    def _memory(self, found: Answered) -> None:
        n = found.timing.n
        with torch.no_grad():
            numbers = iter(range(ASIDE + 100, ASIDE + 200))
            peak = peak_memory(self._model, lambda: found.question.prepare(n, next(numbers))(), self._context.device)
        for name, mebibytes in (
            ("allocated", peak.allocated),
            ("reserved", peak.reserved),
            ("resident", peak.resident),
        ):
            if mebibytes is not None:
                parameters: Flat = {"memory": name, "of": found.question.name, "best_batch": n}
                self.scores.append(Score("peak_memory", mebibytes, "MiB", Kind.ESTIMATE, False, parameters=parameters))

    def _arithmetic(self, found: Answered) -> None:
        """Counted operations, and their share of what matrix products reach beside them."""
        of, n = found.question.name, found.timing.n
        flops = count_flops(found.question.of(self._counted), n, ASIDE)
        if flops == 0:
            self.notes.append(f"{of}: no operation of it is counted, as {UNCOUNTED} are not; it has no peak_fraction.")
            return
        self.scores.append(Score("flops_per_example", flops, "FLOP", Kind.LOWER_BOUND, False, parameters={"of": of}))
        beside = median(found.timing.products).inverse(self._rig.product.flops)
        done = found.timing.rate.scaled(flops)
        value = done.value / beside.value
        stderr = ends = None
        if done.stderr is not None and beside.stderr is not None:
            stderr = value * math.hypot(done.stderr / done.value, beside.stderr / beside.value)
            ends = (value - Z95 * stderr, value + Z95 * stderr)
        parameters: Flat = {"of": of, "best_batch": n}
        self.scores.append(
            Score(
                "peak_fraction", value, "of matrix products", Kind.ESTIMATE, True, stderr, ends, parameters=parameters
            )
        )
        self.faults += checks.peak(of, None if ends is None else ends[0])

    def _energy(self, found: Answered, meter: Meter) -> None:
        """Joules for each example over calls that follow each other, for as long as a quantity is timed."""
        start = meter.joules()
        if start is None:
            return
        n, calls, spent = found.timing.n, 0, 0.0
        while calls < self._rig.effort.calls or spent < self._rig.effort.seconds:
            calls, spent = calls + 1, spent + self._rig.once(found.question, n).seconds
        stop = meter.joules()
        if stop is not None:
            of: Flat = {"of": found.question.name, "best_batch": n, "calls": calls}
            each = (stop - start) / (calls * n)
            self.scores.append(Score("energy_per_example", each, "J", Kind.ESTIMATE, False, parameters=of))

    def _crowd(self, found: Sequence[Answered]) -> None:
        """Say where others kept this process from its cores."""
        if self._context.device.type != "cpu":
            return
        for each in found:
            if each.timing.cpu < checks.OWN:
                self.notes.append(
                    f"{each.question.name}: this process had a processor for {100 * each.timing.cpu:.0f} % of its "
                    f"calls, with a load of {_number(load())} on the machine: others use it, or the model waits. "
                    "Measure again on an idle machine."
                )


def _score(metric: str, centre: Centre, unit: str, higher: bool, parameters: Flat) -> Score:
    return Score(metric, centre.value, unit, Kind.ESTIMATE, higher, centre.stderr, centre.ci95, parameters=parameters)


def _effort(timing: Timing) -> Flat:
    """How a timing was had."""
    return {
        "calls": len(timing.seconds),
        "warmup_calls": timing.warmup.calls,
        "cpu_per_wall": round(timing.cpu, 3),
    }


def _number(value: float | None) -> str:
    return "unknown size" if value is None else f"{value:.1f}"
