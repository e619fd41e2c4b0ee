"""Distances of samples to a reference, each beside what other examples of the data have at the same number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import final

import torch
from torch import Tensor

from torchstone.suites.features.extractor import Features
from torchstone.suites.metrics.frechet import (
    Extrapolation,
    extrapolate,
    fid,
    fid_error,
    frechet_distance,
    moments,
)
from torchstone.suites.metrics.kernel import SUBSET, equality_test, kernel_distance, kid, kid_in_blocks
from torchstone.suites.metrics.neighbours import Neighbourhoods, neighbourhoods
from torchstone.suites.sampling.references import Reference

__all__ = ["Distance", "Floor", "extrapolated", "floor_of", "frechet", "kernel", "nearby", "neighbour_errors"]

PAIRWISE = 2000  # examples a side, up to which all pairs fit into memory at once
SMALL, LARGE = 100, 5000  # the smallest subsets of an extrapolation, for few and for many features
FEW = 256  # features
FEWEST, HALVINGS = 40, 20  # examples, from which sets are halved, and how often
PRECISE = 5000  # examples, up to which neighbours are told apart in double precision


@final
@dataclass(frozen=True, slots=True)
class Floor:
    """What training examples have in place of samples: mean, spread and least of disjoint sets, and how many."""

    mean: float
    sd: float | None
    least: float
    sets: int

    def units(self, value: float) -> float:
        """How many times the floor a distance is; nothing where the floor is nothing."""
        return value / self.mean if self.mean else 0.0


@final
@dataclass(frozen=True, slots=True)
class Distance:
    """A distance with its error; ``corrected`` without the bias of few examples, ``p_value`` of its being zero."""

    value: float
    stderr: float | None
    n: int
    corrected: float | None = None
    p_value: float | None = None


def frechet(samples: Tensor, reference: Reference) -> Distance:
    """The Fréchet distance at equal numbers; of a reference of which only the moments are known, at all samples."""
    if reference.features is None:
        return Distance(frechet_distance(moments(samples), reference.moments), None, len(samples))
    n = min(len(samples), len(reference.features))
    a, b = samples[:n], reference.features.values[:n]
    error = fid_error(a, b)
    return Distance(fid(a, b), error.stderr, n, corrected=error.corrected)


def kernel(samples: Tensor, reference: Features, rng: torch.Generator) -> Distance:
    """The kernel distance at equal numbers: of all pairs, with a test of equality; in subsets where they are many."""
    n = min(len(samples), len(reference))
    a, b = samples[:n], reference.values[:n]
    if n <= PAIRWISE:
        found = kernel_distance(a, b)
        return Distance(found.value, found.stderr, n, p_value=equality_test(a, b, rng))
    seed = int(torch.randint(2**31, (), generator=rng))
    return Distance(kid(a, b, subset=SUBSET, seed=seed), kid_in_blocks(a, b).stderr, n)


def nearby(samples: Tensor, reference: Features) -> Neighbourhoods:
    """Neighbourhoods at equal numbers."""
    n = min(len(samples), len(reference))
    real, drawn = reference.values[:n], samples[:n]
    return neighbourhoods(*((real.double(), drawn.double()) if n <= PRECISE else (real, drawn)))


def neighbour_errors(samples: Tensor, reference: Features, rng: torch.Generator) -> tuple[float, ...] | None:
    """Standard errors of the four means of `nearby`, from halves of both sides; None where they are few or many.

    Two halves are independent: half of the square of their difference is the variance of a half, and half of that the
    variance of the whole, averaged over twenty ways to halve. A binomial error is too small, since the examples of one
    side share the balls of the other, and a jackknife too large, since neighbourhoods are not smooth.

    Source: Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", 1982, for half-samples.
    """
    n = min(len(samples), len(reference))
    if not FEWEST <= n <= PAIRWISE:
        return None
    real, drawn, half = reference.values[:n].double(), samples[:n].double(), n // 2
    squares = []
    for _ in range(HALVINGS):
        rows, columns = (torch.randperm(n, generator=rng) for _ in range(2))
        first = neighbourhoods(real[rows[:half]], drawn[columns[:half]])
        second = neighbourhoods(real[rows[half:]], drawn[columns[half:]])
        gaps = [a.double().mean() - b.double().mean() for a, b in zip(first, second, strict=True)]
        squares.append(torch.stack(gaps).square())
    return tuple((torch.stack(squares).mean(0) / 4).sqrt().tolist())


def extrapolated(samples: Tensor, reference: Tensor, rng: torch.Generator) -> Extrapolation | None:
    """The Fréchet distance at infinitely many samples; None where there are too few for a line.

    Subsets have at least five examples for each feature, and with many features at least five thousand.
    """
    dims = samples.shape[1]
    smallest = LARGE if dims > FEW else max(SMALL, 5 * dims)
    return extrapolate(samples, reference, smallest, rng) if len(samples) >= 2 * smallest else None


def floor_of(found: Iterable[float]) -> Floor | None:
    """Of what was found of disjoint sets of training examples; None without a set."""
    values = list(found)
    if not values:
        return None
    return Floor(fmean(values), stdev(values) if len(values) > 1 else None, min(values), len(values))
