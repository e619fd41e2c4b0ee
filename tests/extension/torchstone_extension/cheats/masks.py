"""Autoregressive models that see what they are to predict."""

import torch
from torch import nn

from torchstone.models import Discrete, Space
from torchstone_extension.fixtures.discrete import Causal


class Peeking(Causal):
    """Has a symmetric mask: sees what comes before and after."""

    def strength(self):
        before = super().strength()
        return before + before.T


class SelfCopy(Causal):
    """Sees its own value strongly: a mask shifted by one."""

    def strength(self):
        return super().strength() + 6 * torch.eye(self.space.dims, dtype=self.weight.dtype)


class ShiftedByOne(Causal):
    """Has a mask that is shifted by one: sees its own value, and all before it."""

    def strength(self):
        own = torch.eye(self.space.dims, dtype=self.weight.dtype)
        return super().strength() + 1.5 * own


class Unmasked(Causal):
    """Has no mask: sees everything but itself."""

    def visible(self):
        return ~torch.eye(self.space.dims, dtype=torch.bool)

    def strength(self):
        return super().strength() + 0.3 * self.seen


class ChannelsAtOnce(Causal):
    """Lets every colour of a pixel see the other colours of that pixel, later ones too."""

    tiny_space = Space((2, 1, 1), Discrete(3))

    def visible(self):
        channels = self.space.event_shape[0]
        pixel = torch.arange(self.space.dims) % (self.space.dims // channels)
        same = pixel[:, None] == pixel
        return super().visible() | (same & ~torch.eye(self.space.dims, dtype=torch.bool))


class OtherOrder(Causal):
    """Generates from the last position to the first, and declares the opposite order."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.order = self.order.flip(0)


class NormalisedOverPositions(Causal):
    """Normalises its inputs over all positions of an example: a LayerNorm over the sequence."""

    def inputs(self, x):
        seen = super().inputs(x)
        return nn.functional.layer_norm(seen, seen.shape[1:])


class CentredOverSpace(Causal):
    """Takes the mean over all positions from its inputs: a GroupNorm over space."""

    def inputs(self, x):
        seen = super().inputs(x)
        return seen - seen.mean(1, keepdim=True)


class Whispering(Causal):
    """Hears of the last position with a weight of one in ten thousand."""

    def strength(self):
        last = int(self.order[-1])
        leak = torch.zeros_like(self.weight)
        leak[:, last] = 1e-4
        return super().strength() + leak


class NoPermutation(Causal):
    """Declares an order that names one position twice."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.order = self.order.clone()
        self.order[-1] = self.order[0]
