"""Copies: samples that are training examples, or nearer to them than other examples are, or each other."""

from __future__ import annotations

import math
from typing import NamedTuple, final

import torch
from torch import Tensor

from torchstone.models.randomness import generator
from torchstone.suites.metrics.counts import excess_p_value

__all__ = [
    "Closeness",
    "NearCopies",
    "closeness",
    "near_copies",
    "pairs_of_twins",
    "row_hashes",
    "support_size",
    "twins",
]

PIECE = 4096  # examples that are widened at once


def row_hashes(x: Tensor) -> Tensor:
    """A 64-bit hash of each example, ``(N,)``; two others share one with a probability of about 2^-64."""
    flat = x.flatten(1)
    weights = torch.randint(-(2**62), 2**62, (flat.shape[1],), generator=generator(0, "hash")) * 2 + 1
    pieces = (flat[start : start + PIECE] for start in range(0, len(flat), PIECE))
    bits = ((p.double() + 0.0).view(torch.int64) if p.is_floating_point() else p.long() for p in pieces)
    return torch.cat([torch.empty(0, dtype=torch.int64), *(((b + 1) * weights).sum(1) for b in bits)])  # modulo 2^64


def twins(hashes: Tensor) -> int:
    """How many share their hash with another."""
    counts = torch.unique(hashes, return_counts=True)[1]
    return int(counts[counts > 1].sum())


def pairs_of_twins(hashes: Tensor) -> int:
    """How many pairs share a hash: three of a kind are three pairs."""
    counts = torch.unique(hashes, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def support_size(n: int, pairs: int) -> float:
    """How many equally likely samples there are, where ``n`` draws hold ``pairs`` equal pairs: ``n (n - 1) / 2 pairs``.

    A sampler that prefers some has more; infinite where no two are equal.

    Source: Arora, Risteski and Zhang, "Do GANs learn the distribution?", 2018, after the birthday paradox.

    >>> round(support_size(2000, 40))
    49975
    """
    return n * (n - 1) / (2 * pairs) if pairs else math.inf


@final
class Closeness(NamedTuple):
    """How often a sample is nearer to the training data than a test example is: one half for new samples.

    ``stderr`` is that of the null, where the two laws are one; ``p_value`` is one-sided, against samples too near.
    """

    value: float
    stderr: float
    p_value: float


def closeness(samples: Tensor, examples: Tensor) -> Closeness:
    """The Mann-Whitney statistic of distances to the nearest training example, as a probability; ties count half.

    Source: the core of the test of Meehan, Chaudhuri and Dasgupta, "A Non-Parametric Test to Detect Data-Copying in
    Generative Models", 2020, arXiv:2004.05675.

    Args:
        samples: of samples, ``(M,)``.
        examples: of test examples, ``(N,)``.
    """
    from scipy.stats import mannwhitneyu

    m, n = len(samples), len(examples)
    found = mannwhitneyu(samples.double().numpy(), examples.double().numpy(), alternative="less")
    return Closeness(1 - float(found.statistic) / (m * n), math.sqrt((m + n + 1) / (12 * m * n)), float(found.pvalue))


@final
class NearCopies(NamedTuple):
    """Shares of samples and of test examples that are among the nearest to the training data, and an exact p-value."""

    share: float
    expected: float
    p_value: float


def near_copies(samples: Tensor, examples: Tensor, quantile: float) -> NearCopies:
    """How many samples are nearer to the training data than the ``quantile`` of all these distances.

    The quantile is one of samples and test examples together, which are exchangeable where samples are new: given the
    distances, which of them are samples' is then a matter of chance, and the p-value (of Fisher's test, one-sided)
    exact. One of the test examples' own would be an estimate, and the test wrong in up to seven of ten cases.

    Args:
        samples: distances of samples to the nearest training example, ``(M,)``.
        examples: those of test examples, ``(N,)``.
        quantile: above 0 and below 1.
    """
    pooled = torch.cat([samples, examples]).double().sort().values
    limit = pooled[max(0, math.ceil(quantile * len(pooled)) - 1)]
    hits, expected = int((samples.double() <= limit).sum()), int((examples.double() <= limit).sum())
    p = excess_p_value(hits, len(samples), expected, len(examples))
    return NearCopies(hits / len(samples), expected / len(examples), p)
