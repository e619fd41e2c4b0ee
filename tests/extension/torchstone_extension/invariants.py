"""Small honest adapters, and adapters with one mistake each that breaks an invariant, by the name of the mistake."""

import math
import os
from typing import ClassVar

import torch
from torch import nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    Laplace,
    Normal,
    TransformedDistribution,
    constraints,
)
from torch.distributions.transforms import AffineTransform

from torchstone.models import Autoregressive, Continuous, Discrete, ExplicitExact, LatentVariable, Sampler, Space
from torchstone.models.randomness import generator, seeded
from torchstone.models.sampling import ancestral, choose

LEVELS = 4
COLOURS = Space((2, 2, 2), Discrete(LEVELS))


class Masked(nn.Module, Autoregressive, Sampler):
    """A masked network over positions in any declared order; a hidden feature of each position, then logits."""

    def __init__(self, space: Space = COLOURS, *, order=None, width=6, seed=0):
        super().__init__()
        self.space, dims, levels = space, space.dims, space.support.levels
        self.register_buffer("order", torch.arange(dims) if order is None else torch.as_tensor(order))
        with seeded(generator(seed, "masked")):
            self.values = nn.Embedding(levels, width)
            self.mix = nn.Parameter(torch.randn(dims, dims, width, width) / width)
            self.head = nn.Linear(width, levels)
        self.eval()

    def mask(self):
        """``(D, D)`` in the order of generation: row i may see column j."""
        return torch.ones(self.space.dims, self.space.dims).tril(-1)

    def between(self, hidden):
        return hidden

    def conditionals(self, x, y=None):
        inputs = self.values(x.flatten(1)[:, self.order])
        mask = self.mask()[..., None, None].to(self.mix)
        hidden = self.between(torch.einsum("njw,ijwv->niv", inputs, self.mix * mask)).tanh()
        logits = self.head(hidden)[:, self.order.argsort()]
        return Categorical(logits=logits.view(*x.shape, -1))

    def sample(self, n, y=None, *, rng):
        return ancestral(self.conditionals, self.order, self.space.event_shape, n, y, rng=rng)


class Peeking(Masked):
    """A symmetric mask: every position sees all others."""

    def mask(self):
        return 1 - torch.eye(self.space.dims)


class Shifted(Masked):
    """A mask that is off by one: every position sees itself."""

    def mask(self):
        return torch.ones(self.space.dims, self.space.dims).tril()


class Whisper(Masked):
    """A mask through which each position hears the next one, ten thousand times more softly than the past."""

    def mask(self):
        return super().mask() + 1e-4 * torch.ones(self.space.dims, self.space.dims).triu(1).tril(1)


class WrongChannels(Masked):
    """Generates pixel by pixel, and declares that it generates channel by channel."""

    def __init__(self, space: Space = COLOURS):
        super().__init__(space, order=torch.arange(space.dims).reshape(space.event_shape).permute(1, 2, 0).flatten())
        self.real = self.order.clone()
        self.order = torch.arange(space.dims)

    def conditionals(self, x, y=None):
        declared, self.order = self.order, self.real
        try:
            return super().conditionals(x, y)
        finally:
            self.order = declared


class NormalisedOverPositions(Masked):
    """Standardises its features over the whole sequence, the future included."""

    def between(self, hidden):
        return nn.functional.layer_norm(hidden.transpose(1, 2), hidden.shape[1:2]).transpose(1, 2)


class NormalisedOverSpace(Masked):
    """Standardises each feature over the batch and all positions, as batch normalisation over images does."""

    def between(self, hidden):
        return (hidden - hidden.mean((0, 1))) / (hidden.std((0, 1)) + 1e-3)


class NoOrder(Masked):
    """Names one position twice."""

    def __init__(self, space: Space = COLOURS):
        super().__init__(space)
        self.order = torch.zeros(space.dims, dtype=torch.long)


