"""A fixed random projection: features for data that no trained extractor takes, and a toy."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor

from torchstone.models.model import Discrete, Space
from torchstone.models.randomness import generator
from torchstone.results.record import Flat
from torchstone.suites.features.extractor import Extractor, Features

__all__ = ["ProjectionExtractor"]

FEATURES = 64


@final
class ProjectionExtractor(Extractor):
    """Examples, scaled to [0, 1], times a fixed matrix of Gaussians: at most 64 features, and all of them if fewer.

    It keeps distances between examples nearly as they are, and knows nothing of what is to be seen in them.

    Source: Johnson and Lindenstrauss, "Extensions of Lipschitz mappings into a Hilbert space", 1984.
    """

    name: ClassVar[str] = "random-projection (toy)"
    toy: ClassVar[bool] = True

    def __init__(self, space: Space) -> None:
        self.features = min(FEATURES, space.dims)

    @property
    def facts(self) -> Flat:
        """Name and size; the matrix follows from them."""
        return {
            "extractor": self.name,
            "extractor_weights": "seed 0",
            "resize": "none",
            "feature_dims": self.features,
        }

    def __call__(self, x: Tensor, space: Space, device: torch.device) -> Features:
        """Features of examples of any shape."""
        scale = space.support.levels - 1 if isinstance(space.support, Discrete) else 1
        rows = x.flatten(1).double() / scale
        matrix = torch.randn(space.dims, self.features, generator=generator(0, "projection"), dtype=torch.float64)
        return Features((rows @ matrix / self.features**0.5).float())
