"""The scores of an example, higher being more outlying, and all that they take from training and validation data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.models.model import Discrete, Space, Split
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.metrics.code_length import adaptive_length, file_length

__all__ = ["BASELINES", "Calibration", "calibrate"]

BASELINES = ("baseline_code_length", "baseline_pixel_mean", "baseline_pixel_variance")
SMOOTHING = 1.0  # of the background's counts, fixed: a choice on any split would be one more setting to be honest about
FILES_FROM = 32  # a side, from which on an image file is more picture than header
AT_ONCE = 1000
BAND = 0.95  # of the validation examples lie in the typicality band


@final
@dataclass(frozen=True, slots=True)
class Calibration:
    """What scores need to know beforehand: fixed from training and validation data before there is any outlier.

    Attributes:
        space: of the data.
        entropy: nats per dimension, the mean of ``-log p / D`` over the validation examples; None without a density,
            or where that mean is not finite.
        band: nats per dimension about ``entropy`` within which 95 % of the validation examples lie.
        background: ``(D, levels)`` log-probabilities of independent positions; None for continuous data.
        mean: the mean over training examples of the mean of their values.
        variance: the same of the variance of their values.
    """

    space: Space
    entropy: float | None
    band: float
    background: Tensor | None
    mean: float
    variance: float

    @property
    def levels(self) -> int | None:
        """Of discrete data."""
        support = self.space.support
        return support.levels if isinstance(support, Discrete) else None

    @property
    def files(self) -> bool:
        """Whether examples are coloured images, large enough for image files to say something about them."""
        shape = self.space.event_shape
        return len(shape) == 3 and shape[0] == 3 and min(shape[1:]) >= FILES_FROM and self.levels == 256

    @property
    def code(self) -> str:
        """The name of the code whose length is the complexity."""
        return "png or webp" if self.files else "adaptive"

    def code_length(self, x: Tensor) -> Tensor | None:
        """Bits of each example without any model, ``(N,)``; None for continuous data."""
        levels = self.levels
        if levels is None:
            return None
        length = file_length if self.files else lambda rows: adaptive_length(rows, levels)
        return torch.cat([length(rows) for rows in _pieces(x)])

    def of_model(self, x: Tensor, costs: Tensor, bits: Tensor | None) -> dict[str, Tensor]:
        r"""Scores from negative log-densities ``costs`` in nats, ``(N,)`` each.

        ``neg_log_prob``: :math:`-\log p(x)`.
        ``typicality``: :math:`|-\log p(x) / D - \hat H|`, two-sided (Nalisnick et al., 2019b; arXiv:1906.02994).
        ``complexity``: :math:`-\log_2 p(x) - L(x)` with code length ``bits`` (Serrà et al., 2020; arXiv:1909.11480).
        ``likelihood_ratio``: :math:`\log p_{bg}(x) - \log p(x)` (Ren et al., 2019; arXiv:1906.02845); the background
        is a categorical distribution at each position, by counting.
        """
        found = {"neg_log_prob": costs}
        if self.entropy is not None:
            found["typicality"] = (costs / self.space.dims - self.entropy).abs()
        if bits is not None:
            found["complexity"] = costs / math.log(2) - bits
        if self.background is not None:
            found["likelihood_ratio"] = costs + self._log_background(x, self.background)
        return found

    def baselines(self, x: Tensor, bits: Tensor | None) -> dict[str, Tensor]:
        """Scores that look at no model: the code length, and how far mean and variance are from those of training."""
        mean, variance = _moments(x)
        found = {} if bits is None else {"baseline_code_length": bits}
        found["baseline_pixel_mean"] = (mean - self.mean).abs()
        if self.space.dims > 1:
            found["baseline_pixel_variance"] = (variance - self.variance).abs()
        return found

    def _log_background(self, x: Tensor, background: Tensor) -> Tensor:
        places = torch.arange(self.space.dims)
        return torch.cat([background[places, rows.flatten(1).long()].sum(1) for rows in _pieces(x)])


def calibrate(data: Dataset, validation_costs: Tensor | None) -> Calibration:
    """Fix all parameters of all scores.

    Args:
        data: of which the training split is looked at.
        validation_costs: negative log-densities of the validation split in nats; None without a density.
    """
    train, dims = data.split("train"), data.space.dims
    mean, variance = _moments(train.x)
    entropy, band = None, math.nan
    if validation_costs is not None and bool(validation_costs.isfinite().all()):
        each = validation_costs.double() / dims
        entropy = float(each.mean())
        band = float((each - entropy).abs().quantile(BAND))
    support = data.space.support
    background = _counted(train, dims, support.levels) if isinstance(support, Discrete) else None
    return Calibration(data.space, entropy, band, background, float(mean.mean()), float(variance.mean()))


def _pieces(x: Tensor) -> Iterator[Tensor]:
    return (x[start : start + AT_ONCE] for start in range(0, len(x), AT_ONCE))


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the values of each example, ``(N,)`` each."""
    parts = [torch.var_mean(rows.double().flatten(1), 1, correction=0) for rows in _pieces(x)]
    variance, mean = (torch.cat(part) for part in zip(*parts, strict=True))
    return mean, variance


def _counted(train: Split, dims: int, levels: int) -> Tensor:
    counts, place = torch.zeros(dims * levels, dtype=torch.long), torch.arange(dims) * levels
    for rows in _pieces(train.x):
        counts += torch.bincount((rows.flatten(1).long() + place).flatten(), minlength=dims * levels)
    smooth = counts.view(dims, levels).double() + SMOOTHING
    return (smooth / smooth.sum(1, keepdim=True)).log()
