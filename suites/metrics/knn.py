"""Labels that the nearest neighbours vote for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["knn_log_prob"]

TEST_ROWS, TRAIN_ROWS = 512, 8192
"""Rows of a block of similarities, which is all that is held of them."""


def knn_log_prob(
    train: Tensor, y: Tensor, test: Tensor, classes: int, neighbours: Sequence[int], temperature: float = 0.07
) -> Tensor:
    r"""Log-probabilities of labels by the votes of the nearest training examples, ``(K, N, C)`` for K numbers of them.

    .. math:: p(c \mid x) \propto \sum_{i \in \text{nearest } k} [y_i = c]\, \exp(\cos(x, x_i) / \tau)

    A label without a vote is impossible. A feature vector of zeros is equally far from all. Equal similarities at the
    k-th place are settled by the order of the training examples.

    Source: Unsupervised Feature Learning via Non-Parametric Instance Discrimination (Wu et al., 2018;
    arXiv:1805.01978), as in DINO's evaluation.

    Args:
        train: ``(M, D)`` features.
        y: ``(M,)`` labels.
        test: ``(N, D)`` features.
        classes: how many labels there are, whether or not one is among ``y``.
        neighbours: how many vote, K numbers from one to M.
        temperature: the divisor of the similarities.

    Raises:
        ValueError: where shapes do not agree, or a number of neighbours cannot be had.
    """
    if train.ndim != 2 or test.ndim != 2 or train.shape[1] != test.shape[1] or y.shape != train.shape[:1]:
        raise ValueError(
            f"Expected features (M, D) and (N, D) and labels (M,), got shapes {tuple(train.shape)}, "
            f"{tuple(test.shape)} and {tuple(y.shape)}."
        )
    if not neighbours or min(neighbours) < 1 or max(neighbours) > len(train):
        raise ValueError(f"Expected numbers of neighbours from 1 to {len(train)}, got {tuple(neighbours)}.")
    known, most = functional.normalize(train.double(), dim=1), max(neighbours)
    parts = []
    for start in range(0, len(test), TEST_ROWS):
        asked = functional.normalize(test[start : start + TEST_ROWS].double(), dim=1)
        near, which = _nearest(asked, known, most)
        parts.append(_votes(near / temperature, y[which], classes, neighbours))
    return torch.cat(parts, 1)


def _nearest(asked: Tensor, known: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k greatest products with rows of ``known``, descending, and which rows they are, block after block."""
    best = torch.empty(len(asked), 0, dtype=asked.dtype)
    which = torch.empty(len(asked), 0, dtype=torch.long)
    for start in range(0, len(known), TRAIN_ROWS):
        product = asked @ known[start : start + TRAIN_ROWS].T
        near, place = product.topk(min(k, product.shape[1]), 1)
        both, rows = torch.cat([best, near], 1), torch.cat([which, place + start], 1)
        best, order = both.topk(min(k, both.shape[1]), 1)
        which = rows.gather(1, order)
    return best, which


def _votes(log_weight: Tensor, y: Tensor, classes: int, neighbours: Sequence[int]) -> Tensor:
    """Normalised logarithms of the sums of weights by label, of the first k neighbours for each k, ``(K, n, C)``."""
    weight = (log_weight - log_weight[:, :1]).exp()
    found = []
    for k in neighbours:
        votes = torch.zeros(len(y), classes, dtype=weight.dtype).scatter_add_(1, y[:, :k], weight[:, :k])
        found.append((votes / votes.sum(1, keepdim=True)).log())
    return torch.stack(found)
