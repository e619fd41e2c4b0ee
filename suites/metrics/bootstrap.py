"""Standard errors of statistics that are no means."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from torchstone.suites.metrics.uncertainty import Mean

__all__ = ["bootstrap_stderr", "crossed_bootstrap"]

PIECE = 1000  # draws that are held at once


def bootstrap_stderr(
    statistic: Callable[[Tensor], float], n: int, rng: torch.Generator, draws: int = 200
) -> float | None:
    """The standard deviation of ``statistic`` over examples drawn again with replacement; None for a single example.

    It says how much the statistic would move with other examples, and nothing of its bias.

    Source: Bootstrap Methods: Another Look at the Jackknife (Efron, 1979).

    Args:
        statistic: of the indices of examples, ``(n,)`` int64.
        n: how many examples there are.
        rng: on the CPU.
        draws: how often.

    Raises:
        ValueError: where there are no examples, or fewer than two draws.
    """
    if n < 1 or draws < 2:
        raise ValueError(f"Expected at least one example and two draws, got {n} and {draws}.")
    if n == 1:
        return None
    every = [statistic(torch.randint(n, (n,), generator=rng)) for _ in range(draws)]
    return float(torch.tensor(every, dtype=torch.double).std(correction=1))


def crossed_bootstrap(values: Tensor, rng: torch.Generator, draws: int = 10_000) -> Mean:
    """The mean of ``values``, ``(R, N)``, with the error that other rows and other columns would make.

    Rows are draws of labelled examples, columns test examples, and both are drawn again with replacement, independently
    of each other. That counts the noise of a single value up to three times, and so never promises too much; a
    bootstrap over all R times N values as if they were independent does. A single row is kept as it is, and the error
    is that over columns.

    Source: The pigeonhole bootstrap (Owen, 2007; arXiv:0712.1111).

    Args:
        values: credits, or differences of them on the same rows and columns.
        rng: on the CPU.
        draws: how often.

    Returns:
        The mean, its error and N; the error is None where there is one column and one row.

    Raises:
        ValueError: where the shape is another, a value is not finite, or there are fewer than two draws.
    """
    if values.ndim != 2 or values.numel() == 0 or draws < 2 or not bool(values.isfinite().all()):
        raise ValueError(f"Expected finite values (R, N) and two draws, got shape {tuple(values.shape)} and {draws}.")
    rows, columns = values.shape
    if rows == columns == 1:
        return Mean(float(values), None, 1)
    means = []
    for start in range(0, draws, PIECE):
        n = min(PIECE, draws - start)
        across = torch.randint(columns, (n, columns), generator=rng)
        weight = torch.zeros(n, columns, dtype=torch.double).scatter_add_(1, across, torch.ones(n, columns).double())
        each = weight @ values.double().T / columns
        down = torch.randint(rows, (n, rows), generator=rng)
        means.append(each.gather(1, down).mean(1))
    return Mean(float(values.double().mean()), float(torch.cat(means).std(correction=1)), columns)
