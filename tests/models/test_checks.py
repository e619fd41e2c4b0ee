"""The public conformance checks find what is wrong, by name, and let honest models pass."""

import pytest
import torch
from torch.distributions import Categorical, Independent
from torchstone_extension import honest, mutants
from torchstone_extension.cheats.densities import PriorAboveOne
from torchstone_extension.fixtures.discrete import Together

from torchstone.models import (
    Continuous,
    Discrete,
    Discriminative,
    Encoder,
    Enumerable,
    ExplicitApproximate,
    ExplicitExact,
    ModelError,
    Sampler,
    Space,
    Tokenised,
)
from torchstone.models.checks import check_model, checks_for, require_model
from torchstone.models.exact.independent import Independent as IndependentModel
from torchstone.models.model import Elbo

SPACE = Space((2, 3), Discrete(4))


class Base(ExplicitExact):
    def __init__(self, space=SPACE):
        self.space = space

    def log_prob(self, x, y=None):
        return -x.double().flatten(1).sum(1)


@pytest.mark.parametrize(
    "model",
    [
        honest.HMM(),
        honest.AffineFlow(),
        honest.GaussianVAE(),
        honest.FreeBound(),
        honest.LinearGaussianVAE(),
        honest.Labelled(Space((2,), Discrete(4), classes=3)),
        Together(),
        honest.DiscretisedLogistics(SPACE),
        IndependentModel(SPACE),
    ],
    ids=lambda model: type(model).__name__,
)
def test_an_honest_model_passes(model):
    assert check_model(model) == tuple(check.name for check in checks_for(model))


class InPlace(Base):
    def log_prob(self, x, y=None):
        return -x.clamp_(max=0).double().flatten(1).sum(1)


class Noisy(Base):
    def log_prob(self, x, y=None):
        return torch.rand(len(x))


class BatchMean(Base):
    def log_prob(self, x, y=None):
        return super().log_prob(x) - x.double().mean()


class Counter(torch.nn.Module, Base):
    def __init__(self):
        super().__init__()
        self.space = SPACE
        self.register_buffer("seen", torch.zeros(()))

    def log_prob(self, x, y=None):
        self.seen += 1
        return -x.double().flatten(1).sum(1)


class Unasked(Base):
    def __init__(self):
        super().__init__(Space((2,), Discrete(4), classes=3))


class Unmarginalised(Together):
    def log_prob(self, x, y=None):
        if y is None:
            raise ModelError("Pass the labels y.")
        return super().log_prob(x, y)


class WithoutLabels(Together):
    def __init__(self):
        super().__init__()
        self.space = Space((4,), Discrete(2))

    def log_prob(self, x, y=None):
        return torch.zeros(len(x))


class WrongOrder(honest.DiscretisedLogistics):
    def __init__(self):
        super().__init__(SPACE)
        self.order = torch.zeros(6, dtype=torch.long)


class FreeElbo(ExplicitApproximate):
    space = SPACE

    def elbo(self, x, y=None, *, rng):
        return Elbo(torch.rand(len(x)), torch.rand(len(x)))


class Flat(mutants.LooseLikelihood):
    def likelihood(self, z, y=None):
        return Independent(Categorical(logits=torch.zeros(len(z), 2, 3, 4)), 1)


class Sampling(Sampler):
    space = SPACE

    def __init__(self, draw):
        self.draw = draw

    def sample(self, n, y=None, *, rng):
        return self.draw(n, rng)


class Features(Encoder):
    space = SPACE

    def encode(self, x):
        return x.float()


class Classes(Discriminative):
    space = SPACE

    def log_prob_label(self, x):
        return torch.zeros(len(x), 3)


class Lossy(Tokenised):
    space = SPACE

    def tokenise(self, data):
        return torch.tensor([*data.lower(), 256])

    def detokenise(self, tokens):
        return bytes(tokens[:-1].tolist())


class NotTiny(Base, Enumerable):
    def tiny(self):
        return Base(Space((17,), Discrete(2)))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (InPlace(), "changed its input in place"),
        (Noisy(), "two answers to one question"),
        (BatchMean(), "depend on the other examples"),
        (Counter(), "changed the model's own state"),
        (Unasked(), "answered without labels"),
        (PriorAboveOne(), "log_prior_label do not sum to one"),
        (Unmarginalised(), "Pass the labels y"),
        (WithoutLabels(), "its space has none"),
        (mutants.Averaged(SPACE), "one floating-point number"),
        (mutants.PerDimension(SPACE), "one floating-point number"),
        (mutants.Integers(SPACE), "int64"),
        (WrongOrder(), "no permutation"),
        (FreeElbo(), "differs under one generator"),
        (Flat(SPACE), "elbo().reconstruction returned torch.float32 of shape (4, 2)"),
        (Sampling(lambda n, rng: torch.zeros(n, 2, 2, dtype=torch.long)), "sample(4) returned shape"),
        (Sampling(lambda n, rng: torch.rand(n, 2, 3).mul(4).long()), "sample differs under one generator"),
        (Sampling(lambda n, rng: torch.zeros(n, 2, 3)), "return integers"),
        (Sampling(lambda n, rng: torch.full((n, 2, 3), 4)), "left the declared support"),
        (Features(), "shape (N, D)"),
        (Classes(), "do not sum to one"),
        (Lossy(), "lose nothing"),
        (NotTiny(), "2^17 states"),
        (Base(Space((2,), Discrete(1))), "fewer than two levels"),
        (Base(Space((), Discrete(2))), "no dimensions"),
        (Base(Space((2,), Continuous(1.0, 1.0))), "is empty"),
        (mutants.NoSpace(), "set it in __init__"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_a_model_that_breaks_its_word_is_told_which(model, words):
    with pytest.raises(ModelError) as told:
        check_model(model)
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("wrapped", "words"),
    [
        (lambda m: torch.compile(m), "model.compile()"),
        (lambda m: torch.nn.DataParallel(m), "DataParallel.module"),
        (lambda m: "a string", "A str is no Torchstone model"),
    ],
)
def test_what_hides_a_model_is_named(wrapped, words):
    with pytest.raises(ModelError, match=words.replace("(", r"\(").replace(")", r"\)")):
        require_model(wrapped(IndependentModel(SPACE)))
