"""The pretext task of telling how the patches of an image were shuffled."""

from __future__ import annotations

import itertools
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from torchstone.models.encoders.backbone import Backbone
from torchstone.models.encoders.images import patched, square_side
from torchstone.models.encoders.pretraining import pretrain
from torchstone.models.model import Budget, Encoder, ModelError, Space, Split, Trainable
from torchstone.models.randomness import seeded
from torchstone.models.spaces import narrowed

__all__ = ["Jigsaw", "distant_permutations"]

LARGE = 24  # pixels of a side from which a puzzle has three patches a side


@final
class Jigsaw(nn.Module, Encoder, Trainable):
    r"""A network that looks at the patches of an image one by one, and tells in which of P orders they came.

    .. math:: \min\ -E\, \log p(\pi \mid f(x_{\pi(1)}), \dots, f(x_{\pi(G)}))

    Each patch goes through the same network f by itself, as in the paper, so that no edge between two patches gives the
    order away. Two by two patches have 24 orders, all of which are used; of the 362,880 orders of three by three, P are
    used that differ from each other at as many places as can be. The features of an image are those of the whole
    image, which the network never saw in training.

    Reference: Noroozi and Favaro, "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles", 2016,
    arXiv:1603.09246.

    Args:
        space: square images; discrete ones are read as numbers from -1 to 1.
        features: dimensions of the features.
        width: channels of the first stage of the network.
        grid: patches on a side; none takes three where a side has at least 24 pixels, and two below.
        permutations: how many orders of three by three patches, P; of two by two there are 24.
        batch: images in a minibatch.
        learning_rate: its largest value.

    Raises:
        ModelError: where the data are no square images, or patches would be smaller than two pixels.
    """

    orders: Tensor

    def __init__(
        self,
        space: Space,
        *,
        features: Annotated[int, Ge(1)] = 64,
        width: Annotated[int, Ge(1)] = 32,
        grid: Annotated[int, Interval(ge=2, le=3)] | None = None,
        permutations: Annotated[int, Interval(ge=2, le=1000)] = 64,
        batch: Annotated[int, Ge(1)] = 128,
        learning_rate: Annotated[float, Gt(0)] = 2e-3,
    ) -> None:
        super().__init__()
        side = square_side(space, "jigsaw")
        self.grid = grid or (3 if side >= LARGE else 2)
        if side // self.grid < 2:
            raise ModelError(
                f"jigsaw cuts a side into {self.grid} patches of at least two pixels, and these images have {side}: "
                "take larger images, or try model=inpainting."
            )
        self.space = narrowed(space, space.support, conditional=False)
        self.batch, self.learning_rate = batch, learning_rate
        self.backbone = Backbone(self.space, width=width, features=features)
        orders = distant_permutations(self.grid**2, permutations if self.grid > 2 else 24)
        self.register_buffer("orders", orders, persistent=False)
        self.eval()

    def encode(self, x: Tensor) -> Tensor:
        """The features of each whole image, ``(N, features)``."""
        features: Tensor = self.backbone(x)
        return features

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Minimise the cross-entropy of the orders. Labels and the validation split are not looked at.

        Raises:
            ModelError: if the loss stops being finite.
        """
        with seeded(rng):
            inputs = self.grid**2 * self.backbone.features
            head = nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, len(self.orders)))
            head.to(next(self.backbone.parameters()))

        def loss(x: Tensor) -> Tensor:
            order = torch.randint(len(self.orders), (len(x),), generator=rng).to(x.device)
            shuffled = self.shuffled(patched(self.backbone.numbers(x), self.grid), order)
            seen = self.backbone.embed(shuffled.flatten(0, 1)).view(len(x), -1)
            return nn.functional.cross_entropy(head(seen), order)

        network = nn.ModuleList([self.backbone, head])
        pretrain(network, loss, train, budget, rng=rng, batch=self.batch, learning_rate=self.learning_rate)
        self.eval()

    def shuffled(self, patches: Tensor, order: Tensor) -> Tensor:
        """Patches ``(N, G, ...)`` in the orders of the given numbers, ``(N,)``: at place i that which order i names."""
        return patches[torch.arange(len(patches), device=patches.device)[:, None], self.orders[order]]


def distant_permutations(size: int, count: int) -> Tensor:
    """``count`` permutations of ``size`` things that are far from each other, int64, ``(count, size)``.

    The identity comes first; each further one differs from all before it at as many places as can be, the first in
    lexicographic order where there are several. All of them, where there are no more.

    Source: Noroozi and Favaro, 2016, arXiv:1603.09246, algorithm 1, with the least distance in place of the mean.
    """
    places = bytearray(itertools.chain.from_iterable(itertools.permutations(range(size))))
    every = torch.frombuffer(places, dtype=torch.uint8).view(-1, size)
    chosen, nearest = [0], torch.full((len(every),), size + 1)
    for _ in range(min(count, len(every)) - 1):
        nearest = nearest.minimum((every != every[chosen[-1]]).sum(1))
        chosen.append(int(nearest.argmax()))
    return every[chosen].long()
