"""Principal components, which have no network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, final

import torch
from annotated_types import Ge
from torch import Tensor, nn

from torchstone.models.model import Budget, Encoder, Space, Split, Trainable
from torchstone.models.spaces import narrowed

__all__ = ["PCA"]

BLOCK = 4096  # examples that are widened to float64 at once
DEAD = 1e-10  # a variance below this share of the greatest is none


@final
class PCA(nn.Module, Encoder, Trainable):
    r"""Projections on the directions in which the training examples vary most, each divided by its deviation.

    .. math:: f_k(x) = v_k \cdot (x - \mu) / \sqrt{\lambda_k}

    Directions :math:`v_k` and variances :math:`\lambda_k` are the eigenvectors and eigenvalues of the covariance of the
    training examples, with N - 1 in the divisor. A direction without variance gives zero. The sign of a direction is
    the one that makes its greatest entry positive. Before a fit the directions are random and orthonormal, nothing is
    subtracted and nothing divided: a random projection.

    Reference: Hotelling, "Analysis of a Complex of Statistical Variables into Principal Components", 1933.

    Args:
        space: data of any shape.
        components: how many directions; at most as many as an example has dimensions.
        whiten: whether projections are divided by their deviations.
    """

    mean: Tensor
    directions: Tensor
    deviations: Tensor

    def __init__(self, space: Space, *, components: Annotated[int, Ge(1)] = 32, whiten: bool = True) -> None:
        super().__init__()
        self.space, self.whiten = narrowed(space, space.support, conditional=False), whiten
        kept = min(components, space.dims)
        self.register_buffer("mean", torch.zeros(space.dims, dtype=torch.float64))
        self.register_buffer("directions", torch.zeros((kept, space.dims), dtype=torch.float64))
        self.register_buffer("deviations", torch.ones(kept, dtype=torch.float64))
        self.reset_parameters()
        self.eval()

    def reset_parameters(self) -> None:
        """Draw orthonormal directions from the global generator, with mean 0 and deviation 1."""
        nn.init.zeros_(self.mean)
        nn.init.orthogonal_(self.directions)
        nn.init.ones_(self.deviations)

    def encode(self, x: Tensor) -> Tensor:
        """The projections of each example, ``(N, components)``."""
        projected = (x.flatten(1).to(self.mean) - self.mean) @ self.directions.T
        return projected / self.deviations

    @torch.no_grad()
    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Take the directions of the training examples, all of them; neither budget nor generator matters."""
        mean, covariance = _moments(train, self.mean)
        variances, vectors = torch.linalg.eigh(covariance)
        kept = len(self.directions)
        variance, direction = variances.flip(0)[:kept], vectors.flip(1).T[:kept]
        greatest = direction.gather(1, direction.abs().argmax(1, keepdim=True))
        alive = variance > DEAD * variance[0].clamp_min(torch.finfo(variance.dtype).tiny)
        self.mean.copy_(mean)
        self.directions.copy_(direction * greatest.sign() * alive[:, None])
        self.deviations.copy_(variance.sqrt().where(alive & self.whiten, torch.ones_like(variance)))


def _moments(train: Split, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of all examples in float64, ``(dims,)`` and ``(dims, dims)``, in two passes over blocks."""

    def blocks() -> Iterator[Tensor]:
        return (x.flatten(1).to(like.device, torch.float64) for x in torch.split(train.x, BLOCK))

    zero = torch.zeros(train.x[0].numel(), dtype=torch.float64, device=like.device)
    mean = sum((block.sum(0) for block in blocks()), zero) / len(train)
    products = ((block - mean).T @ (block - mean) for block in blocks())
    return mean, sum(products, zero) / max(1, len(train) - 1)
