"""Whether probabilities of labels are as often right as they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.suites.metrics.classification import tie_averaged

__all__ = ["Reliability", "brier", "calibration_null", "expected_calibration_error", "reliability"]

SIMULATED_AT_ONCE = 2**22  # numbers


@final
@dataclass(frozen=True, slots=True)
class Reliability:
    """Bins of examples of like confidence, ``(B,)`` each: how many, their mean confidence, and their accuracy."""

    count: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def error(self) -> float:
        """The distance of accuracy and confidence, each bin weighted by its examples."""
        return float((self.count * (self.accuracy - self.confidence).abs()).sum() / self.count.sum())


def brier(probabilities: Tensor, y: Tensor) -> Tensor:
    """``sum_c (p_c - [y = c])^2`` of each example, ``(N,)``: from 0 to 2, and 1 - 1/C for the uniform distribution.

    .. note:: Brier's own sum over all classes. Where there are two, many books and libraries take one class alone,
       which is half of it.

    Source: Verification of Forecasts Expressed in Terms of Probability (Brier, 1950).

    Raises:
        ValueError: where shapes do not agree, or a label does not exist.

    >>> brier(torch.tensor([[0.75, 0.25]]), torch.tensor([0])).tolist()
    [0.125]
    """
    _check(probabilities, y)
    right = torch.nn.functional.one_hot(y, probabilities.shape[1])
    return (probabilities.double() - right).square().sum(1)


def reliability(confidence: Tensor, credits: Tensor, bins: int = 15) -> Reliability:
    """Confidence against accuracy in ``bins`` bins of equally many examples, as nearly as whole numbers allow.

    Examples of equal confidence may have to be divided between two bins; each then counts by the mean credit of them
    all, so that nothing depends on the order of the examples. There are never more bins than examples.

    Args:
        confidence: ``(N,)``, the largest probability of each example.
        credits: ``(N,)``, one where that label is right.
        bins: how many.

    Raises:
        ValueError: where there are no examples or no bins, shapes differ, or a confidence is no probability.
    """
    _check_confidence(confidence, credits, bins)
    order, bin_of, count = _binned(confidence, bins)
    averaged = tie_averaged(credits, confidence)[order]
    sums = torch.zeros(2, len(count), dtype=torch.double)
    sums.index_add_(1, bin_of, torch.stack([confidence.double()[order], averaged]))
    return Reliability(count, *(sums / count))


def expected_calibration_error(confidence: Tensor, credits: Tensor, bins: int = 15) -> float:
    """``sum_b n_b / N |accuracy_b - confidence_b|`` over bins of equal mass: see `reliability`.

    It is above zero for a calibrated model too, by the noise of the accuracy of each bin: `calibration_null` says by
    how much.

    .. note:: Bins of equal mass; torchmetrics, and the paper below, take bins of equal width, most of which a confident
       classifier leaves empty. The two differ, and numbers of one are not to be held against the other.

    Source: On Calibration of Modern Neural Networks (Guo et al., 2017; arXiv:1706.04599); for bins of equal mass:
    Verified Uncertainty Calibration (Kumar, Liang and Ma, 2019; arXiv:1909.10155).

    >>> expected_calibration_error(torch.tensor([0.5, 0.5, 1.0, 1.0]), torch.tensor([1.0, 0.0, 1.0, 0.0]), bins=2)
    0.25
    """
    return reliability(confidence, credits, bins).error


def calibration_null(
    confidence: Tensor, rng: torch.Generator, bins: int = 15, draws: int = 1000
) -> tuple[float, float]:
    """The mean and the 97.5 % point of the calibration error where labels are drawn by the model's own probabilities.

    The most probable label is then right with just its confidence, each example by itself. An error below the 97.5 %
    point is no sign of bad calibration.

    Args:
        confidence: ``(N,)``.
        rng: on the CPU.
        bins: how many, as for the error.
        draws: how many sets of labels.
    """
    _check_confidence(confidence, confidence, bins)
    order, bin_of, count = _binned(confidence, bins)
    sure = confidence.double()[order]
    _, group = sure.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    size = torch.bincount(group)
    said = torch.zeros(len(count), dtype=torch.double).index_add_(0, bin_of, sure)
    errors, most = [], max(1, SIMULATED_AT_ONCE // len(sure))
    for start in range(0, draws, most):
        right = (torch.rand(min(most, draws - start), len(sure), generator=rng, dtype=torch.double) < sure).double()
        sums = torch.zeros(len(right), len(size), dtype=torch.double).index_add_(1, group, right)
        found = torch.zeros(len(right), len(count), dtype=torch.double).index_add_(1, bin_of, (sums / size)[:, group])
        errors.append((found - said).abs().sum(1) / len(sure))
    every = torch.cat(errors)
    return float(every.mean()), float(every.quantile(0.975))


def _binned(confidence: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """The order by confidence, the bin of each in that order, and how many are in each bin."""
    n = len(confidence)
    bins = min(bins, n)
    bin_of = torch.arange(n) * bins // n
    return confidence.argsort(stable=True), bin_of, torch.bincount(bin_of, minlength=bins)


def _check(probabilities: Tensor, y: Tensor) -> None:
    if probabilities.ndim != 2 or y.shape != probabilities.shape[:1] or len(y) == 0:
        raise ValueError(
            f"Expected probabilities (N, C) and labels (N,) of at least one example, got shapes "
            f"{tuple(probabilities.shape)} and {tuple(y.shape)}."
        )
    if int(y.min()) < 0 or int(y.max()) >= probabilities.shape[1]:
        raise ValueError(f"Labels are 0 to {probabilities.shape[1] - 1}, got {int(y.min())} to {int(y.max())}.")


def _check_confidence(confidence: Tensor, credits: Tensor, bins: int) -> None:
    if confidence.ndim != 1 or len(confidence) == 0 or confidence.shape != credits.shape or bins < 1:
        raise ValueError(
            f"Expected one confidence and one credit per example, and at least one bin, got shapes "
            f"{tuple(confidence.shape)} and {tuple(credits.shape)}, and {bins} bins."
        )
    if not bool(((confidence >= 0) & (confidence <= 1 + 1e-9)).all()):
        raise ValueError("A confidence is a probability, from 0 to 1.")
