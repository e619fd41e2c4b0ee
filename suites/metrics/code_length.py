"""How many bits an example takes without any model: adaptive codes for small ones, image files for large ones."""

from __future__ import annotations

import io
import math

import torch
from torch import Tensor

__all__ = ["CODES", "adaptive_length", "file_length", "kt_length"]

CODES = ("values", "values given the left", "differences to the left")
"""The codes that `adaptive_length` chooses among."""


def kt_length(symbols: Tensor, contexts: Tensor, levels: int) -> Tensor:
    r"""Bits of an adaptive code with the estimator of Krichevsky and Trofimov in every context, ``(N,)``.

    .. math:: P(s_i \mid s_{<i}) = \frac{n_{c_i}(s_i) + 1/2}{n_{c_i} + L/2}

    The counts are those of the symbols before, in the same context. Nothing is learned from other examples.

    Args:
        symbols: ``(N, D)`` integers from 0 to ``levels - 1``.
        contexts: ``(N, D)`` integers that are not negative, each known before its symbol.
        levels: L.

    Raises:
        ValueError: where shapes differ, or a symbol is none of the levels.

    Source: The performance of universal encoding (Krichevsky and Trofimov, 1981).
    """
    if symbols.ndim != 2 or symbols.shape != contexts.shape:
        raise ValueError(
            f"symbols and contexts must both be (N, D), got {tuple(symbols.shape)} and {tuple(contexts.shape)}."
        )
    if symbols.numel() and not (0 <= int(symbols.min()) and int(symbols.max()) < levels):
        raise ValueError(f"symbols must be integers from 0 to {levels - 1}, got {symbols.min()} to {symbols.max()}.")
    symbols, contexts = symbols.long(), contexts.long()
    seen, there = _seen(contexts * levels + symbols), _seen(contexts)
    return ((there + levels / 2).log2() - (seen + 0.5).log2()).sum(1)


def _seen(keys: Tensor) -> Tensor:
    """How many equal keys of its row each key has before it, in the order of the sorted row, ``(N, D)`` float64."""
    ordered = keys.sort(1).values
    place = torch.arange(keys.shape[1], device=keys.device).expand_as(ordered)
    fresh = torch.ones_like(ordered, dtype=torch.bool)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return (place - torch.where(fresh, place, 0).cummax(1).values).double()


def adaptive_length(x: Tensor, levels: int) -> Tensor:
    """The shortest of three adaptive codes, and the ``log2 3`` bits that say which, ``(N,)`` bits.

    They code the values in raster order; the values, in the context of that to the left; and the differences to the
    left, modulo the levels. Left of the first value of a row stands none, which is a context of its own and counts as
    zero. Probabilities ``2^-L`` of all possible examples add to one at most.

    Args:
        x: ``(N, *event)`` integers; a row is the last dimension.
        levels: how many there are.
    """
    values = x.long()
    left = torch.full_like(values, -1)
    left[..., 1:] = values[..., :-1]
    differences = (values - left.clamp_min(0)) % levels
    flat, before = values.flatten(1), left.flatten(1) + 1
    lengths = (
        kt_length(flat, torch.zeros_like(flat), levels),
        kt_length(flat, before, levels),
        kt_length(differences.flatten(1), torch.zeros_like(flat), levels),
    )
    return torch.stack(lengths).amin(0) + math.log2(len(lengths))


def file_length(x: Tensor) -> Tensor:
    """Bits of each image in the smaller of PNG and lossless WebP, less those of a constant image, ``(N,)``.

    The smallest possible is zero: that of a constant image is what both formats spend on every one.

    Args:
        x: ``(N, 3, H, W)`` integers from 0 to 255.

    Source: Input complexity and out-of-distribution detection with likelihood-based generative models (Serrà et al.,
    2020; arXiv:1909.11480), which takes the smallest of several compressors.
    """
    if x.ndim != 4 or x.shape[1] != 3:
        raise ValueError(f"x must be images of shape (N, 3, H, W), got {tuple(x.shape)}.")
    pixels = x.detach().cpu().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    blank = torch.zeros(pixels.shape[1:], dtype=torch.uint8).numpy()
    lengths = []
    for name in ("PNG", "WEBP"):  # a file is one image: there is nothing to do at once
        empty = _bytes(blank, name)
        lengths.append(torch.tensor([8.0 * max(0, _bytes(image, name) - empty) for image in pixels]))
    return torch.stack(lengths).amin(0).double()


def _bytes(image: object, name: str) -> int:
    from PIL import Image

    sink = io.BytesIO()
    Image.fromarray(image).save(sink, name, **({"optimize": True} if name == "PNG" else {"lossless": True}))  # type: ignore[arg-type]
    return sink.tell()
