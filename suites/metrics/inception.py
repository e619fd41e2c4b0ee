"""The inception score: how sure a classifier is of each sample, and how unsure of all of them."""

from __future__ import annotations

import math
from typing import NamedTuple, final

import torch
from torch import Tensor

from torchstone.suites.metrics.jackknife import BLOCKS, block_starts, jackknife

__all__ = ["InceptionScore", "inception_score"]

SPLITS = 10  # the convention of the field, for ten thousand samples or more
ENOUGH = 10_000


@final
class InceptionScore(NamedTuple):
    """The score, its standard error, and over how many splits it was averaged."""

    value: float
    stderr: float | None
    splits: int


def inception_score(logits: Tensor) -> InceptionScore:
    r"""The exponential of the mean divergence of ``p(y|x)`` from its own mean, as torch-fidelity computes it.

    .. math:: \exp E_x KL(p(y \mid x)\,\Vert\,E_x\,p(y \mid x))

    From 1 to the number of classes. It looks at no reference: a sampler of one perfect image per class has the best.
    It is averaged over ten splits from ten thousand samples on, and taken over all where there are fewer. The error of
    an average of independent splits is their spread over the root of their number; of one split, a jackknife over
    twenty blocks.

    Source: Salimans et al., "Improved Techniques for Training GANs", 2016, arXiv:1606.03498; Barratt and Sharma,
    "A Note on the Inception Score", 2018, arXiv:1801.01973, on what it does not say.

    Args:
        logits: ``(N, C)`` of the classifier.

    Raises:
        ValueError: where there are no samples.
    """
    if logits.ndim != 2 or not len(logits):
        raise ValueError(f"Expected logits of at least one sample, shape (N, C), got {tuple(logits.shape)}.")
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

    splits = SPLITS if len(logits) >= ENOUGH else 1
    found = isc_features_to_metric(logits, splits, shuffle=False)
    value = float(found[KEY_METRIC_ISC_MEAN])
    if splits > 1:
        return InceptionScore(value, float(found[KEY_METRIC_ISC_STD]) / math.sqrt(splits - 1), splits)
    return InceptionScore(value, _error(logits, value) if len(logits) > 1 else None, splits)


def _error(logits: Tensor, value: float) -> float:
    """Of the score over all, by leaving out one block after the other."""
    log_p = logits.double().log_softmax(1)
    p = log_p.exp()
    negative_entropy = torch.where(p > 0, p * log_p, 0.0).sum(1)
    total_p, total = p.sum(0), negative_entropy.sum()
    without = []
    for start, stop in block_starts(len(p), BLOCKS):
        left = len(p) - (stop - start)
        mean = (total_p - p[start:stop].sum(0)).clamp_min(0) / left
        without.append((total - negative_entropy[start:stop].sum()) / left - torch.special.xlogy(mean, mean).sum())
    return jackknife(value, [torch.stack(without).exp()]).stderr
