"""The outliers suite: whether a model gives unreasonable examples little mass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, final

from annotated_types import Ge

from torchstone.models.model import Discriminative, ExplicitApproximate, ExplicitExact, Model, Tokenised, family
from torchstone.results.record import Flat
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.log_density import Sampling
from torchstone.suites.outlying.asking import Questions, has_density, unlabelled
from torchstone.suites.outlying.scores import calibrate
from torchstone.suites.outlying.sets import SETS, Unfit, outlier_set
from torchstone.suites.outlying.sheet import Asked, Sheet
from torchstone.suites.questions import refusal
from torchstone.suites.suite import Evaluation, Suite

__all__ = ["Outliers"]


@final
@dataclass(frozen=True)
class Outliers(Suite):
    """How well scores of a model tell the test examples from outliers of the same space.

    Scores have one orientation, higher being more outlying, and all that they need is fixed from training and
    validation data before the first outlier is made. A model that finds outliers more normal than the data has an
    AUROC below one half, which stands as it is. Beside every model stand scores that look at none.

    Attributes:
        split: which split the outliers are to be told from, and made of; scores are calibrated on validation data.
        importance_samples: draws K of the importance-weighted bound of latent-variable models.
        replicates: how often an example is asked where other answers are stochastic; their mean is used.
        resamples: of the bootstrap.
        block: examples per stochastic question; part of what defines the random numbers.
    """

    name: ClassVar[str] = "outliers"
    version: ClassVar[int] = 1
    default_models: ClassVar[tuple[str, ...]] = (
        "independent", "mixture", "transformer", "pixelcnn", "flow", "vae", "classifier",
    )  # fmt: skip
    metrics: ClassVar[Mapping[str, str]] = {
        "auroc": "how often an outlier has the higher score, by score and set of outliers; 0.5 is chance",
        "aupr": "average precision with the outliers as positives",
        "fpr95": "share of the data that is rejected with 95 % of the outliers",
        "shift_log_prob_change": "log p after a shift by one pixel, minus before, nats per example",
    }
    standard: ClassVar[Mapping[str, object]] = {"importance_samples": 500, "resamples": 10_000}
    shown: ClassVar[tuple[str, ...]] = (
        "auroc score=neg_log_prob", "auroc score=typicality", "auroc score=max_softmax", "shift_log_prob_change",
    )  # fmt: skip

    split: Literal["test", "train"] = "test"
    importance_samples: Annotated[int, Ge(1)] = 64
    replicates: Annotated[int, Ge(1)] = 4
    resamples: Annotated[int, Ge(2)] = 1000
    block: Annotated[int, Ge(1)] = 50

    def skip(self, model: Model, data: Dataset) -> str | None:
        """Models with neither a density of examples nor probabilities of labels, and data that they cannot hold."""
        name = type(model).__name__
        if isinstance(model, Tokenised):
            return f"{name} has a vocabulary of its own, and outliers are made in that of the data; use another model."
        if not has_density(model) and not isinstance(model, Discriminative):
            if isinstance(model, ExplicitExact | ExplicitApproximate):
                return (
                    f"{name} is a density given the label, and an outlier has none: use model.conditional=false, or "
                    f"one that gives the marginal (torchstone.models.Joint)."
                )
            return (
                f"{name} is {family(model)} and gives neither a density nor probabilities of labels; the outliers "
                "suite needs one of them."
            )
        return refusal(model, data, self.split)

    def evaluate(self, model: Model, data: Dataset, context: Context) -> Evaluation:
        """Scores ``auroc``, ``aupr`` and ``fpr95`` by score and set; per-example columns of the test examples."""
        plain = unlabelled(data)
        test = plain.split(self.split)
        sampling = Sampling(self.importance_samples, self.replicates, len(test), self.block)
        questions = Questions(model, plain, sampling, context)
        calibration = calibrate(plain, questions.costs(plain.split("validation").x))
        inside = Asked.of(test.x, questions, calibration)
        sheet = Sheet(inside, calibration, questions.estimator, self.resamples, context)
        for place, name in enumerate(SETS):
            context.progress("outliers", place, len(SETS))
            try:
                made = outlier_set(name, plain, self.split)
            except Unfit as reason:
                sheet.note(f"The set {name!r} is left out: {reason}.")
                continue
            sheet.add(made, Asked.of(made.x, questions, calibration))
        figures = sheet.figures()  # which may leave a note
        return Evaluation(
            sheet.scores(), self._contract(data), test.ids, sheet.columns(), sheet.warnings(), figures=figures
        )

    def _contract(self, data: Dataset) -> Flat:
        return {
            **data.contract(self.split),
            "quantity": "outliers",
            "conditional": False,
            "orientation": "higher is more outlying",
        }
