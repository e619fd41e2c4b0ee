"""How many directions features fill."""

from __future__ import annotations

import math
from typing import NamedTuple, final

import torch
from torch import Tensor

__all__ = ["Spectrum", "spectrum"]

ROUNDING = 1e-7  # of the largest, in single precision: singular values below it are none


@final
class Spectrum(NamedTuple):
    """The shape of a cloud of features.

    Attributes:
        effective_rank: the exponential of the entropy of the normalised singular values; 0 where nothing varies.
        dead: the share of the features that do not vary.
        condition_number: the largest singular value over the smallest that is no rounding; NaN where nothing varies.
    """

    effective_rank: float
    dead: float
    condition_number: float


def spectrum(features: Tensor) -> Spectrum:
    """The singular values of centred features, ``(N, D)``, summed up.

    Source: The Effective Rank: a Measure of Effective Dimensionality (Roy and Vetterli, 2007).

    Raises:
        ValueError: where there are no features or a number is not finite.

    >>> spectrum(torch.tensor([[1.0, 0.0, 5.0], [-1.0, 0.0, 5.0], [0.0, 1.0, 5.0], [0.0, -1.0, 5.0]]))
    Spectrum(effective_rank=2.0, dead=0.3333333333333333, condition_number=1.0)
    """
    if features.ndim != 2 or features.numel() == 0:
        raise ValueError(f"Expected features of shape (N, D), got {tuple(features.shape)}.")
    if not bool(features.isfinite().all()):
        raise ValueError("A feature is NaN or infinite.")
    values = features.double()
    centred = values - values.mean(0)
    still = centred.abs().amax(0) <= ROUNDING * values.abs().amax(0)
    sizes: Tensor = torch.linalg.svdvals(centred.masked_fill(still, 0.0))
    kept = sizes[sizes > ROUNDING * sizes[0]]
    dead = float(still.double().mean())
    if len(kept) == 0:
        return Spectrum(0.0, dead, math.nan)
    share = kept / kept.sum()
    rank = float((-torch.special.xlogy(share, share)).sum().exp())
    return Spectrum(round(rank, 12), dead, float(kept[0] / kept[-1]))
