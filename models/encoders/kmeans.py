"""Distances to centroids, which have no network."""

from __future__ import annotations

from typing import Annotated, Literal, final

import torch
from annotated_types import Ge
from torch import Tensor, nn

from torchstone.models.model import Budget, Discrete, Encoder, ModelError, Space, Split, Trainable
from torchstone.models.spaces import narrowed

__all__ = ["KMeans"]

SMALL = 20_000  # examples up to which every one is in each step of the fit


@final
class KMeans(nn.Module, Encoder, Trainable):
    r"""How far an example is from each of K centroids of the training examples, in Euclidean distance.

    With the activation ``triangle`` a feature says by how much a centroid is nearer than the centroids are on average,
    and is zero for those that are farther, about half of them; with ``distance`` it is the distance.

    .. math:: d_k(x) = \lVert x - c_k \rVert, \qquad f_k(x) = \max(0,\ \tfrac{1}{K} \sum_j d_j(x) - d_k(x))

    Before a fit, and where the weights are drawn afresh, centroids are independent Gaussians in every dimension, with
    the mean and deviation of the training examples, or before a fit of what the support allows.

    Reference: Coates, Ng and Lee, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning", 2011.

    Args:
        space: data of any shape.
        centroids: how many, K; no more than there are training examples.
        activation: what is made of the distances.
    """

    centres: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        space: Space,
        *,
        centroids: Annotated[int, Ge(1)] = 128,
        activation: Literal["triangle", "distance"] = "triangle",
    ) -> None:
        super().__init__()
        self.space, self.activation = narrowed(space, space.support, conditional=False), activation
        middle, reach = _extent(space)
        self.register_buffer("centres", torch.zeros((centroids, space.dims), dtype=torch.float64))
        self.register_buffer("mean", torch.full((space.dims,), middle, dtype=torch.float64))
        self.register_buffer("deviation", torch.full((space.dims,), reach, dtype=torch.float64))
        self.reset_parameters()
        self.eval()

    def reset_parameters(self) -> None:
        """Draw the centroids from the global generator, at the scale of the data."""
        with torch.no_grad():
            self.centres.copy_(self.mean + self.deviation * torch.randn_like(self.centres))

    def encode(self, x: Tensor) -> Tensor:
        """What is made of the distances of each example, ``(N, centroids)``."""
        distance = torch.cdist(x.flatten(1).to(self.centres), self.centres)
        return distance if self.activation == "distance" else (distance.mean(1, keepdim=True) - distance).relu()

    @torch.no_grad()
    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Lloyd's algorithm from centroids far apart, as scikit-learn has it: in minibatches where there are many.

        It stops by itself, and the budget does not matter.

        Raises:
            ModelError: where there are fewer training examples than centroids.
        """
        from sklearn import cluster

        if len(train) < len(self.centres):
            raise ModelError(
                f"{len(self.centres)} centroids cannot be had of {len(train)} training examples: "
                f"set model.centroids={len(train)} or less."
            )
        x = train.x.flatten(1).double().cpu()
        algorithm = cluster.KMeans if len(train) <= SMALL else cluster.MiniBatchKMeans
        seed = int(torch.randint(2**31 - 1, (), generator=rng))
        found = algorithm(len(self.centres), n_init=1, random_state=seed).fit(x.numpy())
        self.centres.copy_(torch.from_numpy(found.cluster_centers_))
        self.mean.copy_(x.mean(0))
        self.deviation.copy_(x.std(0, correction=0))


def _extent(space: Space) -> tuple[float, float]:
    """Middle and a quarter of the width of what the support allows; 0 and 1 where it is unbounded."""
    support = space.support
    if isinstance(support, Discrete):
        return (support.levels - 1) / 2, (support.levels - 1) / 4
    return ((support.low + support.high) / 2, (support.high - support.low) / 4) if support.bounded else (0.0, 1.0)
