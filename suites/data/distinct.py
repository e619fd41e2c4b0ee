"""Which examples of a split are distinct, with memory for a few numbers an example."""

from __future__ import annotations

import torch
from torch import Tensor

from torchstone.models.model import Split
from torchstone.models.randomness import generator

__all__ = ["first_of_each"]


def first_of_each(split: Split, batch: int = 4096) -> Tensor:
    """The position of one example of each content, by 64-bit hashes, for discrete data.

    Different contents share a hash with a probability of about 2^-64 a pair; an example is then missed, never doubled.
    """
    dims = split.x[0].numel()
    weights = torch.randint(-(2**62), 2**62, (dims,), generator=generator(0, "hash")) * 2 + 1
    hashes = torch.empty(len(split), dtype=torch.int64)
    for start in range(0, len(split), batch):
        x, _ = split.batch(start, start + batch)
        hashes[start : start + batch] = ((x.flatten(1) + 1) * weights).sum(1)  # wraps, modulo 2^64
    order = hashes.argsort(stable=True)
    ranked = hashes[order]
    return order[torch.cat([torch.ones(1, dtype=torch.bool), ranked[1:] != ranked[:-1]])]
