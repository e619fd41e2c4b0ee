"""Errors of what is no mean, by leaving out a block of examples at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, final

from torch import Tensor

__all__ = ["BLOCKS", "Jackknife", "block_starts", "jackknife"]

BLOCKS = 20


@final
class Jackknife(NamedTuple):
    """A standard error, and a value with the bias of order 1/N removed."""

    stderr: float
    corrected: float


def jackknife(whole: float, without: Sequence[Tensor]) -> Jackknife:
    """From a statistic of all examples, and of all but one block, for each block of each independent sample.

    ``(B - 1) / B sum (t_b - mean t)^2`` is the variance that one sample brings, and ``(B - 1)(mean t - t)`` its bias.

    Source: Miller, "The jackknife: a review", 1974; over the blocks of two samples, Arvesen, "Jackknifing
    U-statistics", 1969.

    Args:
        whole: the statistic of all.
        without: of each sample, ``(B,)`` values without block 1 to B.

    Raises:
        ValueError: where a sample has fewer than two blocks.
    """
    if any(len(values) < 2 for values in without):
        raise ValueError("A jackknife needs at least two blocks of every sample.")
    variance, bias = 0.0, 0.0
    for values in without:
        values, blocks = values.double(), len(values)
        variance += float((values - values.mean()).square().sum()) * (blocks - 1) / blocks
        bias += (blocks - 1) * (float(values.mean()) - whole)
    return Jackknife(math.sqrt(variance), whole - bias)


def block_starts(n: int, blocks: int) -> Iterator[tuple[int, int]]:
    """Beginning and end of ``blocks`` blocks of ``n`` examples, as even as can be; fewer where there are too few."""
    blocks = min(blocks, n)
    for block in range(blocks):
        yield block * n // blocks, (block + 1) * n // blocks
