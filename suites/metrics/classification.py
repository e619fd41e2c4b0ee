"""Right and wrong answers of a classifier: their interval, and what refusing to answer would do to them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchstone.suites.metrics.uncertainty import Z95

__all__ = [
    "accuracy_at",
    "accuracy_coverage",
    "area_under",
    "confusions",
    "credit",
    "label_entropy",
    "tie_averaged",
    "wilson",
    "wilson_error",
]


def credit(log_prob: Tensor, y: Tensor) -> Tensor:
    """What each answer is worth, ``(N,)``: one where the most probable label is the right one, and zero otherwise.

    Where k labels are equally the most probable, each is worth 1/k: what guessing among them is on average, whatever
    the order of the labels. A row without any possible label (all ``-inf``) is wrong.

    Args:
        log_prob: ``(N, C)`` log-probabilities, normalised or not; no NaN.
        y: ``(N,)`` labels.

    Raises:
        ValueError: where the shapes do not agree, a label does not exist, or a number is NaN.

    >>> credit(torch.tensor([[0.0, -1.0], [0.0, 0.0]]), torch.tensor([0, 1])).tolist()
    [1.0, 0.5]
    """
    _check_labels(log_prob, y)
    best = log_prob.amax(1, keepdim=True)
    winners = (log_prob == best) & (best > -math.inf)
    won = winners.gather(1, y[:, None])[:, 0]
    return won.double() / winners.sum(1).clamp(min=1)


def confusions(y: Tensor, given: Tensor, classes: int) -> Tensor:
    """How many examples of each label (rows) were given each label (columns), ``(C, C)``.

    >>> confusions(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    return torch.bincount(y * classes + given, minlength=classes**2).view(classes, classes)


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a probability that was seen as ``share`` of ``n`` trials.

    It holds its level where the normal interval does not: near zero and one, where that one has no width.

    Source: Probable Inference, the Law of Succession, and Statistical Inference (Wilson, 1927).

    Raises:
        ValueError: where there are no trials, or the share is none.
    """
    if n < 1 or not 0 <= share <= 1:
        raise ValueError(f"Expected a share of 0 to 1 in at least one trial, got {share} of {n}.")
    z2 = Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def wilson_error(share: float, n: int) -> tuple[float, tuple[float, float]]:
    """The half-width of `wilson` in standard normal units, never zero, and the interval itself."""
    low, high = wilson(share, n)
    return (high - low) / (2 * Z95), (low, high)


def label_entropy(y: Tensor) -> float:
    """The entropy of the frequencies of labels, nats: at most that of the labels they were drawn from, on average.

    Raises:
        ValueError: where there are no labels.
    """
    if y.ndim != 1 or len(y) == 0:
        raise ValueError(f"Expected at least one label, shape (N,), got shape {tuple(y.shape)}.")
    share = torch.bincount(y).double() / len(y)
    return float(-torch.special.xlogy(share, share).sum())


def tie_averaged(values: Tensor, keys: Tensor) -> Tensor:
    """Each of the ``values`` replaced by the mean over all examples that have the same key, ``(N,)`` float64."""
    _, group, size = keys.unique(return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]
    means: Tensor = torch.zeros(len(size), dtype=torch.double).index_add_(0, group, values.double()) / size
    return means[group]


def accuracy_coverage(credits: Tensor, scores: Tensor) -> Tensor:
    """The accuracy over the k examples of the highest score, for k = 1 to N: ``(N,)``.

    The others are refused. Examples of one score cannot be told apart, and count by their mean, which is what refusing
    some of them at random gives on average: a score that is the same for all gives the accuracy at every coverage.

    Source: Selective Classification for Deep Neural Networks (Geifman and El-Yaniv, 2017; arXiv:1705.08500).

    Args:
        credits: ``(N,)``, one for a right answer and zero for a wrong one.
        scores: ``(N,)``, the lowest of which are refused first; infinite ones are fine.

    Raises:
        ValueError: where there are no examples, shapes differ, or a score is NaN.
    """
    _check_scores(credits, scores)
    order = scores.argsort(descending=True, stable=True)
    kept = tie_averaged(credits, scores)[order].cumsum(0)
    return kept / torch.arange(1, len(kept) + 1, dtype=torch.double)


def accuracy_at(curve: Tensor, coverage: float) -> tuple[float, int]:
    """The accuracy of an `accuracy_coverage` curve where a share ``coverage`` is answered, and how many these are.

    >>> accuracy_at(torch.tensor([1.0, 1.0, 0.75, 0.5]), 0.5)
    (1.0, 2)
    """
    if not 0 < coverage <= 1:
        raise ValueError(f"A coverage is above 0 and at most 1, got {coverage}.")
    kept = max(1, math.ceil(coverage * len(curve) - 1e-9))
    return float(curve[kept - 1]), kept


def area_under(curve: Tensor) -> float:
    """The area under an `accuracy_coverage` curve: the mean accuracy over all coverages.

    Refusing at random gives the accuracy itself. The highest that n right ones among N allow is had by refusing wrong
    answers first.
    """
    return float(curve.double().mean())


def _check_labels(log_prob: Tensor, y: Tensor) -> None:
    if log_prob.ndim != 2 or y.shape != log_prob.shape[:1] or len(y) == 0:
        raise ValueError(
            f"Expected log-probabilities (N, C) and labels (N,) of at least one example, got shapes "
            f"{tuple(log_prob.shape)} and {tuple(y.shape)}."
        )
    if int(y.min()) < 0 or int(y.max()) >= log_prob.shape[1]:
        raise ValueError(f"Labels are 0 to {log_prob.shape[1] - 1}, got {int(y.min())} to {int(y.max())}.")
    if bool(log_prob.isnan().any()):
        raise ValueError("A log-probability is NaN: decide what it is worth before it is measured.")


def _check_scores(credits: Tensor, scores: Tensor) -> None:
    if credits.ndim != 1 or len(credits) == 0 or credits.shape != scores.shape:
        raise ValueError(
            f"Expected one credit and one score per example, got shapes {tuple(credits.shape)}, {tuple(scores.shape)}."
        )
    if bool(scores.isnan().any()):
        raise ValueError("A score is NaN: an example without a score is refused first, give it -inf.")
