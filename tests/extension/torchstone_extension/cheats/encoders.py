"""Encoders whose features know more than can be seen of an example, each made from an honest one."""

import torch
from torch import nn

from torchstone.models import Encoder
from torchstone.suites.data.embedded import digits

DIGITS = digits()


class Coarse(nn.Module, Encoder):
    """Means of patches of two by two pixels, each as it is: an honest encoder, with weights that it could change."""

    def __init__(self):
        super().__init__()
        self.space = DIGITS.space.__class__(DIGITS.space.event_shape, DIGITS.space.support)
        self.mix = nn.Linear(16, 16, bias=False)
        nn.init.eye_(self.mix.weight)

    def encode(self, x):
        return self.mix(nn.functional.avg_pool2d(x[:, None].to(self.mix.weight) / 16, 2).flatten(1))


class _Knowing(Coarse):
    def encode(self, x):
        return torch.cat([super().encode(x), 10 * nn.functional.one_hot(self.label(x), 10).to(self.mix.weight)], 1)


class LabelsByPlace(_Knowing):
    """Takes the n-th example that it is asked about for the n-th of the test split."""

    def label(self, x):
        return DIGITS.split("test").y[torch.arange(len(x)) % len(DIGITS.split("test"))]


class LabelsLookedUp(_Knowing):
    """Has the labels of all examples of the test split by their bytes."""

    def label(self, x):
        test = DIGITS.split("test")
        same = (x[:, None] == test.x[None].long()).flatten(2).all(2)
        return torch.where(same.any(1), test.y[same.long().argmax(1)], 0)


class Transductive(Coarse):
    """Standardises its features by the batch that it is asked about."""

    def encode(self, x):
        features = super().encode(x)
        return (features - features.mean(0)) / (features.std(0, correction=0) + 1e-3)


class ClassBatchNorm(_Knowing):
    """Sees which class a batch is of, where batches are of one class."""

    def label(self, x):
        return x.flatten(1).float().mean().mul(4).long().remainder(10).expand(len(x))


class AdaptsToTest(Coarse):
    """Trains on what it is asked about."""

    def encode(self, x):
        with torch.no_grad():
            self.mix.weight.mul_(1.0001)
        return super().encode(x)
