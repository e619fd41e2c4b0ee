"""Weighted nearest neighbours as a classifier of features, for several numbers of them at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["knn_log_prob"]

ROWS, COLUMNS = 512, 16_384  # of similarities that are held at once
TEMPERATURE = 0.07


def knn_log_prob(
    train: Tensor, y: Tensor, test: Tensor, classes: int, *, k: Sequence[int] = (10, 20, 100, 200),
    temperature: float = TEMPERATURE,
) -> Tensor:  # fmt: skip
    r"""Log-probabilities of the classes by the votes of the k most similar training examples, ``(K, N, C)`` float64.

    Similarity is the cosine of two features, and a neighbour votes for its label with weight
    :math:`e^{\mathrm{similarity} / T}`; votes are divided by their sum. A class without a vote has ``-inf``. Features
    that are zero have a similarity of zero to all. Of equally similar ones at the k-th place which votes is not told.
    Similarities are in the precision of the features, a block of both sets at a time, so that memory grows with
    N + M.

    Source: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", 2018,
    arXiv:1805.01978.

    Args:
        train: ``(M, D)`` features.
        y: ``(M,)`` their labels, 0 to ``classes - 1``.
        test: ``(N, D)`` features, of the same type.
        classes: how many there are, whichever of them ``y`` holds.
        k: numbers of neighbours.
        temperature: T.

    Raises:
        ValueError: where shapes do not agree, a feature is not finite, a label does not exist, or a k is above M.
    """
    _check(train, y, test, classes, k, temperature)
    most = max(k)
    ours, theirs = (torch.nn.functional.normalize(each, dim=1, eps=1e-30) for each in (train, test))
    votes = torch.empty(len(k), len(test), classes, dtype=torch.double)
    for start in range(0, len(test), ROWS):
        similar, which = _most_similar(theirs[start : start + ROWS], ours, most)
        weight = ((similar.double() - 1) / temperature).exp()
        for place, count in enumerate(k):
            mine = torch.zeros(len(weight), classes, dtype=torch.double)
            votes[place, start : start + ROWS] = mine.scatter_add_(1, y[which[:, :count]], weight[:, :count])
    return (votes / votes.sum(2, keepdim=True)).log()


def _most_similar(rows: Tensor, others: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The highest similarities of each row, sorted, and to which of the others."""
    values, which = rows.new_zeros(len(rows), 0), torch.zeros(len(rows), 0, dtype=torch.long)
    for start in range(0, len(others), COLUMNS):
        similar = rows @ others[start : start + COLUMNS].T
        found = _partition(similar, most)
        values, which = torch.cat([values, similar.gather(1, found)], 1), torch.cat([which, found + start], 1)
    best = _partition(values, most)
    order = values.gather(1, best).argsort(1, descending=True)
    best = best.gather(1, order)
    return values.gather(1, best), which.gather(1, best)


def _partition(values: Tensor, most: int) -> Tensor:
    """Where the highest of each row are, in no order; NumPy's takes half the time of torch's."""
    import numpy as np

    first = values.shape[1] - most
    if first <= 0:
        return torch.arange(values.shape[1]).expand(values.shape)
    return torch.from_numpy(np.argpartition(values.numpy(), first, axis=1)[:, first:])


def _check(train: Tensor, y: Tensor, test: Tensor, classes: int, k: Sequence[int], temperature: float) -> None:
    if train.ndim != 2 or test.ndim != 2 or train.shape[1] != test.shape[1] or train.dtype != test.dtype:
        raise ValueError(f"Expected features (M, D) and (N, D), got {tuple(train.shape)} and {tuple(test.shape)}.")
    if y.shape != train.shape[:1] or not len(y) or int(y.min()) < 0 or int(y.max()) >= classes:
        raise ValueError(f"Expected a label of 0 to {classes - 1} for each of at least one training example.")
    if not k or min(k) < 1 or max(k) > len(train):
        raise ValueError(f"k is 1 to the {len(train)} training examples, got {list(k)}: leave out those above.")
    if not temperature > 0:
        raise ValueError(f"temperature is above zero, got {temperature}.")
    if not bool(train.isfinite().all() and test.isfinite().all()):
        raise ValueError("A feature is NaN or infinite, and has no neighbours: find out what the encoder did.")
