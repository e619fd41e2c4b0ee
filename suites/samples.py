"""The samples suite: how near samples are to data, how much of the data they reach, and whether they are copies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, final

import torch
from annotated_types import Ge
from torch import Tensor

from torchstone.models.checks import space_of
from torchstone.models.model import ImplicitIterative, ImportanceResampler, Model, Sampler
from torchstone.results.record import Flat
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.data.given import GivenSamples
from torchstone.suites.features.cache import extract
from torchstone.suites.features.choice import Choice, chosen
from torchstone.suites.features.extractor import Extractor, Features
from torchstone.suites.features.projection import ProjectionExtractor
from torchstone.suites.labelled.scores import candidate_scores
from torchstone.suites.metrics.neighbours import nearest
from torchstone.suites.samplers import ask_candidate_weights, check_seed, sampler_refusal
from torchstone.suites.sampling.checks import entries
from torchstone.suites.sampling.drawn import Drawn, draw_samples
from torchstone.suites.sampling.portraits import portraits
from torchstone.suites.sampling.references import Reference, of_path, of_split
from torchstone.suites.sampling.sheet import Sheet
from torchstone.suites.sampling.steps import Rung, walk
from torchstone.suites.suite import Evaluation, Suite

__all__ = ["Samples"]

CANDIDATES = 1000  # whose weights are looked at
MANY = 20_000_000  # numbers in the training split, beyond which pixels are held in single precision
FEWEST = 20  # samples, and examples of a split: below that no number here means anything


@final
@dataclass(frozen=True)
class Samples(Suite):
    """Distances between samples and data in the features of an extractor, and what they do not tell.

    The harness asks for the samples, chooses their labels, takes their features, and holds them against as many
    examples. Beside each number stands its floor, what training examples have in place of samples, or its null, what
    samples of the very law of the data would have.

    Attributes:
        samples: how many are drawn, the same for every model.
        extractor: of the features; ``auto`` takes one that suits the data.
        weights: a file of weights, or a folder of them, where they are not in the cache.
        reference: a folder or archive that takes the place of the test split: images, features, or moments.
        steps: of an iterative sampler, whose distance is measured at each.
        block: samples per question; part of what defines the random numbers.
    """

    name: ClassVar[str] = "samples"
    version: ClassVar[int] = 1
    default_models: ClassVar[tuple[str, ...]] = (
        "independent", "mixture", "linear_gaussian", "transformer", "pixelcnn", "flow", "vae", "gan", "diffusion",
        "flow_matching",
    )  # fmt: skip
    metrics: ClassVar[Mapping[str, str]] = {
        "fid": "Fréchet distance of features to the test split, at equal numbers",
        "fid_infinity": "the same, taken to infinitely many samples",
        "fid_train": "Fréchet distance to the training split",
        "kid": "kernel distance, unbiased",
        "precision": "share of the samples that lie near data",
        "recall": "share of the data that lie near samples",
        "density": "in how many neighbourhoods of data a sample lies, over k",
        "coverage": "share of the data whose neighbourhood holds a sample",
        "inception_score": "how sure a classifier is of each sample, and unsure of all",
        "label_agreement": "share of the samples in which the extractor sees the label that was asked for",
        "fid_second": "Fréchet distance by another extractor",
        "exact_copies": "share of the samples that are training examples",
        "duplicate_pairs": "pairs of samples that are equal",
        "memorisation": "how much more than half of the samples are nearer to training than test examples are",
        "near_copies": "share of the samples among the nearest to the training split",
        "fid_at_steps": "Fréchet distance of an iterative sampler at a number of steps",
        "effective_candidates": "share of the candidates of a resampler that it can use, mean over classes",
        "effective_candidates_least": "the same of the class that can use the fewest",
    }
    standard: ClassVar[Mapping[str, object]] = {"samples": 50_000, "steps": (1, 2, 4, 8, 16, 32, 64, 128, 256, 1000)}

    shown: ClassVar[tuple[str, ...]] = (
        "fid", "fid_infinity", "fid_train", "kid", "precision", "recall", "density", "coverage", "inception_score",
        "memorisation", "label_agreement",
    )  # fmt: skip

    samples: Annotated[int, Ge(FEWEST)] = 2000
    extractor: Choice = "auto"
    weights: Path | None = None
    reference: Path | None = None
    steps: tuple[Annotated[int, Ge(1)], ...] = (1, 2, 4, 8, 16, 32, 64)
    block: Annotated[int, Ge(1)] = 500

    def skip(self, model: Model, data: Dataset) -> str | None:
        """Models that draw nothing, or nothing like these data, and data of which there are too few."""
        if data.text:
            return f"{data.name} is text, for which there is no extractor; the suite is for images and vectors."
        few = min(("train", "test"), key=lambda name: len(data.split(name)))
        if len(data.split(few)) < FEWEST:
            return (
                f"{data.name} has {len(data.split(few))} {few} examples, and no distance of fewer than {FEWEST} means "
                "anything; choose a larger dataset."
            )
        if isinstance(model, GivenSamples) and (refused := model.refusal(self.samples)) is not None:
            return refused
        return sampler_refusal(model, data)

    def evaluate(self, model: Model, data: Dataset, context: Context) -> Evaluation:
        """Scores from ``fid`` to ``fid_at_steps``; pictures of samples beside their nearest training examples."""
        assert isinstance(model, Sampler)
        extractor = chosen(self.extractor, self.weights, data.space)
        drawn = draw_samples(model, self.samples, data, context, block=self.block)
        train_x, train = of_split(data, "train", extractor, context)
        test_x, test = of_split(data, "test", extractor, context)
        dims = len(test.moments.mean)
        against = test if self.reference is None else of_path(self.reference, data.space, extractor, context, dims)
        check_seed(model, drawn.x, drawn.y, data.space, context)
        features = extract(extractor, drawn.x, data.space, context, "samples")
        sheet, rng = Sheet(), context.rng("tests", device="cpu")
        line = sheet.distances(features, drawn.cost, against, train, rng)
        assert test.features is not None
        sheet.classified(features, test.features, extractor)
        sheet.labels(features, drawn.y, data.space.classes)
        self._second(sheet, drawn, data, extractor, context)
        own, distances, which = self._memory(sheet, drawn, features, train_x, test_x, train, test)
        rungs = self._steps(sheet, model, data, extractor, against, context)
        if isinstance(model, ImportanceResampler):
            weights = ask_candidate_weights(model, CANDIDATES, context, "candidates")
            sheet.scores += candidate_scores(weights, context.rng("candidates/error", device="cpu"))
        figures: Mapping[str, bytes] = {}
        try:
            figures = portraits(sheet, drawn, train_x, own, distances, which, line, rungs)
        except (ArithmeticError, RuntimeError, ValueError) as error:  # no picture is worth the numbers
            sheet.note(f"Its pictures could not be drawn: {str(error)[:100]}.")
        contract: Flat = {
            **data.contract("test"),
            "conditional": space_of(model).classes is not None,
            **extractor.facts,
            **({} if against.name == "test" else against.facts),
            "drawn": self.samples,
        }
        ids = data.split("test").ids[:0]
        return Evaluation(
            tuple(sheet.scores), contract, ids, {}, tuple(sheet.notes), entries(sheet.seen, sheet.untested), figures
        )

    def _second(self, sheet: Sheet, drawn: Drawn, data: Dataset, extractor: Extractor, context: Context) -> None:
        """The distance by a random projection, which nobody trains a sampler on."""
        if extractor.toy or self.reference is not None:
            sheet.untested["second extractor"] = "There is no trained extractor, or the reference is one's own."
            return
        other = ProjectionExtractor(data.space)
        _, train = of_split(data, "train", other, context)
        _, test = of_split(data, "test", other, context)
        sheet.second(extract(other, drawn.x, data.space, context, "samples"), test, train, other)

    def _memory(
        self, sheet: Sheet, drawn: Drawn, features: Features, train_x: Tensor, test_x: Tensor,
        train: Reference, test: Reference,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Copies, exact and near.

        The distances of test examples and of samples to the nearest training examples, and which those of samples are.
        """
        sheet.copies(drawn.x, train_x, test_x)
        assert train.features is not None and test.features is not None
        known = train.features.values.double()
        near, _ = nearest(features.values.double(), known)
        sheet.nearness(near, nearest(test.features.values.double(), known)[0], "features", shown=True)
        precision = torch.float32 if train_x.numel() > MANY else torch.float64
        rows = [x.flatten(1).to(precision) for x in (drawn.x, train_x, test_x)]
        (distances, which), (own, _) = nearest(rows[0], rows[1]), nearest(rows[2], rows[1])
        sheet.nearness(distances, own, "pixels", shown=False)
        return own, distances, which

    def _steps(
        self, sheet: Sheet, model: Sampler, data: Dataset, extractor: Extractor, test: Reference, context: Context
    ) -> tuple[Rung, ...]:
        """An iterative sampler at every number of steps, with the same seeds and the same number of samples."""
        if not isinstance(model, ImplicitIterative):
            return ()
        n = self.samples if test.features is None else min(self.samples, len(test.features))
        return tuple(walk(sheet, model, data, extractor, test, n, self.steps, self.block, context))
