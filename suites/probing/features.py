"""Features of examples: which a model has, asked once in an order that says nothing, and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.models.checks import space_of
from torchstone.models.model import (
    Continuous,
    Discrete,
    Encoder,
    LatentVariable,
    Model,
    ModelError,
    Pretrained,
    Tokenised,
    Trainable,
    family,
)
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.questions import shape_refusal

__all__ = ["Standard", "ask_features", "encoded", "feature_refusal", "features_of", "own_numbers", "pretraining"]

ALONE = "the training split alone"
ZERO = 1e-12  # a standard deviation, relative to the size of a feature, below which it is dead


@final
@dataclass(frozen=True, slots=True)
class Standard:
    """The mean and standard deviation of each feature of the training split, ``(D,)`` float64.

    A feature that does not vary is divided by one.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, train: Tensor) -> Standard:
        """Those of ``train``, ``(N, D)``."""
        values = train.double()
        mean, scale = values.mean(0), values.std(0, correction=0)
        dead = scale <= ZERO * values.abs().amax(0)
        return cls(mean, scale.masked_fill(dead, 1.0))

    def __call__(self, features: Tensor) -> Tensor:
        """``features`` on the scale of the training split, float64."""
        return (features.double() - self.mean) / self.scale


def feature_refusal(model: Model, data: Dataset) -> str | None:
    """Why ``model`` has no features of examples of ``data``, as a sentence; None where it has."""
    name = type(model).__name__
    if isinstance(model, Tokenised):
        return f"{name} has a vocabulary of its own; features are asked of examples of fixed dimensions."
    if not isinstance(model, Encoder | LatentVariable):
        return (
            f"{name} is {family(model)} and gives no features: read a hidden layer of it, by an encoder such as "
            "torchstone.models.encoders.hidden.LayerFeatures, or one that is registered, such as "
            "model=transformer_features."
        )
    if space_of(model).classes is not None:
        return f"{name} takes labels, which features must not know; set model.conditional=false."
    if (refused := shape_refusal(model, data)) is not None:
        return refused
    match space_of(model).support, data.space.support:
        case Discrete(ours), Discrete(theirs) if ours < theirs:
            return f"{name} has {ours} levels and {data.name} needs {theirs}; build it with levels={theirs}."
        case Discrete(), Continuous():
            return f"{name} reads integers and {data.name} is continuous; use an encoder of continuous data."
        case Continuous() as support, Discrete() if not support.bounded:
            return f"{name} has unbounded support, to which integers have no one map; declare Continuous(0.0, 1.0)."
    return None


def pretraining(model: Model, context: Context) -> str:
    """What ``model`` was trained on, in words, so far as it or the harness can say."""
    if isinstance(model, Pretrained):
        return model.pretraining or ALONE
    learned = isinstance(model, torch.nn.Module) and any(True for _ in model.parameters())
    fitted = isinstance(model, Trainable) and context.fitted
    return ALONE if fitted or not learned else "not said"


def own_numbers(model: Model, x: Tensor, data: Dataset) -> Tensor:
    """``x`` as the model takes it: discrete data of a continuous model at the middle of their bins."""
    support, theirs = space_of(model).support, data.space.support
    if isinstance(support, Continuous) and isinstance(theirs, Discrete):
        return support.dequantise(x, torch.full(x.shape, 0.5, device=x.device), theirs.levels).to(_dtype(model))
    return x


def encoded(model: Model, x: Tensor) -> Tensor:
    """Features of ``x``, which the model takes as it is; they carry a gradient where the model's own do.

    Raises:
        ModelError: where the posterior has no mean.
    """
    if isinstance(model, Encoder):
        return model.encode(x)
    assert isinstance(model, LatentVariable)
    try:
        mean: Tensor = model.posterior(x).mean
    except NotImplementedError as error:
        raise ModelError(
            f"{type(model).__name__}.posterior has no mean, and there is no other feature of it; subclass "
            "torchstone.models.Encoder as well, and say in encode what its features are."
        ) from error
    return mean.flatten(1)


def ask_features(model: Model, x: Tensor, data: Dataset) -> Tensor:
    """Features of ``x``, ``(N, D)`` float32 on the CPU.

    Raises:
        ModelError: where they are no matrix of numbers with a row for each example.
    """
    name = f"{type(model).__name__}.{'encode' if isinstance(model, Encoder) else 'posterior().mean'}"
    with torch.no_grad():
        answer: object = encoded(model, own_numbers(model, x, data))
    if not isinstance(answer, Tensor) or not answer.is_floating_point() or answer.ndim != 2 or len(answer) != len(x):
        found = (
            f"shape {tuple(answer.shape)} and type {answer.dtype}"
            if isinstance(answer, Tensor)
            else f"a {type(answer).__name__}"
        )
        raise ModelError(
            f"{name} gave {found} for {len(x)} examples: return real numbers of shape ({len(x)}, D), a row for each."
        )
    if answer.shape[1] == 0:
        raise ModelError(f"{name} gave no features: return at least one number for each example.")
    return answer.float().cpu()


def features_of(model: Model, data: Dataset, split: str, context: Context) -> Tensor:
    """Features of every example of a split in the order of the split, ``(N, D)`` float32.

    The model is asked in a shuffled order, and about nothing but the examples: neither label nor place reaches it.

    Raises:
        ModelError: where features are not finite, or their number changes from batch to batch.
    """
    examples, name = data.split(split), type(model).__name__
    order = torch.randperm(len(examples), generator=context.rng(f"order/{split}", device="cpu"))
    x, parts = examples.x[order], []

    def ask(start: int, stop: int) -> Tensor:
        batch = x[start:stop]
        return ask_features(model, (batch if batch.is_floating_point() else batch.long()).to(context.device), data)

    for _, stop, answer in context.batches(len(x), ask):
        parts.append(answer)
        context.progress(f"features of {split}", stop, len(x))
    if len(widths := sorted({part.shape[1] for part in parts})) > 1:
        raise ModelError(
            f"{name} gave {widths[0]} features for one batch and {widths[-1]} for another: give each example the "
            "same number, whatever the batch."
        )
    found = torch.empty_like(stacked := torch.cat(parts))
    found[order] = stacked
    check_finite(found, examples.ids, f"{name} gave", split)
    return found


def check_finite(features: Tensor, ids: Tensor, who: str, split: str) -> None:
    """Raise ModelError, with the first example, where a feature is NaN or infinite."""
    wrong = (~features.isfinite()).any(1)
    if bool(wrong.any()):
        first = int(wrong.nonzero()[0])
        raise ModelError(
            f"{who} features that are NaN or infinite for {int(wrong.sum())} of {len(features)} examples of {split}, "
            f"example {int(ids[first])} among them: mend the model, or its training; nothing is filled in."
        )


def _dtype(model: Model) -> torch.dtype:
    parameters: Sequence[Tensor] = list(model.parameters()) if isinstance(model, torch.nn.Module) else []
    return next((p.dtype for p in parameters if p.is_floating_point()), torch.float32)
