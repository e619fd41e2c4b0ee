"""How many bits an example takes by itself, without a model of others: the complexity of an input."""

from __future__ import annotations

import io
import math

import torch
from torch import Tensor

__all__ = ["adaptive_code_length", "file_length"]


def adaptive_code_length(x: Tensor, levels: int) -> Tensor:
    r"""Bits of an adaptive code of each example: the shorter of two, and one more that says which.

    Values are coded one after the other by the counts of those before, smoothed by one half,

    .. math:: -\log_2 \prod_t \frac{n_t(x_t) + 1/2}{t + L/2},

    over all values, or for each value of the neighbour before it apart. The order of values does not matter to the
    first, and a closed form of the counts has both. No header, no table: the code is complete, and ``2^-L`` adds up to one
    at most over all examples.

    Source: Krichevsky and Trofimov, "The performance of universal encoding", 1981; Serrà et al., "Input complexity
    and out-of-distribution detection with likelihood-based generative models", 2020, arXiv:1909.11480, for its use.

    Args:
        x: integers ``(N, *event)`` from 0 to ``levels - 1``; the neighbour is the one before along the last axis.
        levels: how many values there are.

    Returns:
        ``(N,)`` bits, float64.
    """
    rows = x.flatten(1).long()
    alone = _bits(_counts(rows, levels))
    lines = x.long().reshape(len(x), -1, x.shape[-1])
    before = torch.nn.functional.pad(lines[..., :-1], (1, 0), value=levels)  # the first of a line has a context of its own
    if (levels + 1) * levels > 2**16:
        return alone + 1
    pairs = (before * levels + lines).flatten(1)
    beside = _bits(_counts(pairs, (levels + 1) * levels).view(len(x), levels + 1, levels)).sum(1)
    return torch.minimum(alone, beside) + 1


def file_length(x: Tensor) -> Tensor:
    """Bits of the smaller of a PNG and a lossless WebP file, less those of an image of one colour, ``(N,)``.

    Args:
        x: bytes ``(N, H, W)`` or ``(N, 3, H, W)``.
    """
    import numpy as np
    from PIL import Image

    def smallest(image: np.ndarray) -> int:
        sizes = []
        for form, how in (("PNG", {"optimize": True}), ("WEBP", {"lossless": True, "quality": 100})):
            sink = io.BytesIO()
            Image.fromarray(image).save(sink, form, **how)
            sizes.append(len(sink.getvalue()))
        return 8 * min(sizes)

    images = x.to(torch.uint8).cpu()
    images = images.permute(0, 2, 3, 1) if images.ndim == 4 else images
    header = smallest(np.zeros(images.shape[1:], dtype=np.uint8))
    return torch.tensor([max(0, smallest(image.numpy()) - header) for image in images], dtype=torch.float64)


def _counts(rows: Tensor, kinds: int) -> Tensor:
    """How often each value comes in each row, ``(N, kinds)``."""
    return torch.zeros(len(rows), kinds, dtype=torch.float64).scatter_add_(1, rows, torch.ones_like(rows).double())


def _bits(counts: Tensor) -> Tensor:
    """Of values with these counts along the last dimension."""
    levels, total = counts.shape[-1], counts.sum(-1)
    nats = torch.lgamma(total + levels / 2) - math.lgamma(levels / 2)
    nats -= (torch.lgamma(counts + 0.5) - math.lgamma(0.5)).sum(-1)
    return nats / math.log(2)