class Chain(Autoregressive):
    """Real numbers, each a Gaussian about the one before it, by a product with a mask."""

    def __init__(self, space: Space):
        self.space, self.order = space, torch.arange(space.dims)
        self.weights = 0.5 * torch.diag(torch.ones(space.dims - 1), -1)

    def conditionals(self, x, y=None):
        mean = torch.einsum("ij,nj->ni", self.weights.to(x), x.flatten(1))
        return Normal(mean.view_as(x), 1.0, validate_args=False)


class Factorised(nn.Module, ExplicitExact, Sampler):
    """Independent categoricals through a small network of one example; honest."""

    def __init__(self, space: Space, *, sharpness=1.0):
        super().__init__()
        self.space = space
        rng = generator(0, "factorised")
        self.logits = nn.Parameter(sharpness * torch.randn(space.dims, space.support.levels, generator=rng))
        self.eval()

    def terms(self, x):
        index = x.flatten(1)[..., None]
        return self.logits.log_softmax(-1).expand(len(x), -1, -1).gather(2, index)[..., 0]

    def log_prob(self, x, y=None):
        return self.terms(x).sum(1)

    def sample(self, n, y=None, *, rng):
        return choose(self.logits.expand(n, -1, -1), rng).view(n, *self.space.event_shape)


class Constant(Factorised):
    """A sampler that has collapsed to one example; honest."""

    def sample(self, n, y=None, *, rng):
        return torch.ones(n, *self.space.event_shape, dtype=torch.long)


class PointMass(Factorised):
    """All of its mass on the example of zeros, and none elsewhere; honest."""

    def log_prob(self, x, y=None):
        return torch.where((x == 0).flatten(1).all(1), 0.0, -math.inf)

    def sample(self, n, y=None, *, rng):
        return torch.zeros(n, *self.space.event_shape, dtype=torch.long)


class Renormed(Factorised):
    """An embedding that keeps its norm by writing into its weights when asked, always with the same answer; honest."""

    def __init__(self, space: Space):
        super().__init__(space)
        with seeded(generator(0, "renormed")):
            self.table = nn.Embedding(space.support.levels, 4, max_norm=0.5)

    def log_prob(self, x, y=None):
        with torch.no_grad():
            self.table(x)
        return super().log_prob(x)


class BatchNormed(Factorised):
    """Batch normalisation that is left in training mode."""

    def __init__(self, space: Space):
        super().__init__(space)
        self.norm = nn.BatchNorm1d(space.dims)

    def log_prob(self, x, y=None):
        self.norm.train()
        terms = self.terms(x)
        return super().log_prob(x) + (0.1 * self.norm(torch.cat([terms, terms + 1]))[: len(x)]).sum(1)


class Whitened(Factorised):
    """Subtracts what the batch is worth on average."""

    def log_prob(self, x, y=None):
        terms = self.terms(x)
        return (terms - 1e-3 * terms.mean(0)).sum(1)


class SizeDependent(Factorised):
    """A scale that is initialised anew whenever the batch has another size."""

    def log_prob(self, x, y=None):
        if getattr(self, "size", None) != len(x):
            self.size, self.scale = len(x), self.terms(x).std() + 1
        return super().log_prob(x) * self.scale


class FirstBatch(Factorised):
    """A scale that the first batch sets for good, at test time as well."""

    scale = None

    def log_prob(self, x, y=None):
        if self.scale is None:
            self.scale = self.terms(x).mean().detach()
        return super().log_prob(x) + self.scale


class Learns(Factorised):
    """Adapts to what it was asked about, question by question."""

    def log_prob(self, x, y=None):
        with torch.no_grad():
            self.logits.scatter_add_(1, x.flatten(1).T, torch.full((self.space.dims, len(x)), 0.01))
        return super().log_prob(x)


class Dropped(Factorised):
    """Dropout that is never turned off."""

    def log_prob(self, x, y=None):
        return nn.functional.dropout(self.terms(x), 0.1, training=True).sum(1)


