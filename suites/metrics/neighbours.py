"""Precision, recall, density and coverage: two sets of features, each within the balls of the other."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor

__all__ = ["Neighbourhoods", "expected_coverage", "nearest", "neighbourhoods"]

BLOCK = 2048  # rows and columns of distances that are held at once
SLACK = 1e-9  # of the squared norms: what rounding in double precision may part two equal distances by


@final
class Neighbourhoods(NamedTuple):
    """What each example is found to be; means over them are the metrics.

    Attributes:
        precision: ``(M,)`` whether a sample lies in the ball of any real example.
        recall: ``(N,)`` whether a real example lies in the ball of any sample.
        density: ``(M,)`` in how many balls of real examples a sample lies, over k.
        coverage: ``(N,)`` whether the ball of a real example holds any sample.
    """

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


def neighbourhoods(real: Tensor, samples: Tensor, *, k: int = 3, k_density: int = 5) -> Neighbourhoods:
    """Which samples lie near real examples, and which real examples near samples, from one pass over all distances.

    A ball reaches to the k-th nearest neighbour of its own set, itself not counted, and holds its border: on the tie of
    two equal distances this agrees with torch-fidelity, and the code that goes with density and coverage, which leaves
    the border out, does not. Distances within a set are computed once for both of a pair, and a block at a time, so
    that memory grows with N + M and not with their product. In float64 equal distances are found equal whatever the
    rounding; in float32 as far as it lets them be.

    Sources: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", 2019,
    arXiv:1904.06991, for the first two; Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models",
    2020, arXiv:2002.09797, for the others.

    Args:
        real: features ``(N, D)``.
        samples: features ``(M, D)``, of the same type.
        k: neighbours of precision and recall.
        k_density: neighbours of density and coverage.

    Raises:
        ValueError: where a set has no k-th neighbour, or the shapes do not go together.
    """
    most = max(k, k_density)
    if real.ndim != 2 or samples.ndim != 2 or real.shape[1:] != samples.shape[1:] or real.dtype != samples.dtype:
        raise ValueError(f"Expected features (N, D) and (M, D), got {tuple(real.shape)} and {tuple(samples.shape)}.")
    if len(real) <= most or len(samples) <= k:
        raise ValueError(
            f"{len(real)} real examples and {len(samples)} samples are too few for the {most}-th nearest neighbour: "
            f"give at least {most + 1} of each."
        )
    centre = real.mean(0)
    ours, drawn = _Rows.of(real - centre), _Rows.of(samples - centre)
    own, theirs = _radii(ours, (k, k_density)), _radii(drawn, (k,))
    precision, density = torch.zeros(len(samples), dtype=torch.bool), torch.zeros(len(samples))
    recall, coverage = (torch.zeros(len(real), dtype=torch.bool) for _ in range(2))
    for i, rows in drawn.blocks():
        for j, columns in ours.blocks():
            squares = rows.squares(columns)
            precision[i] |= (squares <= own[0, j]).any(1).cpu()
            recall[j] |= (squares <= theirs[0, i, None]).any(0).cpu()
            inside = squares <= own[1, j]
            density[i] += inside.sum(1).cpu()
            coverage[j] |= inside.any(0).cpu()
    return Neighbourhoods(precision, recall, density / k_density, coverage)


def nearest(rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to the nearest of ``others`` for each of ``rows``, and which it is, ``(N,)`` each, a block at a time.

    Args:
        rows: features ``(N, D)``.
        others: features ``(M, D)``, of the same type.
    """
    centre = others.mean(0)
    found, which = torch.full((len(rows),), torch.inf, dtype=rows.dtype), torch.zeros(len(rows), dtype=torch.long)
    left, right = _Rows.of(rows - centre), _Rows.of(others - centre)
    for i, block in left.blocks():
        for j, columns in right.blocks():
            closest = block.squares(columns).min(1)
            better = closest.values.cpu() < found[i]
            found[i] = torch.where(better, closest.values.cpu(), found[i])
            which[i] = torch.where(better, closest.indices.cpu() + j.start, which[i])
    exact = (rows.cpu() - others.cpu()[which]).square().sum(1)  # of one pair each, without cancellation
    return exact.sqrt(), which


def expected_coverage(n: int, m: int, k: int) -> float:
    r"""The mean coverage of N real examples by M samples of the very same law, whatever the law.

    .. math:: 1 - \prod_{i=1}^{k} (N - i) / (N + M - i)

    >>> round(expected_coverage(10_000, 10_000, 5), 9)
    0.968773435
    """
    nothing = 1.0
    for i in range(1, k + 1):
        nothing *= (n - i) / (n + m - i)
    return 1 - nothing


@final
class _Rows(NamedTuple):
    """Features and their squared norms."""

    x: Tensor
    norms: Tensor

    @classmethod
    def of(cls, x: Tensor) -> _Rows:
        return cls(x, x.square().sum(1))

    def blocks(self) -> list[tuple[slice, _Rows]]:
        places = [slice(start, min(start + BLOCK, len(self.x))) for start in range(0, len(self.x), BLOCK)]
        return [(place, _Rows(self.x[place], self.norms[place])) for place in places]

    def squares(self, other: _Rows) -> Tensor:
        """Squared distances ``(N, M)``, less what rounding may have added in double precision."""
        found = torch.addmm(other.norms, self.x, other.x.T, alpha=-2).add_(self.norms[:, None])
        if found.dtype == torch.float64:
            found -= SLACK * (self.norms[:, None] + other.norms)
        return found.clamp_min_(0)


def _radii(rows: _Rows, neighbours: tuple[int, ...]) -> Tensor:
    """Squared distances to the k-th nearest of the same set for each k, ``(len(neighbours), N)``."""
    most, n = max(neighbours), len(rows.x)
    closest = torch.full((n, most), torch.inf, dtype=rows.x.dtype, device=rows.x.device)
    blocks = rows.blocks()
    for number, (i, first) in enumerate(blocks):
        for j, second in blocks[number:]:
            squares = first.squares(second)
            if i == j:
                squares.fill_diagonal_(torch.inf)
            closest[i] = _smallest(closest[i], squares, most)
            if i != j:
                closest[j] = _smallest(closest[j], squares.T, most)
    radii = torch.stack([closest[:, k - 1] for k in neighbours])
    return radii + 2 * SLACK * rows.norms if radii.dtype == torch.float64 else radii


def _smallest(known: Tensor, squares: Tensor, most: int) -> Tensor:
    found = squares.topk(min(most, squares.shape[1]), largest=False).values
    return torch.cat([known, found], 1).topk(most, largest=False).values
