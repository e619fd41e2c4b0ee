"""Units. Nats inside, bits at display."""

from __future__ import annotations

import math

__all__ = ["bits_per_dim", "nats_to_bits"]


def nats_to_bits(nats: float) -> float:
    """``nats / ln 2``.

    >>> round(nats_to_bits(math.log(256)), 12)
    8.0
    """
    return nats / math.log(2.0)


def bits_per_dim(nats: float, dims: int) -> float:
    """Nats per example as bits per dimension, ``nats / (D ln 2)``.

    .. note::
        A dimension is one scalar as stored. For RGB images that is a sub-pixel: the 3,072 of a 32×32 image, not
        its 1,024 pixels; "bits per pixel" is three times as much.

    Args:
        nats: the negative log-likelihood of one example, or a mean of such.
        dims: the number of dimensions D of one example.

    Raises:
        ValueError: where ``dims`` is not positive.

    >>> round(bits_per_dim(3072 * math.log(256), 3072), 12)
    8.0
    """
    if dims < 1:
        raise ValueError(f"dims must be at least 1, got {dims}.")
    return nats_to_bits(nats) / dims
