"""The audit suite: every claim of an adapter, tested, with verdicts and not with scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, final

import torch
from annotated_types import Ge, Interval

from torchstone.models.model import Model
from torchstone.results.record import Kind, Score
from torchstone.suites.audits.audit import Audit, Verdict
from torchstone.suites.audits.battery import Judged, judge
from torchstone.suites.audits.bounds import BoundOrdering
from torchstone.suites.audits.causality import BlindSpots, Causality
from torchstone.suites.audits.clamping import Clamping
from torchstone.suites.audits.encoder import EncoderDensity
from torchstone.suites.audits.enumeration import Enumeration, GoodnessOfFit
from torchstone.suites.audits.floors import EntropyFloors
from torchstone.suites.audits.heldout import HeldOut
from torchstone.suites.audits.independence import BatchIndependence
from torchstone.suites.audits.known import KnownSource
from torchstone.suites.audits.marginals import ConditionalMarginal
from torchstone.suites.audits.mass import ImportanceMass, SuperUnity
from torchstone.suites.audits.pit import ConditionalPIT
from torchstone.suites.audits.portrait import bits_by_position
from torchstone.suites.audits.precision import Precision
from torchstone.suites.audits.purity import Purity
from torchstone.suites.audits.state import pristine
from torchstone.suites.audits.subject import Subject
from torchstone.suites.audits.support import Freshness, Support
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.data.given import GivenSamples
from torchstone.suites.questions import refusal, validated
from torchstone.suites.suite import Evaluation, Suite

__all__ = ["AUDITS", "Auditing"]

# In the order of the certificate.
AUDITS: tuple[Audit, ...] = (
    Enumeration(),
    SuperUnity(),
    Clamping(),
    EntropyFloors(),
    ImportanceMass(),
    ConditionalPIT(),
    GoodnessOfFit(),
    BoundOrdering(),
    EncoderDensity(),
    ConditionalMarginal(),
    Causality(),
    BlindSpots(),
    BatchIndependence(),
    Purity(),
    Precision(),
    Support(),
    Freshness(),
    HeldOut(),
    KnownSource(),
)


@final
@dataclass(frozen=True)
class Auditing(Suite):
    """Every audit that applies to the model, each with a verdict, a grade and what it could have seen.

    Only a sound test fails a model: one that an honest model of any quality passes, but for a probability of at most
    ``alpha`` over all audits together. What is odd and may be honest is flagged.

    Attributes:
        alpha: the probability of failing an honest model in any audit.
        examples: how many examples or samples an audit may ask about where it has the choice.
        second_process: whether a copy of the model is asked in a process of its own, too.
    """

    name: ClassVar[str] = "audit"
    version: ClassVar[int] = 3
    default_models: ClassVar[tuple[str, ...]] = (
        "independent", "mixture", "linear_gaussian", "rnn", "transformer", "pixelcnn", "flow", "vae",
        "hierarchical_vae", "vq_transformer",
    )  # fmt: skip
    metrics: ClassVar[Mapping[str, str]] = {
        "failed": "audits that the model failed",
        "flagged": "audits that saw something odd, which may be honest",
        "inconclusive": "audits that could not decide",
        "passed": "audits that the model passed",
    }

    alpha: Annotated[float, Interval(gt=0, lt=1)] = 1e-3
    examples: Annotated[int, Ge(16)] = 200
    second_process: bool = True

    def skip(self, model: Model, data: Dataset) -> str | None:
        """Data that the model cannot hold, and samples without a model."""
        if isinstance(model, GivenSamples):
            return f"{model.name} was drawn elsewhere: there is no model to be audited; name one, such as model=vae."
        return refusal(model, data, "test")

    def evaluate(self, model: Model, data: Dataset, context: Context) -> Evaluation:
        """Counts of verdicts as scores, and the audits themselves."""
        fresh = Context(device=context.device, batch_size=context.batch_size, seed=2**62 + context.seed)
        untouched = pristine(model)
        subject, again = (
            Subject(model, data, each, self.examples, untouched, self.second_process) for each in (context, fresh)
        )
        with validated(), torch.random.fork_rng(devices=[]):
            judged = judge(AUDITS, subject, again, self.alpha, lambda d, n: context.progress("audit", d, n))
        return Evaluation(
            scores=tuple(_scores(judged)),
            contract=self._contract(data, subject),
            ids=torch.zeros(0, dtype=torch.int64),
            columns={},
            audits=tuple(_entry(each) for each in judged),
            figures={
                **{name: png for each in judged for name, png in each.finding.pictures.items()},
                **bits_by_position(subject),
            },
        )

    def _contract(self, data: Dataset, subject: Subject) -> dict[str, Any]:
        return {
            **data.contract(),
            "alpha": self.alpha,
            "conditional": subject.conditional,
        }


def _scores(judged: tuple[Judged, ...]) -> list[Score]:
    verdicts: list[Verdict] = [each.finding.verdict for each in judged]
    held = len(judged) - verdicts.count(Verdict.NOT_APPLICABLE)
    counts = {
        "failed": Verdict.FAIL, "flagged": Verdict.FLAG, "inconclusive": Verdict.INCONCLUSIVE, "passed": Verdict.PASS,
    }  # fmt: skip
    return [
        Score(name, float(verdicts.count(verdict)), "audits", Kind.EXACT, verdict is Verdict.PASS, n=held)
        for name, verdict in counts.items()
    ]


def _entry(judged: Judged) -> Mapping[str, Any]:
    """An audit as a record holds it."""
    finding = judged.finding
    return {
        "audit": judged.audit.name,
        "claim": judged.audit.claim,
        "verdict": finding.verdict.value,
        "grade": finding.grade.value,
        "statistic": finding.statistic,
        "p_value": finding.p_value,
        "level": judged.level,
        "power": finding.power,
        "witness": finding.witness,
    }
