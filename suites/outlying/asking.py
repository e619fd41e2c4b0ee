"""The same questions about the data and about outliers: as many draws, the same noise, no labels."""

from __future__ import annotations

from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from torchstone.models.checks import space_of
from torchstone.models.model import (
    Discriminative,
    ExplicitApproximate,
    ExplicitExact,
    Joint,
    LatentVariable,
    Model,
    Split,
)
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.latent.examples import Examples
from torchstone.suites.log_density import LogDensity, Sampling
from torchstone.suites.questions import ask_log_prob_label, validated

__all__ = ["Questions", "has_density", "unlabelled"]


def has_density(model: Model) -> bool:
    """Whether ``model`` gives or bounds a density of examples without labels; one of a `Joint` is its marginal."""
    if not isinstance(model, ExplicitExact | ExplicitApproximate):
        return False
    return space_of(model).classes is None or isinstance(model, Joint)


def unlabelled(data: Dataset) -> Dataset:
    """``data`` without labels."""
    splits = {name: replace(split, y=None) for name, split in data.splits.items()}
    return replace(data, space=replace(data.space, classes=None), splits=splits)


@final
class Questions:
    """What one model is asked of any examples in the space of ``data``, which has no labels.

    Attributes:
        estimator: how a density is had, in words; None without one.
    """

    def __init__(self, model: Model, data: Dataset, sampling: Sampling, context: Context) -> None:
        self._model, self._data, self._context = model, data, context
        whole = replace(sampling, replicates=1) if isinstance(model, LatentVariable) else sampling
        self._sampling = whole
        self.estimator = _estimator(model, data, whole, context)

    def costs(self, x: Tensor) -> Tensor | None:
        """Negative log-density of each example in nats, ``(N,)``, infinite where it is not finite; None without one.

        Noise and draws depend on the seed and on the place of an example alone, so that the data and each set of
        outliers get the same.
        """
        if not has_density(self._model):
            return None
        assert isinstance(self._model, ExplicitExact | ExplicitApproximate)
        return LogDensity(self._model, self._of(x), "asked", self._sampling, self._context).answers().costs

    def softmax(self, x: Tensor) -> Tensor | None:
        """``-max_y log p(y|x)`` of each example, ``(N,)`` nats; None of a model that does not classify."""
        model = self._model
        if not isinstance(model, Discriminative):
            return None
        examples = Examples(model, self._of(x), "asked", self._sampling.block, self._context)
        with validated():
            answers = [ask_log_prob_label(model, examples.block(k)[2].x) for k in range(examples.blocks)]
        return -torch.cat(answers).amax(1)

    def _of(self, x: Tensor) -> Dataset:
        return replace(self._data, splits={"asked": Split(x, None, torch.arange(len(x)))}, source=None)


def _estimator(model: Model, data: Dataset, sampling: Sampling, context: Context) -> str | None:
    if not has_density(model):
        return None
    assert isinstance(model, ExplicitExact | ExplicitApproximate)
    contract = LogDensity(model, data, "validation", sampling, context).contract()
    draws, noise = contract["importance_samples"], contract["dequantisation"]
    words = [
        str(contract["estimator"]),
        "" if draws is None else f"K = {draws}",
        "" if noise == "none" else f"{noise} dequantisation",
    ]
    return ", ".join(word for word in words if word)
