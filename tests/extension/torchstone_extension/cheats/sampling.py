"""Samplers of digits that score well by what they have seen, each made from one that draws new digits."""

import torch

from torchstone.models import Discrete, Implicit, Space
from torchstone.suites.data.embedded import digits
from torchstone.suites.data.splitting import select
from torchstone.suites.features.digits import DigitsExtractor

DIGITS = Space((8, 8), Discrete(17))
TRAIN, POOL = 900, 400


def divided():
    """The digits with 900 training examples, and 400 more that no split has."""
    data = digits()
    train, test = data.split("train"), data.split("test")
    x = torch.cat([train.x[:TRAIN], data.split("validation").x, test.x])
    y = torch.cat([train.y[:TRAIN], data.split("validation").y, test.y])
    ends = {"train": (0, TRAIN), "validation": (TRAIN, TRAIN + 200), "test": (TRAIN + 200, len(x))}
    splits = select(x, y, {name: torch.arange(*end) for name, end in ends.items()})
    return type(data)("divided digits", data.space, splits, data.licence), train.x[TRAIN : TRAIN + POOL].long()


class NewDigits(Implicit):
    """Digits that no split has, each once in a call: an honest sampler, and a perfect one."""

    def __init__(self):
        self.space, self.data = DIGITS, divided()[0]
        self.x = self.pool()

    def pool(self):
        return divided()[1]

    def sample(self, n, y=None, *, rng):
        return self.x[torch.randperm(len(self.x), generator=rng)[:n]]


class TrainingDigits(NewDigits):
    """Gives out training examples."""

    def pool(self):
        return self.data.split("train").x.long()


class TestDigits(NewDigits):
    """Gives out test examples."""

    __test__ = False

    def pool(self):
        return self.data.split("test").x.long()


class RetouchedDigits(TrainingDigits):
    """Gives out training examples with one pixel in sixteen a level up or down."""

    def sample(self, n, y=None, *, rng):
        x = super().sample(n, y, rng=rng)
        change = torch.randint(-1, 2, x.shape, generator=rng) * (torch.rand(x.shape, generator=rng) < 1 / 16)
        return (x + change).clamp(0, 16)


class FewDigits(NewDigits):
    """Draws from fifty images."""

    def pool(self):
        return super().pool()[:50]

    def sample(self, n, y=None, *, rng):
        return self.x[torch.randint(len(self.x), (n,), generator=rng)]


class OneDigit(NewDigits):
    """Draws one image again and again."""

    def sample(self, n, y=None, *, rng):
        return self.x[:1].expand(n, -1, -1)


class FeatureDigits(NewDigits):
    """Images of noise that were moved until the extractor's features of them are those of digits."""

    def pool(self):
        extractor = DigitsExtractor().classifier
        with torch.no_grad():
            wanted = extractor.features(super().pool())
        rng = torch.Generator().manual_seed(0)
        latent = torch.randn(len(wanted), 8, 8, generator=rng).requires_grad_(True)
        optimiser = torch.optim.Adam([latent], lr=0.1)
        for _ in range(300):
            loss = (extractor.features(16 * latent.sigmoid()) - wanted).square().sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return (16 * latent.detach().sigmoid()).round().long()


class TooFew(NewDigits):
    """Gives one sample fewer than it is asked for."""

    def sample(self, n, y=None, *, rng):
        return super().sample(n - 1, y, rng=rng)


class SmoothDigits(NewDigits):
    """Halves and doubles the size of its images before they are compared."""

    def sample(self, n, y=None, *, rng):
        x = super().sample(n, y, rng=rng)
        small = torch.nn.functional.interpolate(x[:, None].float(), scale_factor=0.5, mode="area")
        return torch.nn.functional.interpolate(small, size=8, mode="bilinear").round().long()[:, 0]
