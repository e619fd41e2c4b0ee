"""Bounds on log-densities from importance weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["LogMeanExp", "importance_weighted_bound"]


def importance_weighted_bound(log_weights: Tensor, dim: int = 0) -> Tensor:
    """``ln (1/K) sum_k w_k`` over the K weights along ``dim``, in float64: a lower bound on ``ln p(x)`` in expectation.

    With ``log w = log p(x|z) + log p(z) - log q(z|x)`` and ``z ~ q(z|x)`` it is the ELBO at K = 1, and rises with K.
    Weights of zero (``-inf``) are legitimate; NaN stays NaN.

    Source: Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016; arXiv:1509.00519).

    Raises:
        ValueError: where there are no weights.

    >>> float(importance_weighted_bound(torch.tensor([0.0, 0.0, 0.0])))
    0.0
    """
    count = log_weights.shape[dim]
    if count == 0:
        raise ValueError(f"Expected at least one log-weight along dim {dim}, got shape {tuple(log_weights.shape)}.")
    return log_weights.double().logsumexp(dim) - math.log(count)


class LogMeanExp:
    """The same bound for weights that arrive in pieces, with memory for one number per example.

    >>> running = LogMeanExp(examples=2)
    >>> running.add(torch.zeros(3, 2))
    >>> running.value.tolist()
    [0.0, 0.0]
    """

    def __init__(self, examples: int) -> None:
        self._log_sum = torch.full((examples,), -math.inf, dtype=torch.float64)
        self._count = 0

    def add(self, log_weights: Tensor) -> None:
        """Take in more weights, shape ``(k, examples)``."""
        self._log_sum = torch.logaddexp(self._log_sum, log_weights.double().logsumexp(0))
        self._count += log_weights.shape[0]

    @property
    def value(self) -> Tensor:
        """``(examples,)`` nats. Raises ValueError before the first weight."""
        if self._count == 0:
            raise ValueError("No weights have been added yet: add some before asking for the value.")
        return self._log_sum - math.log(self._count)
