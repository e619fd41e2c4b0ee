"""Metrics as `torchmetrics.Metric` classes, for training loops plain, distributed or in Lightning.

Importing torchmetrics takes a second or more; only this file does.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torchmetrics import Metric

from torchstone.suites.metrics.bounds import importance_weighted_bound
from torchstone.suites.metrics.units import bits_per_dim

__all__ = ["BitsPerDim", "ImportanceWeightedBound"]


class _ExampleMean(Metric):
    """A mean of log-densities over examples, not over batches; sums are in float64, also across processes."""

    full_state_update = False
    total: Tensor
    examples: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("examples", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def set_dtype(self, dst_type: str | torch.dtype) -> Metric:
        """Keep the sum in float64, whatever the precision of the model around it."""
        return self

    def _add(self, log_prob: Tensor) -> None:
        if log_prob.ndim != 1:
            raise ValueError(f"Expected one log-density per example, shape (N,), got shape {tuple(log_prob.shape)}.")
        worth = torch.where(log_prob.isfinite(), log_prob, -torch.inf)
        self.total += worth.detach().double().sum()
        self.examples += log_prob.numel()

    def _mean(self) -> Tensor:
        if self.examples == 0:
            raise ValueError("No examples yet: call update before compute.")
        return self.total / self.examples


@final
class BitsPerDim(_ExampleMean):
    """Mean negative log-likelihood in bits per dimension, weight 1/N for each example whatever the batches.

    A log-density that is not finite is worth ``-inf`` and makes the result infinite.

    >>> metric = BitsPerDim(dims=2)
    >>> metric.update(torch.tensor([0.25, 0.25], dtype=torch.float64).log())
    >>> float(metric.compute())
    1.0
    """

    is_differentiable = False
    higher_is_better = False

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.dims = dims
        bits_per_dim(0.0, dims)  # raises for dims that are none

    def update(self, log_prob: Tensor) -> None:
        """Take in log-densities of some examples, ``(N,)`` nats, on discrete data."""
        self._add(log_prob)

    def compute(self) -> Tensor:
        """Bits per dimension, a float64 scalar. Raises ValueError before the first example."""
        return -self._mean() * bits_per_dim(1.0, self.dims)


@final
class ImportanceWeightedBound(_ExampleMean):
    """Mean importance-weighted lower bound on the log-density, nats per example; K is the size of the first axis.

    Source: Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016; arXiv:1509.00519).
    """

    is_differentiable = False
    higher_is_better = True

    def update(self, log_weights: Tensor) -> None:
        """Take in log-weights of some examples, shape ``(K, N)`` nats."""
        self._add(importance_weighted_bound(log_weights, dim=0))

    def compute(self) -> Tensor:
        """Nats per example, a float64 scalar. Raises ValueError before the first example."""
        return self._mean()
