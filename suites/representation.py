"""The representation suite: what a little supervision makes of features that were learned without labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import torch
from annotated_types import Ge
from torch import Tensor

from torchstone.models.model import Model
from torchstone.results.record import Flat, Kind
from torchstone.suites.audits.audit import Verdict
from torchstone.suites.audits.state import weights
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.metrics.classification import credit
from torchstone.suites.metrics.clustering import cluster_agreement, mixture_gain
from torchstone.suites.metrics.knn import knn_log_prob
from torchstone.suites.metrics.mlp import mlp_probe
from torchstone.suites.metrics.spectrum import spectrum
from torchstone.suites.probing import checks
from torchstone.suites.probing.controls import Controls, pixels, untrained, whitened
from torchstone.suites.probing.features import Standard, feature_refusal, features_of, pretraining
from torchstone.suites.probing.linear import Linear, Selection, selection_of, shuffled_probes
from torchstone.suites.probing.portraits import portraits
from torchstone.suites.probing.probes import Probes, Protocol
from torchstone.suites.probing.sheet import Sheet
from torchstone.suites.probing.task import Task, labels_refusal, task_of
from torchstone.suites.probing.tuning import fine_tuned
from torchstone.suites.suite import Evaluation, Suite

__all__ = ["Representation"]

TEMPERATURE = 0.07
SPLITS = ("train", "test")
MOST_WHITENED = 4096  # dimensions


@final
@dataclass(frozen=True)
class Representation(Suite):
    """Probes of features, which the harness asks for, fits and holds against controls.

    The model sees examples alone, in a shuffled order. Features are standardised by the training split; every choice
    is made on it, and the test split is asked about once by each probe. Beside the accuracy stands its gain over the
    same network with random weights, which is what was learned.

    Attributes:
        strengths: of the penalty of the linear probe, from 10⁻⁶ to 10⁵, on a grid that grows where its end is best.
        selection: on what the strength is chosen: a tenth of the training split, five folds of it, or by its size.
        labels: per class, of the probes with few labels.
        draws: of the labelled examples, the same for every model.
        initialisations: random networks that a gain is over, their mean.
        neighbours: that vote by cosine similarity; the twentieth part of a hundred is the headline.
        fine_tuning: steps for which the encoder itself is trained on all labels, 0 for none.
        shuffles: of the training labels, which a probe must not be able to learn.
    """

    name: ClassVar[str] = "representation"
    version: ClassVar[int] = 1
    default_models: ClassVar[tuple[str, ...]] = (
        "pixels", "pca", "kmeans", "random", "autoencoder", "vae", "inpainting", "rotation", "jigsaw", "simclr", "moco",
        "dino", "transformer_features", "diffusion_features",
    )  # fmt: skip
    model_settings: ClassVar[Mapping[str, object]] = {"decoder": "gaussian", "latents": 12}  # of a vae
    about_labels: ClassVar[bool] = True
    metrics: ClassVar[Mapping[str, str]] = {
        "linear_probe_accuracy": "share of test labels that a linear classifier of the features gets right",
        "linear_probe_gain": "the same minus that of the network with random weights, on the same examples",
        "knn_accuracy": "share of test labels that the nearest training examples vote for",
        "knn_gain": "the same minus that of the network with random weights",
        "mlp_probe_accuracy": "share of test labels that a network of one hidden layer gets right",
        "few_label_accuracy": "share of test labels that a linear classifier with few labels gets right",
        "few_label_gain": "the same minus that of the network with random weights, with the same labels",
        "fine_tuned_accuracy": "share of test labels after the encoder itself is trained on labels",
        "control_accuracy": "linear_probe_accuracy of what a model is held against",
        "few_label_control": "few_label_accuracy of what a model is held against",
        "shuffled_label_accuracy": "of a linear classifier whose training labels are shuffled",
        "selectivity": "accuracy on training labels minus that on shuffled ones: what is not mere memory",
        "adjusted_rand_index": "agreement of clusters of test features with labels; 0 is chance",
        "mixture_gain": "held-out log-density of a Gaussian mixture on features minus that of one Gaussian",
        "feature_dims": "how many features there are",
        "effective_rank": "how many directions they fill",
        "dead_features": "share of the features that do not vary",
        "condition_number": "largest over smallest spread of the directions that vary",
    }
    shown: ClassVar[tuple[str, ...]] = (
        "linear_probe_accuracy", "linear_probe_gain", "knn_accuracy neighbours=20", "mlp_probe_accuracy",
        "fine_tuned_accuracy", "feature_dims", "few_label_accuracy", "few_label_gain",
    )  # fmt: skip

    strengths: Annotated[int, Ge(2)] = 45
    selection: Selection = "auto"
    labels: tuple[Annotated[int, Ge(1)], ...] = (1, 4, 10, 25, 100)
    draws: Annotated[int, Ge(2)] = 10
    initialisations: Annotated[int, Ge(1)] = 3
    neighbours: tuple[Annotated[int, Ge(1)], ...] = (10, 20, 100, 200)
    fine_tuning: Annotated[int, Ge(0)] = 200
    shuffles: Annotated[int, Ge(5)] = 20

    def skip(self, model: Model, data: Dataset) -> str | None:
        """Models without features, and data without labels or without enough of them."""
        return labels_refusal(data) or feature_refusal(model, data)

    def evaluate(self, model: Model, data: Dataset, context: Context) -> Evaluation:
        """Scores from ``linear_probe_accuracy`` on; per-example columns of what each probe got right."""
        sheet, found = Sheet(context.rng("intervals", device="cpu")), {}
        before = weights(model)
        standard, task = task_of(data, *(features_of(model, data, split, context) for split in SPLITS))
        found["weights untouched"] = checks.untouched(before, model)
        found["features of one example"] = checks.independence(model, data, context)
        found["membership"] = checks.membership(model, data, standard, context)
        found["twins"] = checks.twins(data)
        own = self._protocol.probe(task, "features", context)
        controls = self._controls(model, data, sheet, context)
        self._linear(own, controls, sheet)
        found["convergence"] = checks.convergence([each.linear for each in (own, *controls.all)])
        self._other_heads(task, controls, sheet, context)
        self._few(own, controls, sheet)
        self._tuned(model, data, standard, own.linear, sheet, context)
        found["shuffled labels"] = checks.shuffled(*self._shuffled(task, own.linear, sheet, context))
        self._unsupervised(task, sheet, context)
        figures = self._pictures(model, data, task, own, controls, sheet, context)
        flags = [told for verdict, _, told in found.values() if verdict in (Verdict.FAIL, Verdict.FLAG)]
        return Evaluation(
            tuple(sheet.scores), self._contract(model, data, task, context), data.split("test").ids, sheet.columns,
            (*flags, *sheet.notes), checks.entries(found), figures,
        )  # fmt: skip

    @property
    def _protocol(self) -> Protocol:
        return Protocol(self.strengths, self.selection, self.labels, self.draws)

    def _contract(self, model: Model, data: Dataset, task: Task, context: Context) -> Flat:
        return {
            **data.contract("test"), "quantity": "features", "conditional": False,
            "pretraining": pretraining(model, context), "selection": selection_of(self.selection, len(task.y)),
        }  # fmt: skip

    def _controls(self, model: Model, data: Dataset, sheet: Sheet, context: Context) -> Controls:
        """Probes of what the model's own features are held against; a note where there are none."""
        random, tasks = [], []
        for place in range(self.initialisations):
            fresh = untrained(model, context.rng(f"untrained/{place}"))
            if isinstance(fresh, str):
                sheet.note(fresh)
                break
            tasks.append(task_of(data, *(features_of(fresh, data, split, context) for split in SPLITS))[1])
            random.append(self._protocol.probe(tasks[-1], "random weights", context))
        raw = [pixels(data, split) for split in SPLITS]
        fixed = {"pixels": self._protocol.kept(task_of(data, *raw)[1], "pixels", context)}
        if data.space.dims <= MOST_WHITENED:
            fixed["whitened"] = self._protocol.kept(task_of(data, *whitened(*raw))[1], "whitened pixels", context)
        else:
            sheet.note(f"{data.space.dims} dimensions are too many to be whitened; that control is left out.")
        return Controls(tuple(tasks), tuple(random), fixed)

    def _linear(self, own: Probes, controls: Controls, sheet: Sheet) -> None:
        sheet.accuracy("linear_probe_accuracy", own.linear.credits, {"strength": own.linear.strength})
        if controls.random:
            random = torch.stack([each.linear.credits for each in controls.random])
            sheet.gain("linear_probe_gain", own.linear.credits, random)
            sheet.drawn("control_accuracy", random, {"control": "random"}, column=False)
        for name, each in controls.fixed.items():
            told: Flat = {"control": name, "strength": each.linear.strength}
            sheet.accuracy("control_accuracy", each.linear.credits, told, column=False)

    def _other_heads(self, task: Task, controls: Controls, sheet: Sheet, context: Context) -> None:
        """Neighbours, and a network of one hidden layer."""
        usable = tuple(k for k in self.neighbours if k <= len(task.y))
        if left := [k for k in self.neighbours if k not in usable]:
            sheet.note(f"There are {len(task.y)} training examples, and no {left[0]} neighbours among them.")
        votes = [_votes(each, usable) for each in (task, *controls.tasks)]
        for place, k in enumerate(usable):
            told: Flat = {"neighbours": k}
            sheet.accuracy("knn_accuracy", votes[0][place], told)
            if len(votes) > 1:
                sheet.gain("knn_gain", votes[0][place], torch.stack([each[place] for each in votes[1:]]), told)
        log_prob = mlp_probe(task.train, task.y, task.test, task.classes, context.rng("mlp", device="cpu"))
        sheet.accuracy("mlp_probe_accuracy", credit(log_prob, task.test_y), kind=Kind.ESTIMATE)

    def _few(self, own: Probes, controls: Controls, sheet: Sheet) -> None:
        """Probes with few labels of the features and of every control, with the same labelled examples."""
        for n in sorted(set(self.labels) - own.few.keys()):
            sheet.note(f"A class has fewer than {n} training examples: no probe has {n} labels per class.")
        for n, credits in own.few.items():
            sheet.drawn("few_label_accuracy", credits, {"labels": n})
            if controls.random:
                random = torch.stack([each.few[n] for each in controls.random])
                sheet.drawn("few_label_gain", credits, {"labels": n}, controls=random)
                sheet.drawn("few_label_control", random.mean(0), {"control": "random", "labels": n}, column=False)
            for name, each in controls.fixed.items():
                sheet.drawn("few_label_control", each.few[n], {"control": name, "labels": n}, column=False)

    def _tuned(
        self, model: Model, data: Dataset, standard: Standard, linear: Linear, sheet: Sheet, context: Context
    ) -> None:
        if self.fine_tuning == 0:
            return
        tuned = fine_tuned(model, data, standard, linear, self.fine_tuning, context)
        if isinstance(tuned, str):
            sheet.note(tuned)
            return
        told: Flat = {"steps": self.fine_tuning, "learning_rate": tuned.rate}
        sheet.accuracy("fine_tuned_accuracy", tuned.credits, told, kind=Kind.ESTIMATE)

    def _shuffled(self, task: Task, linear: Linear, sheet: Sheet, context: Context) -> tuple[Tensor, Tensor]:
        rng = context.rng("shuffled", device="cpu")
        test, train, expected = shuffled_probes(task, linear.strength, self.shuffles, rng)
        each = test.mean(1)
        error = float(each.std(correction=1)) / len(each) ** 0.5
        told: Flat = {
            "shuffles": self.shuffles, "null_mean": float(expected.mean()), "null_high": float(each.quantile(0.975)),
        }  # fmt: skip
        sheet.number(
            "shuffled_label_accuracy", float(each.mean()), "accuracy", up=False, stderr=error, n=test.shape[1],
            parameters=told, kind=Kind.ESTIMATE,
        )  # fmt: skip
        sheet.gain("selectivity", linear.train_credits, train, column=False)
        return test, expected

    def _unsupervised(self, task: Task, sheet: Sheet, context: Context) -> None:
        """Clusters, a density of features, and what the features themselves are like."""
        agreement = cluster_agreement(
            task.train, task.test, task.test_y, task.classes, context.rng("clusters", device="cpu")
        )
        sheet.number("adjusted_rand_index", agreement, "index", n=len(task.test_y), kind=Kind.ESTIMATE)
        mixture = mixture_gain(task.train, task.test, task.classes, context.rng("mixture", device="cpu"))
        sheet.number(
            "mixture_gain", mixture.value, "nats/example", stderr=mixture.stderr, n=mixture.n, kind=Kind.ESTIMATE
        )
        shape = spectrum(task.train)
        sheet.number("feature_dims", float(task.train.shape[1]), "features", up=False)
        sheet.number("effective_rank", shape.effective_rank, "directions")
        sheet.number("dead_features", shape.dead, "share", up=False)
        sheet.number("condition_number", shape.condition_number, "ratio", up=False)

    def _pictures(
        self, model: Model, data: Dataset, task: Task, own: Probes, controls: Controls, sheet: Sheet, context: Context
    ) -> Mapping[str, bytes]:
        try:
            return portraits(model, data, task, own, controls, context)
        except (ArithmeticError, RuntimeError, ValueError) as error:  # no picture is worth the numbers
            sheet.note(f"Its pictures could not be drawn: {str(error)[:100]}.")
            return {}


def _votes(task: Task, neighbours: tuple[int, ...]) -> Tensor:
    """Credits of the neighbours' votes, ``(K, N)``."""
    if not neighbours:
        return torch.zeros(0, len(task.test_y))
    votes = knn_log_prob(task.train, task.y, task.test, task.classes, k=neighbours, temperature=TEMPERATURE)
    return torch.stack([credit(each, task.test_y) for each in votes])
