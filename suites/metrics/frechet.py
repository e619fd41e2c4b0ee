"""The Fréchet distance between two sets of features: its value, its error, its bias."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from torchstone.suites.metrics.jackknife import BLOCKS, Jackknife, block_starts, jackknife

__all__ = ["Extrapolation", "Moments", "extrapolate", "fid", "fid_error", "frechet_distance", "moments"]

F64 = torch.float64
POINTS = 15  # sizes of the regression on 1/N
FEW = 256  # features, up to which a line is drawn twenty times more for its error


@final
class Moments(NamedTuple):
    """Mean ``(D,)`` and covariance ``(D, D)`` (over N - 1) of features, in float64."""

    mean: Tensor
    covariance: Tensor


def moments(features: Tensor) -> Moments:
    """Mean and covariance of features ``(N, D)``, summed in float64 whatever their type.

    Raises:
        ValueError: where there are fewer than two examples, or a feature is not finite.
    """
    values = _checked(features)
    centred = values - values.mean(0)
    return Moments(values.mean(0), centred.T @ centred / (len(values) - 1))


def frechet_distance(a: Moments, b: Moments) -> float:
    r"""The squared Fréchet distance of two Gaussians with these moments.

    .. math:: \lVert \mu_a - \mu_b \rVert^2 + \mathrm{tr}(S_a + S_b) - 2\,\mathrm{tr}\,(S_a^{1/2} S_b S_a^{1/2})^{1/2}

    The root is taken of a symmetric matrix, whose eigenvalues are real; those of the product ``S_a S_b``, which other
    code takes, are the same in theory and complex in practice. Singular covariances are allowed.

    Source: Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982.

    >>> a, b = Moments(torch.zeros(2), torch.diag(torch.tensor([1.0, 4.0]))), Moments(torch.ones(2), torch.eye(2))
    >>> round(frechet_distance(a, b), 6)
    3.0
    """
    return _distance(a, _root(a.covariance), b)


def fid(a: Tensor, b: Tensor) -> float:
    """The same of two sets of features, ``(N, D)`` and ``(M, D)``, as torch-fidelity computes it.

    torch-fidelity takes means of single-precision features in single precision; here they are taken in double.

    Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", 2017,
    arXiv:1706.08500, for Inception features.

    Raises:
        ValueError: where there are fewer than two examples, or a feature is not finite.
    """
    if a.ndim != 2 or a.shape[1] == 1:  # torch-fidelity has no covariance of one number
        return frechet_distance(moments(a), moments(b))
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    sides = []
    for features in (a, b):
        mean = np.mean(features.numpy(), axis=0, dtype=np.float64)
        if len(features) < 2 or not np.isfinite(mean).all():
            _checked(features)  # raises
        sides.append({**fid_features_to_statistics(features), "mu": mean})
    return float(fid_statistics_to_metric(*sides, verbose=False)[KEY_METRIC_FID])


def fid_error(a: Tensor, b: Tensor, blocks: int = BLOCKS) -> Jackknife:
    """Standard error of `fid`, and the value with the bias of both sets removed, by leaving out blocks of either.

    The distance of finite samples is too large, by about ``c / N``; resampling with replacement adds as much again, so
    that its percentiles miss the truth always. Leaving out one block of twenty, on either side, does not.

    Raises:
        ValueError: where there are fewer than two examples, or a feature is not finite.
    """
    a, b = _checked(a), _checked(b)
    whole_a, whole_b = moments(a), moments(b)
    root_a, root_b = _root(whole_a.covariance), _root(whole_b.covariance)
    return jackknife(
        _distance(whole_a, root_a, whole_b),
        [
            torch.tensor([_distance(whole_b, root_b, part) for part in _without_blocks(a, blocks)], dtype=F64),
            torch.tensor([_distance(whole_a, root_a, part) for part in _without_blocks(b, blocks)], dtype=F64),
        ],
    )


@final
class Extrapolation(NamedTuple):
    """Distances at several sizes, and the line through them in ``1 / N``.

    ``value`` is where the line meets infinitely many samples; the reference keeps its own bias. ``stderr`` is its
    error, by leaving out one block of twenty after the other of both; None with more than 256 features.
    """

    value: float
    stderr: float | None
    slope: float
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


def extrapolate(samples: Tensor, reference: Tensor, smallest: int, rng: torch.Generator) -> Extrapolation:
    """The Fréchet distance of ever larger subsets of ``samples`` to ``reference``, taken to infinitely many.

    Fifteen sizes from ``smallest`` to all, evenly spaced in ``1 / N``; of each as many disjoint subsets as there are,
    averaged.

    Source: Chong and Forsyth, "Effectively Unbiased FID and Inception Score", 2020, arXiv:1911.07023.

    Args:
        samples: features ``(N, D)``.
        reference: features ``(M, D)``.
        smallest: the smallest size, at least 2 and less than N.
        rng: shuffles the samples, on the CPU.

    Raises:
        ValueError: where ``smallest`` is no such size.
    """
    samples, n = _checked(samples), len(samples)
    if not 2 <= smallest < n - n // BLOCKS:
        raise ValueError(f"The smallest subset must have from 2 to {n - n // BLOCKS - 1} samples, got {smallest}.")
    shuffled = samples[torch.randperm(n, generator=rng)]
    whole = moments(_checked(reference))

    every, root = _subsets(shuffled, smallest), _root(whole.covariance)
    value, slope, distances = _line(every, whole, root)
    sizes = tuple(every)
    if samples.shape[1] > FEW:
        return Extrapolation(value, None, slope, sizes, distances)
    rests = (torch.cat([shuffled[:start], shuffled[stop:]]) for start, stop in block_starts(n, BLOCKS))
    without = _without_blocks(_checked(reference), BLOCKS)
    sides = [
        torch.tensor([_line(_subsets(rest, smallest), whole, root)[0] for rest in rests], dtype=F64),
        torch.tensor([_line(every, part, _root(part.covariance))[0] for part in without], dtype=F64),
    ]
    return Extrapolation(value, jackknife(value, sides).stderr, slope, sizes, distances)


def _subsets(features: Tensor, smallest: int) -> dict[int, list[Moments]]:
    """Moments of disjoint sets of rows, by their size: from ``smallest`` to all, evenly spaced in ``1 / N``."""
    sizes = sorted({round(1 / x) for x in np.linspace(1 / smallest, 1 / len(features), POINTS)})
    return {size: [moments(part) for part in _parts(features, size)] for size in sizes}


def _line(subsets: dict[int, list[Moments]], ends: Moments, root: Tensor) -> tuple[float, float, tuple[float, ...]]:
    """The line through mean distances to ``ends`` in ``1 / N``: where it begins, its slope, and the distances."""
    found = tuple(float(np.mean([_distance(ends, root, part) for part in parts])) for parts in subsets.values())
    slope, value = np.polyfit([1 / size for size in subsets], found, 1)
    return float(value), float(slope), found


def _parts(features: Tensor, size: int) -> Iterator[Tensor]:
    """Disjoint sets of ``size`` rows, as many as there are."""
    return (features[start : start + size] for start in range(0, len(features) - size + 1, size))


def _distance(a: Moments, root_a: Tensor, b: Moments) -> float:
    inner = root_a @ b.covariance @ root_a
    roots = torch.linalg.eigvalsh((inner + inner.T) / 2).clamp_min(0).sqrt()
    gap = (a.mean - b.mean).square().sum()
    found = float(gap + a.covariance.trace() + b.covariance.trace() - 2 * roots.sum())
    if not math.isfinite(found):
        raise ValueError(
            "The distance of these moments is not finite: look for numbers that are not, or are too large."
        )
    return max(0.0, found)


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root


def _without_blocks(features: Tensor, blocks: int) -> Iterator[Moments]:
    """Moments of all but one block, for each block, from sums over blocks about the common mean."""
    centre, n = features.mean(0), len(features)
    centred = features - centre
    total, squares = centred.sum(0), centred.T @ centred
    for start, stop in block_starts(n, blocks):
        block, left = centred[start:stop], n - (stop - start)
        mean = (total - block.sum(0)) / left
        rest = squares - block.T @ block - left * torch.outer(mean, mean)
        yield Moments(mean + centre, rest / max(1, left - 1))


def _checked(features: Tensor) -> Tensor:
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"Expected features of at least two examples, shape (N, D), got {tuple(features.shape)}.")
    if not bool(features.isfinite().all()):
        raise ValueError("Features must be finite: look at the images that they were taken of.")
    return features.double()
