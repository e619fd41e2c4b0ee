"""What a probe has to do: features of two splits on one scale, and the labels of their examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.suites.data.dataset import Dataset
from torchstone.suites.probing.features import Standard

__all__ = ["Task", "labels_refusal", "task_of"]

FEWEST = 2  # training examples of a class: one to fit, one to choose on


@final
@dataclass(frozen=True, slots=True)
class Task:
    """Features of the training and the test split, ``(N, D)`` float64, standardised by the first, and their labels."""

    train: Tensor
    y: Tensor
    test: Tensor
    test_y: Tensor
    classes: int


def task_of(data: Dataset, train: Tensor, test: Tensor) -> tuple[Standard, Task]:
    """The task that features of both splits make, and the scale that they are on."""
    y, test_y, classes = data.split("train").y, data.split("test").y, data.space.classes
    assert y is not None and test_y is not None and classes is not None
    standard = Standard.of(train)
    return standard, Task(standard(train), y, standard(test), test_y, classes)


def labels_refusal(data: Dataset) -> str | None:
    """Why no probe can be fitted to the labels of ``data``, as a sentence; None where it can."""
    y, classes = data.split("train").y, data.space.classes
    if y is None or classes is None:
        return f"{data.name} has no labels, and probes are fitted to them; choose such as data=digits."
    if classes < 2:
        return f"{data.name} has one class, and there is nothing to tell apart; choose data with several."
    if len(data.split("test")) == 0:
        return f"{data.name} has no test examples, and nothing can be measured."
    counts = torch.bincount(y, minlength=classes)
    if int(counts.min()) == 0:
        absent = (counts == 0).nonzero()[:, 0].tolist()
        which = f"Classes {_few(absent)} have" if len(absent) > 1 else f"Class {absent[0]} has"
        return (
            f"{which} no training example in {data.name}, whose labels run from 0 to {classes - 1}: no probe can learn "
            "what it never saw; number the labels without gaps, or divide the data so that each is in every split."
        )
    if int(counts.min()) < FEWEST:
        alone = int((counts < FEWEST).nonzero()[0])
        return (
            f"Class {alone} has one training example in {data.name}: there is none to choose the probe on; leave the "
            "class out, or add examples."
        )
    return None


def _few(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return f"{shown} and {len(numbers) - 5} more" if len(numbers) > 5 else shown
