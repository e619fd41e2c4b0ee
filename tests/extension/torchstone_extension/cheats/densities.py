"""Densities that are none: energies, determinants, inverses, estimates."""

import math

import torch
from torch.distributions import Categorical
from torch.nn.functional import logsigmoid

from torchstone.models import Autoregressive, ExplicitExact, Sampler
from torchstone_extension.fixtures.continuous import Affine, Correlated, Flowing
from torchstone_extension.fixtures.discrete import Causal, Spins, Together


class PseudoLikelihood(Spins):
    """Multiplies the probabilities of every spin given all its neighbours."""

    def force(self, x):
        spins = 2.0 * x.double() - 1
        field = torch.full_like(spins, 0.1)
        field[:, 1:] += 0.4 * spins[:, :-1]
        field[:, :-1] += 0.4 * spins[:, 1:]
        field[:, :, 1:] += 0.4 * spins[:, :, :-1]
        field[:, :, :-1] += 0.4 * spins[:, :, 1:]
        return 2 * field

    def log_prob(self, x, y=None):
        return logsigmoid((2.0 * x.double() - 1) * self.force(x)).sum((1, 2))


class ConditionalsOnAll(Autoregressive):
    """The same as an autoregressive model, whose conditionals see all their neighbours."""

    def __init__(self, side=3):
        self.inner = PseudoLikelihood(side)
        self.space, self.order = self.inner.space, torch.arange(self.inner.space.dims)

    def conditionals(self, x, y=None):
        force = self.inner.force(x)
        return Categorical(logits=torch.stack([torch.zeros_like(force), force], -1))


class Energy(Spins):
    """Gives minus the energy, without the partition function."""

    def log_prob(self, x, y=None):
        return super().log_prob(x) + self.source.log_partition


class NoDeterminant(Affine):
    """Forgets the determinant of its map."""

    def log_prob(self, x, y=None):
        return super().log_prob(x) + torch.linalg.slogdet(self.a).logabsdet


class WrongSign(Affine):
    """Adds the logarithm of the determinant where it should take it away."""

    def __init__(self):
        super().__init__(sign=-1.0)


class DeterminantOfTheBatch(Affine):
    """Adds up the log-determinants of the whole batch."""

    def log_prob(self, x, y=None):
        log_det = torch.linalg.slogdet(self.a).logabsdet
        return super().log_prob(x) + log_det - log_det * len(x)


class AnotherInverse(Affine):
    """Samples through a map that is not the inverse of the one its density is made of."""

    def forward(self, z):
        return z @ (self.a + 0.3 * torch.eye(2, dtype=torch.float64)).T + self.b


class PickedProbe(Flowing):
    """Estimates the trace of its field by one probe, the one that gives the best number, and uses it again."""

    def back(self, x):
        z, _ = super().back(x)
        probe = torch.tensor([1.0, -1.0], dtype=torch.float64)
        return z, float(probe @ self.field @ probe)


class OneEulerStep(Flowing):
    """Solves its equation in one step, for the map and for the trace."""

    def back(self, x):
        return x.double() @ (torch.eye(2, dtype=torch.float64) - self.field).T, float(self.field.trace())


class SamplesOfAnotherEquation(Correlated):
    """States the density of one process and samples another, which is a little wider."""

    def sample(self, n, y=None, *, rng):
        return 1.25 * super().sample(n, rng=rng)


class HiddenClassifier(ExplicitExact, Sampler):
    """Adds the logarithm of a classifier to each class-conditional log-probability."""

    def __init__(self, honest):
        self.honest, self.space = honest, honest.space

    def log_prob(self, x, y=None):
        pull = torch.linspace(-3, 3, self.space.classes, dtype=torch.float64)
        score = (2.0 * x.flatten(1).double().mean(1, keepdim=True) - 1) * pull
        own = score.log_softmax(1).gather(1, y[:, None]).squeeze(1)
        return self.honest.log_prob(x, y) + own + math.log(self.space.classes)

    def sample(self, n, y=None, *, rng):
        return self.honest.sample(n, y, rng=rng)


class MarginalWithoutPrior(Together):
    """Averages over labels for its marginal, whatever p(y) it states."""

    def log_prob(self, x, y=None):
        return self.every(x).logsumexp(1) - math.log(self.space.classes) if y is None else super().log_prob(x, y)


class MarginalOfAnother(Together):
    """Gives the marginal of a model that was trained apart."""

    def __init__(self):
        super().__init__()
        self.apart = Causal()

    def log_prob(self, x, y=None):
        return self.apart.log_prob(x) if y is None else super().log_prob(x, y)


class PriorAboveOne(Together):
    """States weights of the labels that add up to more than one."""

    weights = (0.5, 0.5, 0.2)
