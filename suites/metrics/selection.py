"""Which training examples are held out where something is chosen on them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["held_out_tenth", "stratified_folds"]


def stratified_folds(y: Tensor, folds: int, rng: torch.Generator) -> Tensor:
    """The fold of each example, ``(N,)`` from 0 to ``folds - 1``: each class is spread over them as evenly as can be.

    Classes follow one another round the folds, so that the folds, too, differ by one example at most.

    Args:
        y: ``(N,)`` labels.
        folds: how many, two at least.
        rng: on the CPU; which examples of a class fall into which fold.

    Raises:
        ValueError: where there are fewer examples than folds, or fewer than two folds.
    """
    if y.ndim != 1 or folds < 2 or len(y) < folds:
        raise ValueError(f"Expected labels (N,) of at least two folds' examples, got shape {tuple(y.shape)}, {folds}.")
    shuffled = torch.randperm(len(y), generator=rng)
    order = shuffled[y[shuffled].argsort(stable=True)]
    found = torch.empty_like(y)
    found[order] = torch.arange(len(y)) % folds
    return found


def held_out_tenth(y: Tensor, rng: torch.Generator) -> Tensor:
    """A mask of a tenth of the examples, ``(N,)``, of each class as nearly a tenth as can be.

    A class of one example keeps it: what is not held out has an example of every class.

    Raises:
        ValueError: where there are fewer than ten examples.
    """
    held = stratified_folds(y, 10, rng) == 0
    alone = torch.bincount(y) == torch.bincount(y[held], minlength=int(y.max()) + 1)
    return held & ~alone[y]
