"""The public conformance checks find what is wrong, by name, and let honest models pass."""

import pytest
import torch
from torch.distributions import Categorical, Independent
from torchstone_extension import honest, mutants
from torchstone_extension.cheats.densities import PriorAboveOne
from torchstone_extension.fixtures.discrete import Together

from torchstone.models import (
    Continuous,
    DiffusionChain,
    Discrete,
    Discriminative,
    Encoder,
    Enumerable,
    ExplicitApproximate,
    ExplicitExact,
    ImportanceResampler,
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


class Chain(DiffusionChain):
    """A bound of two parts, of a chain of ten steps, that anything can be changed of."""

    def __init__(self, timesteps=10, parts=("L_T", "L_0")):
        self.space, self.timesteps, self.named = SPACE, timesteps, parts

    def elbo(self, x, y=None, *, rng):
        costs = x.double().flatten(1)
        parts = {"L_T": costs[:, 0], "L_0": costs[:, 1:].sum(1)}
        return Elbo(-parts["L_0"], parts["L_T"], {name: parts[name] for name in self.named})


class Chosen(ImportanceResampler):
    """Draws uniformly, and prefers small values."""

    def __init__(self, candidates=3):
        self.space, self.candidates = SPACE, candidates

    def propose(self, n, *, rng):
        return torch.randint(4, (n, 2, 3), generator=rng)

    def log_weight(self, x, y=None):
        return -x.double().flatten(1).sum(1)


class Hopeless(Chosen):
    def log_weight(self, x, y=None):
        return torch.full((len(x),), -torch.inf)


def test_chains_and_resamplers_are_checked_for_what_they_state():
    assert "the parts of a chain add up to its bound" in check_model(Chain())
    assert "candidates have one weight each" in check_model(Chosen())
    for model, words in {
        Chain(timesteps=0): "timesteps is 0",
        Chain(parts=("L_T",)): "do not add up",
        Chain(parts=()): "do not add up",
        Chosen(candidates=0): "candidates is 0",
    }.items():
        with pytest.raises(ModelError, match=words):
            check_model(model)


def test_a_resampler_draws_in_proportion_to_its_weights():
    """One value in {0, 1, 2, 3} with weights e^-v among 40 candidates each; 4,000 draws, four standard errors."""

    class Single(Chosen):
        def __init__(self):
            self.space, self.candidates = Space((1,), Discrete(4), classes=2), 40

        def propose(self, n, *, rng):
            return torch.randint(4, (n, 1), generator=rng)

        def log_weight(self, x, y=None):
            return (-x.double().flatten(1).sum(1)) * (1 if y is None else 1 - 2 * y.double())

    rng = torch.Generator().manual_seed(0)
    weights = torch.exp(-torch.arange(4.0))
    for label, due in ((0, weights / weights.sum()), (1, weights.flip(0) / weights.sum())):
        x = Single().sample(4000, torch.full((4000,), label), rng=rng)
        found = torch.bincount(x[:, 0], minlength=4) / 4000
        assert ((found - due).abs() < 4 * (due * (1 - due) / 4000).sqrt() * 1.02).all()
    with pytest.raises(ModelError, match="None of 20 candidates is possible"):
        Hopeless(candidates=5).sample(4, rng=rng)
    mixed = Single().sample(4000, torch.arange(4000) % 2, rng=rng)[:, 0]
    assert mixed[::2].double().mean() < 1 < 2 < mixed[1::2].double().mean()
