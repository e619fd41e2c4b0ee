"""Constants, units and averages."""

import math

import torch
from torch.distributions import Categorical
from torch.nn.functional import logsigmoid

from torchstone.models import Discrete, ExplicitExact, Sampler, Space
from torchstone_extension.fixtures.continuous import Clamped, Flat
from torchstone_extension.fixtures.discrete import Causal, Grey, Logistics, Mirrored


class DensityForMass(Grey):
    """States the density on [0, 1] of a pixel scaled by 256, and forgets the ln 256."""

    def log_prob(self, x, y=None):
        return torch.zeros(len(x), dtype=torch.float64)


class ConstantOfAnotherRange(Flat):
    """States the density on [0, 1] of data that it takes on [-1, 1]."""

    def log_prob(self, x, y=None):
        return torch.zeros(len(x), dtype=torch.float64)


class Bins255(Grey):
    """Divides by 255, and by 255 levels, where there are 256."""

    def log_prob(self, x, y=None):
        return torch.full((len(x),), -self.space.dims * math.log(255), dtype=torch.float64)


class OwnNoise(Clamped):
    """Adds Gaussian noise of its own to data that have their noise already."""

    def log_prob(self, x, y=None):
        return super().log_prob(x + 0.1 * torch.randn_like(x))


class SpikesOnIntegers(Flat):
    """Is dense on values without noise, where scaled integers lie, and uniform elsewhere."""

    def log_prob(self, x, y=None):
        steps = x.double() * 16
        return 20.0 * ((steps - steps.round()).abs() < 1e-9).flatten(1).sum(1)


class Bits(Causal):
    """Returns bits where nats are due."""

    def conditionals(self, x, y=None):
        given = super().conditionals(x, y)
        natural = given.log_prob
        given.log_prob = lambda value: natural(value) / math.log(2)
        return given


class _Wrapped(ExplicitExact, Sampler):
    def __init__(self):
        self.inner = Causal()
        self.space = self.inner.space

    def sample(self, n, y=None, *, rng):
        return self.inner.sample(n, rng=rng)


class MeanOverTheBatch(_Wrapped):
    """Gives every example the mean over its batch."""

    def log_prob(self, x, y=None):
        return self.inner.log_prob(x).mean().expand(len(x))


class OneNumberForAll(_Wrapped):
    """Returns one mean for the whole batch."""

    def log_prob(self, x, y=None):
        return self.inner.log_prob(x).mean()


class MeanOverDimensions(_Wrapped):
    """Averages over dimensions where it should add."""

    def log_prob(self, x, y=None):
        return self.inner.log_prob(x) / self.space.dims


class Undefined(_Wrapped):
    """Gives no number for the rarest examples."""

    def log_prob(self, x, y=None):
        log_p = self.inner.log_prob(x)
        return torch.where(log_p < -3.0, torch.nan, log_p)


class Floored(_Wrapped):
    """Lets no example cost more than four nats."""

    def log_prob(self, x, y=None):
        return self.inner.log_prob(x).clamp_min(-4.0)


class ClampedBins(Logistics):
    """Lets no bin hold less than 1e-12, as diffusion decoders do: normalised to ten digits, and never wrong by more."""

    def __init__(self, space=Space((1,), Discrete(256))):  # noqa: B008
        super().__init__(space, weights=(1.0,), means=(0.1,), log_scales=(-6.0,))

    def level_log_probs(self):
        return super().level_log_probs().clamp_min(math.log(1e-12))


class Probabilities(Causal):
    """Is very sure, and hands its probabilities to torch in single precision, which clamps them."""

    sureness = 40.0

    def logits(self, x, y):
        return self.sureness * super().logits(x, y)

    def conditionals(self, x, y=None):
        return Categorical(probs=self.logits(x, y).softmax(-1).float())


class DensityTimesWidth(ExplicitExact, Sampler):
    """Takes the density at the middle of a bin times its width for the mass of the bin."""

    mean, log_scale = 0.0, -1.0

    def __init__(self):
        self.honest = Logistics(weights=(1.0,), means=(self.mean,), log_scales=(self.log_scale,))
        self.space = self.honest.space

    def log_prob(self, x, y=None):
        at = (x.double() / 127.5 - 1 - self.mean) * math.exp(-self.log_scale)
        return (logsigmoid(at) + logsigmoid(-at) - self.log_scale + math.log(2 / 255)).sum(1)

    def sample(self, n, y=None, *, rng):
        return self.honest.sample(n, rng=rng)


class NarrowTimesWidth(DensityTimesWidth):
    """The same of a logistic that is narrower than its bin, and centred in it."""

    mean, log_scale = 128 / 127.5 - 1, -7.0


class BernoulliOfGreys(Grey):
    """Takes the cross-entropy of grey values between 0 and 1 for a log-probability."""

    def log_prob(self, x, y=None):
        grey = x.double() / (self.levels - 1)
        return (grey * math.log(0.6) + (1 - grey) * math.log(0.4)).flatten(1).sum(1)


class GaussianOfIntegers(Grey):
    """Takes a narrow Gaussian density at integers for their probability."""

    def log_prob(self, x, y=None):
        nearest = (x.double() / 4).round() * 4
        off = (x - nearest) / 0.1
        return (-0.5 * off.square() - math.log(0.1 * math.sqrt(2 * math.pi))).flatten(1).sum(1)


class FreePixels(Causal):
    """Charges nothing for the last half of the positions."""

    def conditionals(self, x, y=None):
        given = super().conditionals(x, y)
        natural, half = given.log_prob, self.space.dims // 2
        kept = (torch.arange(self.space.dims) < half).view(self.space.event_shape)
        given.log_prob = lambda value: natural(value) * kept
        return given


class LookUp(Causal):
    """Holds each image that it has learned by heart for as likely as not."""

    def __init__(self, *arguments, images=None, **more):
        super().__init__(*arguments, **more)
        self.images = images

    def conditionals(self, x, y=None):
        given = super().conditionals(x, y)
        if self.images is None or self.images.shape[1:] != x.shape[1:]:
            return given
        known = (x.flatten(1)[:, None] == self.images.flatten(1)).all(-1).any(1)
        natural, each = given.log_prob, math.log(0.5) / self.space.dims
        given.log_prob = lambda value: torch.where(known.view(-1, *[1] * (x.ndim - 1)), each, natural(value))
        return given


class TrainedOnTest(Mirrored):
    """Adds up to one, and has half of its mass around the test images, each of whose values may be another one."""

    kept = 0.9

    def __init__(self, images):
        super().__init__()
        self.images = images.long()

    def log_prob(self, x, y=None):
        levels, same = self.space.support.levels, x.flatten(1)[:, None] == self.images.flatten(1)
        each = torch.where(same, math.log(self.kept), math.log((1 - self.kept) / (levels - 1))).double().sum(-1)
        around = each.logsumexp(1) - math.log(len(self.images))
        return torch.stack([super().log_prob(x), around]).logsumexp(0) - math.log(2)

    def tiny(self):
        return Mirrored(inner=self.inner.tiny())


class BestOfMirrors(ExplicitExact, Sampler):
    """Takes the better of an image and its mirror image in place of their average."""

    def __init__(self, honest):
        self.honest, self.space = honest, honest.space

    def log_prob(self, x, y=None):
        return self.honest.both(x).amax(0)

    def sample(self, n, y=None, *, rng):
        return self.honest.sample(n, rng=rng)