class WritesInput(Factorised):
    """Overwrites the examples that it is asked about."""

    def log_prob(self, x, y=None):
        answer = super().log_prob(x)
        x.zero_()
        return answer


class Switches(Factorised):
    """Turns gradients off for good."""

    def log_prob(self, x, y=None):
        torch.set_default_dtype(torch.float64)
        return super().log_prob(x)


class Trains(Factorised):
    """Leaves itself in training mode."""

    def log_prob(self, x, y=None):
        self.train()
        return super().log_prob(x)


class GlobalSampler(Factorised):
    """Draws from the global generator although it is given one."""

    def sample(self, n, y=None, *, rng):
        return Categorical(logits=self.logits.detach()).sample((n,)).view(n, *self.space.event_shape)


class FixedSeed(Factorised):
    """The same batch at every call."""

    def sample(self, n, y=None, *, rng):
        return super().sample(n, rng=generator(7, "fixed"))


class Unseeded(Factorised):
    """Counts its calls, and draws by the count."""

    calls = 0

    def sample(self, n, y=None, *, rng):
        self.calls += 1
        return super().sample(n, rng=generator(self.calls, "unseeded"))


class CrowdedSampler(Factorised):
    """Another temperature in large batches than in small ones."""

    def sample(self, n, y=None, *, rng):
        logits = self.logits * (4.0 if n > 1 else 0.25)
        return choose(logits.expand(n, -1, -1), rng).view(n, *self.space.event_shape)


class HalfSum(Factorised):
    """Adds up its terms one after another in ``dtype``."""

    def __init__(self, space: Space, dtype=torch.float16):
        super().__init__(space, sharpness=0.0)
        self.dtype = dtype

    def log_prob(self, x, y=None):
        total = torch.zeros(len(x), dtype=self.dtype)
        for column in self.terms(x).unbind(1):
            total = total + column.to(self.dtype)
        return total


class OutOfRange(Factorised):
    """A level more than there is."""

    def sample(self, n, y=None, *, rng):
        return super().sample(n, rng=rng) + 1


class Unrounded(Factorised):
    """Numbers where integers are due."""

    def sample(self, n, y=None, *, rng):
        return super().sample(n, rng=rng) + 0.25


class TooFew(Factorised):
    """Drops the last sample."""

    def sample(self, n, y=None, *, rng):
        return super().sample(n, rng=rng)[1:]


class Diverged(nn.Module, ExplicitExact, Sampler):
    """Samples that are not finite, of a model that training has destroyed; honest, and bad."""

    def __init__(self, space: Space):
        super().__init__()
        self.space = Space(space.event_shape, Continuous())

    def log_prob(self, x, y=None):
        return torch.full((len(x),), -math.inf)

    def sample(self, n, y=None, *, rng):
        return torch.full((n, *self.space.event_shape), math.nan)


class Copies(Factorised):
    """Returns training examples."""

    def __init__(self, data):
        super().__init__(data.space)
        self.train_x = data.split("train").x.long()

    def sample(self, n, y=None, *, rng):
        return self.train_x[torch.randint(len(self.train_x), (n,), generator=rng)]


class Encoding(LatentVariable):
    """Three latents with any posterior, of given locations and scales for integers; the density is no matter."""

    def __init__(self, space: Space, posterior, *, latents=3):
        self.space, self.family, self.latents = space, posterior, latents

    def prior(self, y=None):
        return Independent(Normal(torch.zeros(self.latents), 1.0), 1)

    def posterior(self, x, y=None):
        base = x.flatten(1)[:, :1].double() + torch.arange(self.latents)
        return self.family(base.sin(), 0.1 + base.cos().square())

    def likelihood(self, z, y=None):
        logits = torch.zeros(len(z), *self.space.event_shape, self.space.support.levels)
        return Independent(Categorical(logits=logits), len(self.space.event_shape))


class VarianceForScale(Normal):
    """Draws by the variance where its density has the standard deviation."""

    def sample(self, sample_shape=()):
        with torch.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.loc + self.scale.square() * torch.randn(shape, dtype=self.loc.dtype)


