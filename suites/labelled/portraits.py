"""Pictures of probabilities of labels, and of what is drawn for each of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from torchstone.models.checks import space_of
from torchstone.models.model import Model, ModelError, Sampler
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.labelled.scores import Sheet
from torchstone.suites.metrics.calibration import reliability
from torchstone.suites.metrics.classification import accuracy_coverage, confusions
from torchstone.suites.pictures.conditional import (
    accuracy_against_coverage,
    class_samples,
    confusion_matrix,
    reliability_diagram,
)
from torchstone.suites.samplers import ask_samples

__all__ = ["portraits"]

ROWS, COLUMNS = 10, 10  # of the grid: classes at most, and samples of each


def portraits(
    sheet: Sheet, model: Model, data: Dataset, context: Context
) -> tuple[Mapping[str, bytes], tuple[str, ...]]:
    """PNG files by name, and in words why one could not be drawn."""
    found: dict[str, bytes] = {}
    posterior, credits = sheet.posterior, sheet.credits
    found["reliability"] = reliability_diagram(reliability(posterior.confidence, credits, sheet.bins))
    curves = {"the least certain": accuracy_coverage(credits, posterior.confidence)}
    if posterior.marginal is not None:
        curves["the least likely"] = accuracy_coverage(credits, posterior.marginal)
    found["accuracy-coverage"] = accuracy_against_coverage(curves)
    found["confusion"] = confusion_matrix(
        confusions(sheet.y, posterior.log_prob.argmax(1), posterior.log_prob.shape[1])
    )
    if not isinstance(model, Sampler) or space_of(model).classes is None:
        return found, ()
    try:
        found["class-samples"] = class_samples(_drawn(model, data, context))
    except (ArithmeticError, ModelError, RuntimeError, ValueError) as error:  # no picture is worth the numbers
        return found, (f"Samples of its classes could not be drawn: {str(error)[:160]}",)
    return found, ()


def _drawn(model: Sampler, data: Dataset, context: Context) -> Tensor:
    """Samples ``(classes, columns, *event)``, of labels that are the harness's."""
    classes = min(ROWS, space_of(model).classes or 0)
    y = torch.arange(classes).repeat_interleave(COLUMNS)
    x = ask_samples(model, len(y), y, data.space, context, purpose="class samples")
    return x.view(classes, COLUMNS, *data.space.event_shape)
