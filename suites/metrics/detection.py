"""How well a score tells outliers from inliers: higher is more outlying, and a number below chance stands as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

__all__ = ["Detection", "auroc", "auroc_stderr", "average_precision", "detect", "fpr_at_95_tpr"]

CAUGHT = 0.95
LEVEL = 0.05
PIECE = 2**22  # weights that are held at once


@final
@dataclass(frozen=True, slots=True)
class Detection:
    """One number of a detector with its uncertainty, both None where they are undefined.

    ``stderr`` is DeLong's for an AUROC, and the standard deviation over resamples otherwise.
    """

    value: float
    stderr: float | None
    ci95: tuple[float, float] | None


def auroc(inliers: Tensor, outliers: Tensor) -> float:
    r"""``P(s_out > s_in) + P(s_out = s_in) / 2``, the area under the ROC curve with the outliers as positives.

    It is computed by ranks. It is never turned round: a score by which outliers look more normal than inliers has an
    area below one half, and that is its result. Infinite scores sort as they are.

    Args:
        inliers: ``(n,)`` scores, the higher the more outlying.
        outliers: ``(m,)``.

    Raises:
        ValueError: where a score is NaN, or there is none on one side.

    Source: The meaning and use of the area under a receiver operating characteristic (ROC) curve (Hanley and McNeil,
    1982).
    """
    return float(_placements(*_checked(inliers, outliers)).mean())


def auroc_stderr(inliers: Tensor, outliers: Tensor, *, paired: bool = False) -> float | None:
    r"""The standard error of `auroc` over both samples; None with fewer than two scores on one side.

    .. math:: \sqrt{\mathrm{var}_j\, V_j / m + \mathrm{var}_i\, W_i / n}

    V_j is the share of inliers below outlier j, and W_i the share of outliers above inlier i; ties count half. Where
    outlier i is made of inlier i the two go together, and it is the square root of ``var_i (V_i + W_i) / n``.

    Source: Comparing the areas under two or more correlated receiver operating characteristic curves (DeLong, DeLong
    and Clarke-Pearson, 1988).
    """
    inside, outside = _checked(inliers, outliers, paired)
    if min(len(inside), len(outside)) < 2:
        return None
    above, below = _placements(inside, outside), 1 - _placements(outside, inside)
    if paired:
        return float(((above + below).var() / len(inside)).sqrt())
    return float((above.var() / len(outside) + below.var() / len(inside)).sqrt())


def average_precision(inliers: Tensor, outliers: Tensor) -> float:
    r"""``sum_k (R_k - R_{k-1}) P_k`` over thresholds: the area under precision and recall, outliers being positive.

    Equal scores share a threshold, and nothing is interpolated. A score that says nothing has ``m / (n + m)``.
    """
    return float(_Sample(inliers, outliers).numbers()[1])


def fpr_at_95_tpr(inliers: Tensor, outliers: Tensor) -> float:
    """The share of inliers at or above the highest threshold that 95 % of the outliers reach.

    Source: A baseline for detecting misclassified and out-of-distribution examples in neural networks (Hendrycks and
    Gimpel, 2017; arXiv:1610.02136), and its successors.
    """
    return float(_Sample(inliers, outliers).numbers()[2])


def detect(
    inliers: Tensor, outliers: Tensor, resamples: int, rng: torch.Generator, *, paired: bool = False
) -> dict[str, Detection]:
    r"""``auroc``, ``aupr`` (`average_precision`) and ``fpr95`` with 95 % intervals.

    Intervals are percentiles of a bootstrap that draws both sets anew, each at its own size; paired ones together. It
    degenerates where every resample gives the same, and then:

    - an AUROC of exactly one gets the exact ``[0.025^(1/k), 1]``, with k the smaller size: among k disjoint pairs of an
      inlier and an outlier all are in order, each with a probability that is the AUROC (Clopper and Pearson's lower
      limit for k of k). One of exactly zero gets its mirror image. Of paired sets k is half the size, for inlier and
      outlier are then to come of two sources.
    - an FPR of exactly zero or one gets Clopper and Pearson's interval for n inliers at the threshold that was found.
    - an average precision at such an end gets none.

    At these ends there is no standard error. With fewer than two scores on one side there is none anywhere, and no
    interval but the exact ones.

    Source: The use of confidence or fiducial limits illustrated in the case of the binomial (Clopper and Pearson,
    1934).

    Args:
        inliers: ``(n,)`` scores, the higher the more outlying.
        outliers: ``(m,)``.
        resamples: of the bootstrap.
        rng: draws them, on the CPU.
        paired: whether outlier i is made of inlier i; there are then as many of both.
    """
    sample = _Sample(inliers, outliers, paired)
    values = [auroc(inliers, outliers), *sample.numbers()[1:].tolist()]
    few = min(sample.n, sample.m)
    spread = sample.resampled(resamples, rng) if few > 1 and resamples > 1 else None
    found = {
        name: _resampled(value, None if spread is None else spread[:, place])
        for place, (name, value) in enumerate(zip(("auroc", "aupr", "fpr95"), values, strict=True))
    }
    error = auroc_stderr(inliers, outliers, paired=paired)
    area, rate = values[0], values[2]
    found["auroc"] = Detection(area, error, found["auroc"].ci95)
    if area in (0.0, 1.0):
        found |= {
            "auroc": Detection(area, None, _all_of(max(1, few // 2) if paired else few, area)),
            "aupr": Detection(values[1], None, None),
        }
    if rate in (0.0, 1.0):
        found["fpr95"] = Detection(rate, None, _all_of(sample.n, rate))
    return found


def _all_of(k: int, share: float) -> tuple[float, float]:
    """Clopper and Pearson's interval for a share of exactly zero or one among k."""
    far = (LEVEL / 2) ** (1 / k)
    return (far, 1.0) if share == 1.0 else (0.0, 1.0 - far)


