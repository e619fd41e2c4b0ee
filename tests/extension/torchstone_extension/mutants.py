"""Models with one mistake each, by the name of the mistake."""

import os
import signal
import time

import torch
from torch.distributions import Categorical, Independent, Normal

from torchstone.models import (
    Autoregressive,
    Continuous,
    Discrete,
    ExplicitExact,
    Implicit,
    LatentVariable,
    Space,
    Split,
    Trainable,
)
from torchstone_extension.honest import GaussianVAE, Uniform


class _Adapter(ExplicitExact):
    def __init__(self, space: Space):
        self.space = space

    def log_prob(self, x, y=None):
        return self.answer(x, torch.full((len(x),), -5.0))

    def answer(self, x, right):
        raise NotImplementedError


class Averaged(_Adapter):
    """One mean for the whole batch."""

    def answer(self, x, right):
        return right.mean()


class PerDimension(_Adapter):
    """Log-densities left apart by dimension."""

    def answer(self, x, right):
        return right[:, None].expand(len(x), x[0].numel())


class Integers(_Adapter):
    """Log-densities as integers."""

    def answer(self, x, right):
        return right.long()


class NotATensor(_Adapter):
    """A list."""

    def answer(self, x, right):
        return right.tolist()


class NaNs(_Adapter):
    """NaN for one example in every batch."""

    def answer(self, x, right):
        right = right.clone()
        right[0] = torch.nan
        return right


class Raises(_Adapter):
    """Raises on the second batch."""

    calls = 0

    def answer(self, x, right):
        type(self).calls += 1
        if type(self).calls > 1:
            raise ValueError("the weights are in another castle")
        return right


class Prints(_Adapter):
    """Prints to standard output."""

    def answer(self, x, right):
        print("a model that talks")
        return right


class Segfaults(_Adapter):
    """Takes its process down with a signal."""

    def answer(self, x, right):
        os.kill(os.getpid(), signal.SIGSEGV)
        return right


class Exits(_Adapter):
    """Ends its process."""

    def answer(self, x, right):
        os._exit(7)


class Hangs(_Adapter):
    """Never answers."""

    def answer(self, x, right):
        time.sleep(3600)
        return right


class Hungry(_Adapter):
    """Runs out of memory on more than ten examples."""

    def answer(self, x, right):
        if len(x) > 10:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory")
        return right


class Insatiable(_Adapter):
    """Runs out of memory whatever it is given."""

    def answer(self, x, right):
        raise torch.OutOfMemoryError("CUDA out of memory.")


class MeanOverDims(ExplicitExact):
    """Averages over dimensions where it should add, with the right shape."""

    def __init__(self, source):
        self.space, self.source = source.space, source

    def log_prob(self, x, y=None):
        return self.source.log_prob(x) / self.space.dims


class Lattice(Uniform):
    """Puts spikes of density on the undequantised values, and is uniform elsewhere."""

    def log_prob(self, x, y=None):
        levels = 256
        on = (x * levels - (x * levels).round()).abs() < 1e-9
        return super().log_prob(x) + 20.0 * on.flatten(1).sum(1)


class Slope255(Continuous):
    """A support that divides by 255 and states the constant of 256."""

    def dequantise(self, x, noise, levels):
        return (x.double() + noise.double()) / (levels - 1)


class Dependent(Autoregressive):
    """Conditionals that forget the event: one distribution per example."""

    def __init__(self, space: Space):
        self.space, self.order = space, torch.arange(space.dims)

    def conditionals(self, x, y=None):
        return Independent(Categorical(logits=torch.zeros(*x.shape, self.space.support.levels)), x.ndim - 1)


class GaussianOnIntegers(Autoregressive):
    """A Gaussian density reported as the probability of integers."""

    def __init__(self, space: Space):
        self.space, self.order = space, torch.arange(space.dims)

    def conditionals(self, x, y=None):
        return Normal(x.double(), 1e-3)


class LooseLikelihood(LatentVariable):
    """A likelihood over pixels in place of one over whole examples."""

    def __init__(self, space: Space):
        self.space = space

    def prior(self, y=None):
        return Independent(Normal(torch.zeros(2), 1.0), 1)

    def posterior(self, x, y=None):
        return Independent(Normal(torch.zeros(len(x), 2), 1.0), 1)

    def likelihood(self, z, y=None):
        return Categorical(logits=torch.zeros(len(z), *self.space.event_shape, self.space.support.levels))


class Refused(LatentVariable):
    """A posterior whose scale is negative: torch.distributions refuses it."""

    def __init__(self, space: Space):
        self.space = space
        self.inner = GaussianVAE()

    def prior(self, y=None):
        return self.inner.prior()

    def posterior(self, x, y=None):
        return Independent(Normal(torch.zeros(len(x), 1), -1.0), 1)

    def likelihood(self, z, y=None):
        return Independent(Categorical(logits=torch.zeros(len(z), *self.space.event_shape, 17)), 2)


class BadFit(torch.nn.Module, ExplicitExact, Trainable):
    """Cannot be fitted."""

    def __init__(self, space: Space):
        super().__init__()
        self.space = space

    def log_prob(self, x, y=None):
        return torch.zeros(len(x))

    def fit(self, train: Split, validation: Split, budget, *, rng):
        raise RuntimeError("the loss went up")


class NoSpace(ExplicitExact):
    """Declares no space."""

    def log_prob(self, x, y=None):
        return torch.zeros(len(x))


class NoDensity(Implicit):
    """A sampler, and nothing else."""

    def __init__(self, space: Space):
        self.space = space

    def sample(self, n, y=None, *, rng):
        return torch.zeros(n, *self.space.event_shape, dtype=torch.long)


class FewLevels(_Adapter):
    """Has fewer levels than the data."""

    def __init__(self, space: Space):
        super().__init__(Space(space.event_shape, Discrete(2)))

    def answer(self, x, right):
        return right


def not_a_model(space: Space):
    """A factory that returns no model."""
    return {"space": space}
