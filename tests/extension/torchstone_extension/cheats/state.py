"""Adapters that remember, that look around in their batch, and that compute carelessly."""

import torch
from torch import nn

from torchstone.models import ExplicitExact, Sampler
from torchstone_extension.fixtures.discrete import Causal, Grey


class BatchStatistics(Causal):
    """Normalises its inputs by the mean and the deviation of their batch."""

    def inputs(self, x):
        seen = super().inputs(x)
        return (seen - seen.mean(0)) / (seen.std(0, correction=0) + 1e-3)


class FirstBatch(Causal):
    """Centres its inputs on the first batch that it is asked about."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.centre = None

    def inputs(self, x):
        seen = super().inputs(x)
        if self.centre is None:
            self.centre = seen.mean(0)
        return seen - self.centre


class Adapting(Causal):
    """Learns from every example that it is asked about."""

    def conditionals(self, x, y=None):
        given = super().conditionals(x, y)
        with torch.no_grad():
            level = self.inputs(x).mean(0)
            self.bias += 0.05 * (level - 0.5)
        return given


class Remembering(ExplicitExact, Sampler):
    """Keeps the examples that it was asked about, and holds them for more probable when they come again."""

    def __init__(self):
        self.inner, self.seen = Causal(), {}
        self.space = self.inner.space

    def log_prob(self, x, y=None):
        keys = [bytes(row.flatten().tolist()) for row in x]
        again = torch.tensor([float(min(self.seen.get(key, 0), 5)) for key in keys], dtype=torch.float64)
        for key in keys:
            self.seen[key] = self.seen.get(key, 0) + 1
        return self.inner.log_prob(x) + 0.1 * again

    def sample(self, n, y=None, *, rng):
        return self.inner.sample(n, rng=rng)


class DroppingOut(Causal):
    """Leaves its dropout on."""

    def inputs(self, x):
        return nn.functional.dropout(super().inputs(x), 0.2, training=True)


class Overwriting(Causal):
    """Works in the tensor that it is given."""

    def inputs(self, x):
        x.clamp_(max=0)
        return super().inputs(x)


class LeftInTraining(Causal):
    """Switches itself to training when it is asked."""

    def inputs(self, x):
        self.train()
        return super().inputs(x)


class HalfSums(Grey):
    """Adds its terms up in half precision, one after the other."""

    def log_prob(self, x, y=None):
        each = super().log_prob(x)[:, None] / self.space.dims
        total = torch.zeros(len(x), dtype=torch.float16)
        for _ in range(self.space.dims):
            total = total + each.half()[:, 0]
        return total.double()
