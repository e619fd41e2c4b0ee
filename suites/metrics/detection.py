"""How well a score tells outliers from examples: areas under curves, each with its error, and never flipped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, final

import torch
from torch import Tensor

__all__ = ["Detection", "auroc_stderr", "detection", "exact_interval"]

RESAMPLES = 1000
PIECE = 2_000_000  # counts that are held at once
MISSED = 0.05  # of the outliers, at the threshold of the false-positive rate


@final
class Detection(NamedTuple):
    """Area under the ROC curve, average precision, false-positive rate where 95 % of the outliers are found.

    Each with its 95 % interval; ``stderr`` is that of the first.
    """

    auroc: float
    aupr: float
    fpr95: float
    stderr: float | None
    auroc_ci95: tuple[float, float]
    aupr_ci95: tuple[float, float]
    fpr95_ci95: tuple[float, float]


def detection(inliers: Tensor, outliers: Tensor, rng: torch.Generator, resamples: int = RESAMPLES) -> Detection:
    r"""Of a score that is the higher the more outlying, with the outliers as the positive class.

    The first is :math:`P(s_{out} > s_{in}) + P(s_{out} = s_{in}) / 2`, the second the sum of precision over steps of
    recall, the third the share of examples at or above the highest threshold that finds 95 % of the outliers. An area
    below one half stays what it is: the score is wrong way round, and that is the finding. Intervals are percentiles
    of a bootstrap over both sets; at an area of 0 or 1 every resample repeats it, and the interval is an exact one.

    Source: Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic curve", 1982.

    Args:
        inliers: scores of examples, ``(N,)``; infinite ones count as the largest or smallest, NaN raises.
        outliers: scores of outliers, ``(M,)``.
        rng: draws the resamples, on the CPU.
        resamples: how many.

    Raises:
        ValueError: where a set is empty or holds NaN.
    """
    for scores in (inliers, outliers):
        if scores.ndim != 1 or not len(scores) or bool(scores.isnan().any()):
            raise ValueError(f"Expected scores (N,) of at least one example, none of them NaN, got {tuple(scores.shape)}.")
    n, m = len(inliers), len(outliers)
    places = torch.cat([inliers, outliers]).double().unique(return_inverse=True)[1]
    kinds = int(places.max()) + 1
    whole = _measures(*(_counted(torch.ones(1, len(p)), p, kinds) for p in (places[:n], places[n:])))
    drawn = [
        torch.stack(_measures(_counted(first, places[:n], kinds), _counted(second, places[n:], kinds)))
        for first, second in zip(_resampled(n, kinds, resamples, rng), _resampled(m, kinds, resamples, rng), strict=True)
    ]
    low, high = torch.cat(drawn, 1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=1)
    auroc, aupr, fpr = (float(each) for each in whole)
    ends = [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    if auroc in (0.0, 1.0):
        ends[0] = exact_interval(auroc, min(n, m))
    return Detection(auroc, aupr, fpr, auroc_stderr(inliers, outliers), ends[0], ends[1], ends[2])


def auroc_stderr(inliers: Tensor, outliers: Tensor) -> float | None:
    """The standard error of the area by its placements; None where a set has one example.

    Source: DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
    characteristic curves", 1988.
    """
    n, m = len(inliers), len(outliers)
    if min(n, m) < 2:
        return None
    placed = _below(outliers, inliers), 1 - _below(inliers, outliers)
    return math.sqrt(float(placed[0].var()) / m + float(placed[1].var()) / n)


def exact_interval(area: float, pairs: int) -> tuple[float, float]:
    """The 95 % interval of an area of 0 or 1: that of as many independent pairs, all in one order.

    Pairs that share no example are independent, and there are as many as the smaller set has examples. The
    interval is Clopper and Pearson's, "The use of confidence or fiducial limits", 1934, and wider than need be.

    >>> [round(end, 3) for end in exact_interval(1.0, 100)]
    [0.964, 1.0]
    """
    end = 0.025 ** (1 / pairs)
    return (end, 1.0) if area == 1.0 else (0.0, 1 - end)


def _below(scores: Tensor, others: Tensor) -> Tensor:
    """For each of ``scores`` the share of ``others`` below it, ties half, ``(N,)``."""
    ordered = others.double().sort().values
    left, right = (torch.searchsorted(ordered, scores.double(), right=side) for side in (False, True))
    return (left + right).double() / (2 * len(others))


def _resampled(n: int, kinds: int, resamples: int, rng: torch.Generator) -> Iterator[Tensor]:
    """How often each of ``n`` examples comes in each resample, ``(R, n)``, some resamples at a time."""
    size = max(1, PIECE // max(n, kinds))
    for start in range(0, resamples, size):
        count = min(size, resamples - start)
        drawn = torch.randint(n, (count, n), generator=rng)
        yield torch.zeros(count, n).scatter_add_(1, drawn, torch.ones(count, n))


def _counted(times: Tensor, places: Tensor, kinds: int) -> Tensor:
    """How many scores of each kind there are, smallest first, ``(R, kinds)``, from how often each example comes."""
    return torch.zeros(len(times), kinds, dtype=torch.float64).index_add_(1, places, times.double())


def _measures(inliers: Tensor, outliers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Area, average precision and false-positive rate, ``(R,)`` each, from counts of each kind of score."""
    n, m = inliers.sum(1), outliers.sum(1)
    below = inliers.cumsum(1) - inliers / 2
    auroc = (outliers * below).sum(1) / (n * m)
    found, false = (counts.flip(1).cumsum(1) for counts in (outliers, inliers))
    precision = found / (found + false).clamp_min(1e-300)
    aupr = (outliers.flip(1) * precision).sum(1) / m
    enough = (found >= (1 - MISSED) * m[:, None] - 1e-9).double().argmax(1, keepdim=True)
    return auroc, aupr, (false.gather(1, enough)[:, 0] / n)
