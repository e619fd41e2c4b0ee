"""Samplers that do not draw from what they promise."""

import torch
from torch.distributions import Categorical

from torchstone.models import Implicit
from torchstone.models.randomness import generator
from torchstone_extension.fixtures.discrete import Causal
from torchstone_extension.fixtures.generators import Denoiser, Generator


class Cold(Causal):
    """Samples at a temperature of 0.8, and states the density at one."""

    temperature = 0.8

    def drawn(self, x, y=None):
        return Categorical(logits=self.logits(x, y) / self.temperature)


class Hot(Cold):
    """Samples at a temperature of 1.25."""

    temperature = 1.25


class Greedy(Cold):
    """Samples the most probable value, rounded where a mean would be."""

    temperature = 1e-3


class Guided(Causal):
    """Samples with guidance: away from the average over the classes, and towards its own."""

    def drawn(self, x, y=None):
        own = self.logits(x, y)
        every = [self.logits(x, torch.full_like(y, label)) for label in range(self.space.classes)]
        return Categorical(logits=own + 2.0 * (own - torch.stack(every).mean(0)))


class OtherWeights(Causal):
    """Samples with weights of its own, such as a moving average, and states the density of others."""

    def drawn(self, x, y=None):
        return Categorical(logits=0.6 * self.logits(x, y) + 0.2)


class BestOfTwo(Causal):
    """Draws two samples and keeps the one that is more probable."""

    def sample(self, n, y=None, *, rng):
        first, second = (super(BestOfTwo, self).sample(n, y, rng=rng) for _ in range(2))
        better = self.log_prob(first, y) >= self.log_prob(second, y)
        return torch.where(better.view(-1, *[1] * (first.ndim - 1)), first, second)


class OneMode(Causal):
    """Samples half of what it gives probability to: those whose first value is zero."""

    def drawn(self, x, y=None):
        logits = self.logits(x, y).clone()
        logits.flatten(1, -2)[:, 0, 1:] = -30.0
        return Categorical(logits=logits)


class LabelsOfItsOwn(Causal):
    """Ignores the label it is asked for, and draws one."""

    def sample(self, n, y=None, *, rng):
        own = torch.randint(self.space.classes, (n,), generator=rng)
        return super().sample(n, own, rng=rng)


class SeedOfItsOwn(Generator):
    """Has a seed of its own, and gives the same samples each time."""

    def noise(self, n, rng):
        return super().noise(n, generator(0, "always"))


class GlobalRandomness(Generator):
    """Draws from the global generator although it was given one."""

    def noise(self, n, rng):
        return torch.randn(n, 4, dtype=self.weight.dtype)


class Copies(Implicit):
    """Gives out examples that it was shown as its own samples."""

    def __init__(self, images, space):
        self.images, self.space = images, space

    def sample(self, n, y=None, *, rng):
        return self.images[torch.randint(len(self.images), (n,), generator=rng)].long()


class Unrounded(Generator):
    """Samples real numbers where integers are declared: the mean of a decoder."""

    def images(self, z):
        squashed = torch.tanh(z @ self.weight).unflatten(1, self.space.event_shape)
        return (squashed + 1) / 2 * (self.space.support.levels - 1)


class OutOfRange(Generator):
    """Leaves the support that it declares."""

    def images(self, z):
        return 1.5 * super().images(z)


class StepsByBatch(Denoiser):
    """Takes fewer steps the more samples it is asked for at once."""

    def sample(self, n, y=None, *, rng, steps=None):
        return super().sample(n, rng=rng, steps=40 // n + 1)
