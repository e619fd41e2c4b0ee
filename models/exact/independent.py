"""Independent positions: the baseline that every other model should beat."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from torchstone.models.model import Autoregressive, Budget, Discrete, Enumerable, Sampler, Space, Split, Trainable
from torchstone.models.randomness import generator
from torchstone.models.sampling import ancestral
from torchstone.models.spaces import labels, levels_of, narrowed, raster

__all__ = ["Independent"]

SMOOTHINGS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@final
class Independent(nn.Module, Autoregressive, Sampler, Trainable, Enumerable):
    r"""A categorical distribution at each position, by counting.

    .. math:: p(x \mid y) = \prod_i \frac{n_{y,i}(x_i) + \alpha}{n_y + L \alpha}

    Laplace's :math:`\alpha` is chosen on the validation split.

    Args:
        space: discrete data of any shape.
        conditional: whether every class has counts of its own.
    """

    order: Tensor

    def __init__(self, space: Space, *, conditional: bool = False) -> None:
        super().__init__()
        levels = levels_of(space, "independent")
        self.space = narrowed(space, Discrete(levels), conditional)
        self.logits = nn.Parameter(torch.zeros(self.space.classes or 1, *space.event_shape, levels))
        self.register_buffer("order", raster(space.event_shape), persistent=False)
        self.eval()

    def conditionals(self, x: Tensor, y: Tensor | None = None) -> Categorical:
        """The same distribution for every ``x``, of batch shape ``(N, *event)``."""
        return Categorical(logits=self.logits[labels(self.space, y, len(x), x.device)])

    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator) -> Tensor:
        """``n`` events, int64, ``(n, *event)``."""
        return ancestral(self.conditionals, self.order, self.space.event_shape, n, y, rng=rng)

    @torch.no_grad()
    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Count in one pass over ``train``, and smooth as suits ``validation`` best."""
        counts = self._counts(train)
        held_out = self._counts(validation)
        best = max(SMOOTHINGS, key=lambda alpha: float((held_out * _logits(counts, alpha)).sum()))
        self.logits.copy_(_logits(counts, best))

    def _counts(self, split: Split) -> Tensor:
        """How often each class has each level at each position, shaped as the logits, in float64."""
        dims, levels = self.space.dims, self.logits.shape[-1]
        counts = torch.zeros(self.logits.numel(), dtype=torch.double)
        for start in range(0, len(split), 1000):
            x, y = split.batch(start, start + 1000)
            row = labels(self.space, y, len(x), x.device)[:, None] * dims + torch.arange(dims)
            counts += torch.bincount((row * levels + x.flatten(1)).flatten(), minlength=len(counts))
        return counts.view_as(self.logits).to(self.logits.device)

    @classmethod
    def tiny(cls) -> Independent:
        """Two ternary positions and one more: 27 states."""
        model = cls(Space((3,), Discrete(3)))
        nn.init.normal_(model.logits, generator=generator(0, "tiny"))
        return model


def _logits(counts: Tensor, alpha: float) -> Tensor:
    """Log-probabilities of counts smoothed by ``alpha``."""
    smooth = counts + alpha
    return (smooth / smooth.sum(-1, keepdim=True)).log()
