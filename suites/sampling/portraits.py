"""Pictures of samples: beside their nearest training examples, of distance against number, and against steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from torchstone.suites.metrics.frechet import Extrapolation
from torchstone.suites.pictures.conditional import class_samples
from torchstone.suites.pictures.samples import Curve, extrapolation, neighbours, quality
from torchstone.suites.sampling.drawn import Drawn
from torchstone.suites.sampling.sheet import Sheet
from torchstone.suites.sampling.steps import Rung

__all__ = ["portraits"]

SHOWN = 12  # samples in a row
CLASSES, COLUMNS = 10, 10  # of the grid of classes


def portraits(
    sheet: Sheet,
    drawn: Drawn,
    train: Tensor,
    test_distances: Tensor,
    distances: Tensor,
    which: Tensor,
    line: Extrapolation | None,
    rungs: Sequence[Rung],
) -> Mapping[str, bytes]:
    """PNG files by name.

    Args:
        sheet: whose first score is the distance that curves end at.
        drawn: the samples.
        train: the training split, as stored.
        test_distances: of test examples to their nearest training examples.
        distances: of samples to theirs.
        which: the nearest training example of each sample.
        line: the extrapolation, where there is one.
        rungs: the numbers of steps, where there are any.
    """
    found: dict[str, bytes] = {}
    if drawn.x.ndim in (3, 4):
        n = min(SHOWN, len(drawn.x))
        few = {
            "the first samples": torch.arange(n),
            "the nearest to training examples": distances.argsort(stable=True)[:n],
        }
        found["samples"] = neighbours(drawn.x, train, which, distances, test_distances, few)
    if drawn.y is not None and (classes := _of_each_class(drawn.x, drawn.y)) is not None:
        found["class-samples"] = class_samples(classes)
    floor = sheet.scores[0].parameters.get("floor")
    level = float(floor) if isinstance(floor, float) else None
    if line is not None:
        found["extrapolation"] = extrapolation(line, level)
    if rungs:
        _, evaluations, seconds, distances_, errors = zip(*rungs, strict=True)
        found["steps"] = quality({"this sampler": Curve(evaluations, seconds, distances_, errors)}, level)
    return found


def _of_each_class(x: Tensor, y: Tensor) -> Tensor | None:
    """The first samples of each of the first classes, ``(classes, columns, *event)``; None where one has too few."""
    rows = [x[y == label][:COLUMNS] for label in sorted(set(y.tolist()))[:CLASSES]]
    return torch.stack(rows) if all(len(row) == COLUMNS for row in rows) else None