def _resampled(value: float, spread: Tensor | None) -> Detection:
    if spread is None:
        return Detection(value, None, None)
    low, high = torch.quantile(spread, torch.tensor([LEVEL / 2, 1 - LEVEL / 2], dtype=spread.dtype)).tolist()
    return Detection(value, float(spread.std()), (low, high))


def _checked(inliers: Tensor, outliers: Tensor, paired: bool = False) -> tuple[Tensor, Tensor]:
    for name, scores in (("inliers", inliers), ("outliers", outliers)):
        if scores.ndim != 1 or scores.numel() == 0:
            raise ValueError(f"{name} must be scores of shape (N,) with N at least 1, got {tuple(scores.shape)}.")
        if bool(scores.isnan().any()):
            raise ValueError(f"{int(scores.isnan().sum())} of the {name} have the score NaN, which has no place.")
    if paired and len(inliers) != len(outliers):
        raise ValueError(
            f"paired sets have one size, and there are {len(inliers)} inliers and {len(outliers)} outliers."
        )
    return inliers.detach().double().cpu(), outliers.detach().double().cpu()


def _placements(others: Tensor, scores: Tensor) -> Tensor:
    """The share of ``others`` below each of ``scores``, ties counting half."""
    ordered = others.sort().values
    twice = torch.searchsorted(ordered, scores) + torch.searchsorted(ordered, scores, right=True)
    return twice.double() / (2 * len(others))


@final
class _Sample:
    """Both sets on one ladder of distinct scores, the highest first, where a resample is a weight on each rung."""

    def __init__(self, inliers: Tensor, outliers: Tensor, paired: bool = False) -> None:
        inside, outside = _checked(inliers, outliers, paired)
        self.paired = paired
        self.n, self.m = len(inside), len(outside)
        values, places = torch.unique(torch.cat([inside, outside]), return_inverse=True)
        self.rungs = len(values)
        self.inside, self.outside = (self.rungs - 1 - places).split([self.n, self.m])

    def numbers(self) -> Tensor:
        """AUROC, average precision and FPR of the sample itself, ``(3,)``."""
        weights = [torch.bincount(each, minlength=self.rungs)[None] for each in (self.inside, self.outside)]
        return _numbers(*weights)[0]

    def resampled(self, resamples: int, rng: torch.Generator) -> Tensor:
        """The same of resamples of both sets, ``(resamples, 3)``."""
        most = max(1, PIECE // max(self.rungs, self.n, self.m))
        sizes = [min(most, resamples - start) for start in range(0, resamples, most)]
        return torch.cat([_numbers(*self._drawn(k, rng)) for k in sizes])

    def _drawn(self, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """``k`` resamples of both sets as counts, ``(k, rungs)`` each."""
        inside = torch.randint(self.n, (k, self.n), generator=rng)
        outside = inside if self.paired else torch.randint(self.m, (k, self.m), generator=rng)
        return self._counted(self.inside[inside]), self._counted(self.outside[outside])

    def _counted(self, rungs: Tensor) -> Tensor:
        counts = torch.zeros(len(rungs), self.rungs, dtype=torch.long)
        return counts.scatter_add_(1, rungs, torch.ones_like(rungs))


def _numbers(inside: Tensor, outside: Tensor) -> Tensor:
    """From counts on each rung, ``(k, rungs)`` with the highest score first, to ``(k, 3)``."""
    inside, outside = inside.double(), outside.double()
    false, true = inside.cumsum(1), outside.cumsum(1)
    n, m = false[:, -1:], true[:, -1:]
    below = 2 * (n - false) + inside  # twice the inliers below, ties counting half
    area = (outside * below).sum(1) / (2 * n * m).squeeze(1)
    precision = true / (true + false).clamp_min(1)
    average = (outside * precision).sum(1) / m.squeeze(1)
    first = (true >= (CAUGHT * m - 1e-9)).long().argmax(1, keepdim=True)
    rate = (false.gather(1, first) / n).squeeze(1)
    return torch.stack([area, average, rate], 1)
