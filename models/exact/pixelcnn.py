"""A gated PixelCNN: masked convolutions over images."""

from __future__ import annotations

from typing import Annotated, final

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn import functional

from torchstone.models.layers import Lookup
from torchstone.models.model import (
    Autoregressive,
    Budget,
    Discrete,
    Enumerable,
    ModelError,
    Sampler,
    Space,
    Split,
    Trainable,
)
from torchstone.models.randomness import generator, seeded
from torchstone.models.sampling import ancestral
from torchstone.models.spaces import labels, levels_of, narrowed, raster
from torchstone.models.training import minimise

__all__ = ["PixelCNN"]


@final
class PixelCNN(nn.Module, Autoregressive, Sampler, Trainable, Enumerable):
    r"""Gated masked convolutions in two stacks, so that there is no blind spot.

    .. math:: p(x \mid y) = \prod_{h, w, c} p(x_{hwc} \mid x_{\text{above}}, x_{\text{left}}, x_{hw, <c}, y)

    The vertical stack sees the rows above a pixel, whole. The horizontal stack sees what is on its left, and of the
    pixel itself the channels before the one in question: features come in one group per channel.

    Reference: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016.

    Args:
        space: discrete images, of shape ``(H, W)`` or ``(C, H, W)``.
        width: features of each channel of a pixel.
        depth: number of gated layers.
        dropout: probability of dropping a feature in training.
        batch: examples in a minibatch.
        conditional: whether labels are given.
    """

    order: Tensor

    def __init__(
        self,
        space: Space,
        *,
        width: Annotated[int, Ge(1)] = 32,
        depth: Annotated[int, Ge(1)] = 4,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.25,
        batch: Annotated[int, Ge(1)] = 16,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        levels = levels_of(space, "pixelcnn")
        if len(space.event_shape) not in (2, 3):
            raise ModelError(
                f"pixelcnn applies to images of shape (H, W) or (C, H, W); these have shape {space.event_shape}: "
                "try model=transformer or model=rnn."
            )
        self.space = narrowed(space, Discrete(levels), conditional)
        self.batch = batch
        channels = 1 if len(space.event_shape) == 2 else space.event_shape[0]
        features = channels * width
        self.register_buffer("order", raster(space.event_shape), persistent=False)
        self.values = Lookup(levels, width)
        self.positions = Positions(features, *space.event_shape[-2:])
        self.labels = Lookup(self.space.classes or 1, features)
        self.above = nn.Conv2d(features, features, (2, 5))
        self.left = MaskedRow(features, features, 3, channels, sees_itself=False)
        self.layers = nn.ModuleList(Gated(features, channels, dropout) for _ in range(depth))
        self.last = MaskedRow(features, features, 1, channels, sees_itself=True)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(features, channels * levels, 1, groups=channels)
        self.eval()

    def conditionals(self, x: Tensor, y: Tensor | None = None) -> Categorical:
        """The conditional of every sub-pixel, of batch shape ``(N, *event)``."""
        images = x if x.dim() == 4 else x[:, None]
        inputs = self.values(images).permute(0, 1, 4, 2, 3).flatten(1, 2)
        bias = self.labels(labels(self.space, y, len(x), x.device))[..., None, None] + self.positions()
        vertical = self.above(functional.pad(inputs, (2, 2, 2, -1))) + bias
        horizontal = self.left(inputs) + bias
        for layer in self.layers:
            vertical, horizontal = layer(vertical, horizontal)
        hidden = self.dropout(functional.elu(self.last(functional.elu(horizontal))))
        logits = self.head(hidden).unflatten(1, (images.shape[1], -1)).movedim(2, -1)
        return Categorical(logits=logits.reshape(*x.shape, -1))

    def sample(self, n: int, y: Tensor | None = None, *, rng: torch.Generator) -> Tensor:
        """``n`` images, int64, ``(n, *event)``."""
        return ancestral(self.conditionals, self.order, self.space.event_shape, n, y, rng=rng)

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Maximise the likelihood by gradient descent."""
        minimise(
            self,
            lambda x, y: -self.log_prob(x, y),
            train,
            validation,
            budget,
            rng=rng,
            batch=self.batch,
            learning_rate=6e-3,
        )

    @classmethod
    def tiny(cls) -> PixelCNN:
        """Two ternary pixels of three channels: 729 states."""
        with seeded(generator(0, "tiny")):
            return cls(Space((3, 1, 2), Discrete(3)), width=4, depth=2)


@final
class Positions(nn.Module):
    """A learned bias of every feature at every pixel."""

    def __init__(self, features: int, height: int, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(features, height, width))

    def reset_parameters(self) -> None:
        """Begin with none."""
        nn.init.zeros_(self.bias)

    def forward(self) -> Tensor:
        """The bias, ``(features, H, W)``."""
        return self.bias


@final
class MaskedRow(nn.Conv2d):
    """A convolution over a pixel and those on its left; of the pixel itself, group c sees the groups before c.

    With ``sees_itself`` it sees group c too: its inputs are then features, which do not know the c-th value.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, reach: int, channels: int, *, sees_itself: bool) -> None:
        super().__init__(inputs, outputs, (1, reach))
        seen = torch.ones(channels, channels).tril(0 if sees_itself else -1)
        seen = seen.repeat_interleave(outputs // channels, 0).repeat_interleave(inputs // channels, 1)
        mask = torch.ones(outputs, inputs, 1, reach)
        mask[..., 0, -1] = seen
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` to ``(N, outputs, H, W)``."""
        padded = functional.pad(inputs, (self.kernel_size[1] - 1, 0))
        return functional.conv2d(padded, self.weight * self.mask, self.bias)


@final
class Gated(nn.Module):
    """One layer of both stacks: convolutions, gates, and what they add to their inputs."""

    def __init__(self, features: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.channels = channels
        self.vertical = nn.Conv2d(features, 2 * features, (2, 3))
        self.horizontal = MaskedRow(features, 2 * features, 2, channels, sees_itself=True)
        self.link = nn.Conv2d(2 * features, 2 * features, 1)
        self.mix = MaskedRow(features, features, 1, channels, sees_itself=True)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, vertical: Tensor, horizontal: Tensor) -> tuple[Tensor, Tensor]:
        """Both stacks, ``(N, features, H, W)`` each, to the same."""
        down = self.vertical(functional.pad(vertical, (1, 1, 1, 0)))
        across = self.horizontal(horizontal) + self.link(down)
        return vertical + self.dropout(self._gate(down)), horizontal + self.mix(self.dropout(self._gate(across)))

    def _gate(self, features: Tensor) -> Tensor:
        """Half of each channel's features, gated by the other half."""
        value, gate = torch.unflatten(features, 1, (self.channels, 2, -1)).unbind(2)
        return (value.tanh() * gate.sigmoid()).flatten(1, 2)
