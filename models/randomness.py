"""Randomness that comes from a generator and from nowhere else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.distributions import Distribution

__all__ = ["draw", "generator", "seeded"]


def generator(seed: int, purpose: str, block: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that depends on ``(seed, purpose, block)`` alone.

    >>> first, second = (torch.rand((), generator=generator(0, "noise", block=3)) for _ in range(2))
    >>> bool(first == second)
    True
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{block}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@contextmanager
def seeded(rng: torch.Generator) -> Iterator[None]:
    """Let the global generators of the CPU and of ``rng``'s device follow ``rng`` within the block, and restore them.

    For code that cannot take a generator: ``torch.distributions``, layer initialisation, dropout.
    """
    seed = int(torch.randint(2**63 - 1, (), generator=rng, device=rng.device))
    cuda = [rng.device] if rng.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        for device in cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def draw(distribution: Distribution, rng: torch.Generator, sample_shape: tuple[int, ...] = ()) -> Tensor:
    """Samples of shape ``(*sample_shape, *batch, *event)``, without gradient.

    Distributions draw from the global generator, which is seeded by ``rng`` for the draw and restored after it.
    ``rng`` lives on the device of the distribution.
    """
    with seeded(rng):
        return distribution.sample(torch.Size(sample_shape))
