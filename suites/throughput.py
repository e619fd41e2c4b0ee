"""The throughput suite: how fast a model samples, evaluates and encodes, on this machine, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, final

import torch
from annotated_types import Ge, Gt

from torchstone.models.checks import model_dtype, space_of
from torchstone.models.model import ImplicitIterative, Model, family
from torchstone.results.record import Flat
from torchstone.suites.audits.audit import Verdict
from torchstone.suites.audits.state import pristine
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.pictures.cost import Curve, cost
from torchstone.suites.questions import refusal, validated
from torchstone.suites.suite import Evaluation, Suite
from torchstone.suites.timing import checks
from torchstone.suites.timing.calibration import MatrixProduct
from torchstone.suites.timing.checks import Fault
from torchstone.suites.timing.clock import Clock, clock_for
from torchstone.suites.timing.machine import Meter, facts, load, pinned
from torchstone.suites.timing.path import Path
from torchstone.suites.timing.questions import questions
from torchstone.suites.timing.rig import Effort, Rig
from torchstone.suites.timing.scores import Sheet
from torchstone.suites.timing.session import Answered, ladder, measured

__all__ = ["Throughput"]


@final
@dataclass(frozen=True)
class Throughput(Suite):
    """Rates of all that a model can be asked, each at the batch size that suits it best, and its latency one by one.

    Every call has inputs or a seed of its own; the device is waited for on both sides of the clock; outputs are looked
    at once it has stopped. A matrix product is timed between the calls, so that a rate can also be read as a share of
    what the machine could do just then. Speeds are compared within one environment only, which the contract names.

    Attributes:
        split: whose examples are asked about.
        calls: timed calls of each quantity, at least.
        seconds: that they take together, at least.
        warmup_calls: calls before them that are not counted, at least.
        warmup_seconds: that these take, at least; they end when three windows in a row agree within 5 %.
        batch: examples in a call; none tries powers of four, and takes the smallest that is nearly as fast as any.
        largest_batch: the largest of those.
        longest_call: seconds that a call for a larger batch may be expected to take, for it to be tried.
        threads: that torch computes with on the CPU; none leaves their number as it is.
    """

    name: ClassVar[str] = "throughput"
    version: ClassVar[int] = 2
    default_models: ClassVar[tuple[str, ...]] = ("transformer", "pixelcnn", "flow", "vae", "autoencoder")
    metrics: ClassVar[Mapping[str, str]] = {
        "sample_rate": "samples per second, at the best batch size",
        "log_prob_rate": "log-densities per second, or draws of a bound",
        "encode_rate": "examples encoded per second",
        "latency_p50": "milliseconds of a call for one example, the median",
        "latency_p95": "the same, the 95th percentile",
        "time_to_first_sample": "milliseconds of the very first call, in a fresh process",
        "best_batch": "the smallest batch that is nearly as fast, for each example, as any",
        "batch_exponent": "the time of a call grows as the batch to this power",
        "evaluations_per_sample": "evaluations of the network for each sample",
        "peak_memory": "MiB that a call takes at most: allocated by torch, and resident in the process",
        "parameters": "numbers in the model's parameters",
        "flops_per_example": "floating-point operations of matrix products, convolutions, recurrences and attention",
        "peak_fraction": "those per second, as a share of the rate of the matrix product timed beside them",
        "matmul_rate": "that rate, in GFLOP/s: the calibration of the machine",
        "aa_ratio": "the same measured twice in interleaved halves: one, but for noise",
        "energy_per_example": "joules that the device used for each example, where NVML tells",
    }
    standard: ClassVar[Mapping[str, object]] = {
        "calls": 20, "seconds": 5.0, "warmup_seconds": 2.0, "largest_batch": 1024, "longest_call": 5.0,
    }  # fmt: skip
    fresh_process: ClassVar[bool] = True
    reusable: ClassVar[bool] = False

    split: Literal["test", "validation", "train"] = "test"
    calls: Annotated[int, Ge(4)] = 12
    seconds: Annotated[float, Ge(0)] = 0.5
    warmup_calls: Annotated[int, Ge(3)] = 3
    warmup_seconds: Annotated[float, Ge(0)] = 0.2
    batch: Annotated[int, Ge(1)] | None = None
    largest_batch: Annotated[int, Ge(1)] = 256
    longest_call: Annotated[float, Gt(0)] = 0.5
    threads: Annotated[int, Ge(1)] | None = None

    def skip(self, model: Model, data: Dataset) -> str | None:
        """Models that can be asked nothing, and data that the model's support cannot hold."""
        reason = refusal(model, data, self.split)
        if reason is None and not questions(model, data, self.split, Context()):
            reason = (
                f"{type(model).__name__} is {family(model)} and neither samples, nor gives densities, nor encodes: "
                "there is nothing to time."
            )
        return reason

    def evaluate(self, model: Model, data: Dataset, context: Context) -> Evaluation:
        """Scores from the rates to the calibration; verdicts on what a timing may hide; cost against batch."""
        return self.timed(model, data, context, clock_for(context.device))

    def timed(self, model: Model, data: Dataset, context: Context, clock: Clock) -> Evaluation:
        """The same by another clock."""
        before = load()
        untouched = pristine(model)
        asked = questions(model, data, self.split, context)
        dtype = model_dtype(model) or torch.get_default_dtype()
        effort = Effort(self.calls, self.seconds, self.warmup_calls, self.warmup_seconds)
        with pinned(self.threads) as threads, validated(), torch.random.fork_rng(devices=[]):
            rig = Rig(clock, effort, MatrixProduct(context.device, dtype), threads)
            first = rig.once(asked[0], 1).seconds
            found = [
                measured(
                    rig, question, model, ladder(self.largest_batch, self.batch), self.longest_call,
                    split=data.split(self.split), latency=number == 0,
                    say=lambda what: context.progress(what, 0, 1),
                )
                for number, question in enumerate(asked)
            ]  # fmt: skip
            context.progress("what it costs", 0, 1)
            sheet = Sheet(rig, model, untouched, context, before)
            for each in found:
                sheet.rates(each)
            sheet.costs(found, first, Meter(context.device))
        faults = [*(fault for each in found for fault in each.faults), *sheet.faults, *_path(untouched, found, context)]
        sheet.notes += [note for each in found for note in each.notes]
        return Evaluation(
            scores=tuple(sheet.scores),
            contract=self._contract(model, data, context, facts(context.device, threads, dtype, clock.name)),
            ids=torch.zeros(0, dtype=torch.int64),
            columns={},
            warnings=tuple(dict.fromkeys((*_said(faults), *sheet.notes))),
            audits=checks.entries(
                faults,
                checks.untested(
                    copied=untouched is not None and any(each.timing.outputs.kept for each in found),
                    sizes=[[point.n for point in each.curve] for each in found],
                    stepped=isinstance(model, ImplicitIterative),
                    counted=any(score.metric == "peak_fraction" for score in sheet.scores),
                    halves=[each.agreement for each in found],
                ),
            ),
            figures={"cost-by-batch": _picture(found)},
        )

    def _contract(self, model: Model, data: Dataset, context: Context, machine: Flat) -> Flat:
        return {
            **data.contract(self.split),
            "quantity": "speed",
            "conditional": space_of(model).classes is not None,
            **machine,
            "process": "own" if context.alone else "shared",
            "batches": ",".join(map(str, ladder(self.largest_batch, self.batch))),
            "longest_call": self.longest_call,
        }


def _path(untouched: Model | None, found: Sequence[Answered], context: Context) -> Iterator[Fault]:
    """Timed outputs beside those of an untouched copy, where there is one."""
    if untouched is None:
        return
    context.progress("timed outputs again", 0, 1)
    path = Path(untouched)
    for each in found:
        timings = (each.timing, each.single) if each.single else (each.timing,)
        for timing in timings:
            yield from path.faults(each.question, timing.outputs.kept, context.device)


def _said(faults: Sequence[Fault]) -> Iterator[str]:
    """What failed, and what is odd, in sentences."""
    for fault in sorted(faults, key=lambda fault: fault.verdict is not Verdict.FAIL):
        yield fault.words


def _picture(found: Sequence[Answered]) -> bytes:
    curves = [
        Curve(
            each.question.name,
            tuple(point.n for point in each.curve),
            tuple(point.typical for point in each.curve),
            tuple((float(point.seconds.min()), float(point.seconds.max())) for point in each.curve),
            each.law,
            each.timing.n,
        )
        for each in found
    ]
    return cost(curves, "examples in a call")