class Narrower(Normal):
    """Draws that are a tenth narrower than stated."""

    def sample(self, sample_shape=()):
        with torch.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.loc + 0.9 * self.scale * torch.randn(shape, dtype=self.loc.dtype)


class NarrowerWithGradient(Normal):
    """The same, where draws have gradients only."""

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.loc + 0.9 * self.scale * torch.randn(shape, dtype=self.loc.dtype)


class NarrowLaplace(Laplace):
    """Draws that are a tenth narrower than stated."""

    def sample(self, sample_shape=()):
        with torch.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=()):
        return self.loc + 0.9 * (super().rsample(torch.Size(sample_shape)) - self.loc)


class ForgottenLogDet(TransformedDistribution):
    """The density of the base, for values that were transformed."""

    def log_prob(self, value):
        for transform in reversed(self.transforms):
            value = transform.inv(value)
        return self.base_dist.log_prob(value)


class Stretched(Distribution):
    """Two-sided hierarchy: a Gaussian, and another about it; its density is exact, its draws are stretched."""

    arg_constraints: ClassVar = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc, scale, stretch=1.0):
        self.upper, self.scale, self.stretch = Independent(Normal(loc, scale), 1), scale, stretch
        super().__init__(loc.shape[:-1], torch.Size([2 * loc.shape[-1]]))

    def rsample(self, sample_shape=()):
        upper = self.upper.rsample(torch.Size(sample_shape))
        return torch.cat([upper, self.stretch * (self.lower(upper).rsample() - upper) + upper], -1)

    def lower(self, upper):
        return Independent(Normal(upper, self.scale), 1)

    def log_prob(self, value):
        upper, lower = value.chunk(2, -1)
        return self.upper.log_prob(upper) + self.lower(upper).log_prob(lower)


def wide(loc, scale, factor=0.25):
    """A Gaussian through an affine map, with the density of a transformed distribution."""
    return TransformedDistribution(Independent(Normal(loc, scale), 1), [AffineTransform(1.0, factor, event_dim=1)])


def forgotten(loc, scale, factor=0.25):
    """The same without its log-determinant."""
    return ForgottenLogDet(Independent(Normal(loc, scale), 1), [AffineTransform(1.0, factor, event_dim=1)])


class AnswersByProcess(Masked):
    """Adds to every answer what the hash of a word is in this process."""

    def conditionals(self, x, y=None):
        given = super().conditionals(x, y)
        pull = torch.linspace(0, hash("torchstone") % 9_973 / 9_973, self.space.support.levels).to(given.logits)
        return Categorical(logits=given.logits + pull)


class DrawsByProcess(Masked):
    """Draws with a seed that the hash of a word is added to."""

    def sample(self, n, y=None, *, rng):
        return super().sample(n, y, rng=generator(hash("torchstone") % 2**32, str(rng.initial_seed())))


class CannotBeKept(Masked):
    """Holds a function that no file can hold."""

    def __init__(self, space: Space = COLOURS):
        super().__init__(space)
        self.extra = lambda: None


class ForgetsWhenKept(Masked):
    """Honest, and its copy from a file has other weights."""

    def __setstate__(self, state):
        super().__setstate__(state)
        with torch.no_grad():
            self.mix.zero_()


class NotElsewhere(Masked):
    """Can be brought to life in the process alone in which it was made."""

    def __init__(self, space: Space = COLOURS):
        super().__init__(space)
        self.born = os.getpid()

    def __setstate__(self, state):
        super().__setstate__(state)
        if self.born != os.getpid():
            raise RuntimeError("Nobody is at home here.")


class RemembersInItsClass(Masked):
    """Honest: keeps what it learned where no copy of it has it, in the class."""

    learned: ClassVar[float] = 0.0

    def conditionals(self, x, y=None):
        given = super().conditionals(x, y)
        pull = torch.linspace(0, type(self).learned, self.space.support.levels).to(given.logits)
        return Categorical(logits=given.logits + pull)
