"""The density that a posterior states is that of its draws, in every family."""

import math

import pytest
import torch
from torch.distributions import (
    Bernoulli,
    Categorical,
    Cauchy,
    Independent,
    Laplace,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    Uniform,
)
from torchstone_extension import invariants
from torchstone_extension.data import dataset
from torchstone_extension.honest import LinearGaussianVAE
from torchstone_extension.invariants import Encoding

from torchstone.models import Continuous
from torchstone.models.approximate.hierarchical_vae import HierarchicalVAE
from torchstone.models.approximate.vae import vae
from torchstone.suites.audits.encoder import EncoderDensity


def each(family):
    return lambda loc, scale: Independent(family(loc, scale), 1)


def full(loc, scale):
    root = torch.diag_embed(scale) + 0.3 * torch.ones(3, 3).tril(-1).to(loc)
    return MultivariateNormal(loc, scale_tril=root)


def low_rank(loc, scale):
    return LowRankMultivariateNormal(loc, scale[..., None], scale)


def bits(loc, scale):
    return Independent(Bernoulli(logits=loc), 1)


def levels(loc, scale):
    return Independent(Categorical(logits=torch.stack([loc, scale, loc * scale], -1)), 1)


def one_hot(loc, scale):
    return OneHotCategorical(logits=loc)


HONEST = {
    "normal": each(Normal),
    "full": full,
    "low rank": low_rank,
    "laplace": each(Laplace),
    "cauchy": each(Cauchy),
    "uniform": lambda loc, scale: Independent(Uniform(loc, loc + scale), 1),
    "transformed": invariants.wide,
    "hierarchy": invariants.Stretched,
    "bits": bits,
    "levels": levels,
    "one hot": one_hot,
    "far": lambda loc, scale: Independent(Normal(1e4 + loc, 1e-5 * scale), 1),
}


@pytest.mark.parametrize("family", HONEST.values(), ids=HONEST)
def test_honest_posteriors_pass(look, images, family):
    for seed in range(3):
        judged = look(EncoderDensity(), Encoding(images.space, family), images, seed=seed)
        assert judged.finding.verdict == "pass" and judged.finding.p_value > 1e-3


def test_honest_models_pass(look, images):
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert look(EncoderDensity(), LinearGaussianVAE(), dataset(x, None, support=REAL)).finding.verdict == "pass"
    finding = look(EncoderDensity(), vae(images.space, latents=4, width=8), images).finding
    assert finding.verdict == "pass" and "chi-square" in finding.witness
    assert finding.pictures["encoder"].startswith(b"\x89PNG")


REAL = Continuous(-math.inf, math.inf)

MUTANTS = {
    "variance for scale": each(invariants.VarianceForScale),
    "narrower": each(invariants.Narrower),
    "narrower with gradient": each(invariants.NarrowerWithGradient),
    "narrow laplace": each(invariants.NarrowLaplace),
    "log-determinant forgotten, shrinking": lambda loc, scale: invariants.forgotten(loc, scale, 0.25),
    "log-determinant forgotten, stretching": lambda loc, scale: invariants.forgotten(loc, scale, 4.0),
    "stretched hierarchy": lambda loc, scale: invariants.Stretched(loc, scale, 0.9),
}


@pytest.mark.parametrize("family", MUTANTS.values(), ids=MUTANTS)
def test_draws_that_do_not_follow_the_stated_density_fail(look, images, family):
    judged = look(EncoderDensity(), Encoding(images.space, family), images)
    assert judged.finding.verdict == "fail" and judged.finding.p_value < 1e-6


class Overstated(Categorical):
    """Masses that add to more than one."""

    def log_prob(self, value):
        return super().log_prob(value) + 0.1


def test_masses_that_add_to_more_than_one_are_proof(look, images):
    def overstated(loc, scale):
        return Independent(Overstated(logits=torch.stack([loc, scale], -1)), 1)

    finding = look(EncoderDensity(), Encoding(images.space, overstated), images).finding
    assert finding.verdict == "fail" and "add to 1.10517 at least" in finding.witness


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_a_scale_that_is_none_is_flagged_in_a_sentence(look, images, scale):
    def broken(loc, _):
        return Independent(Normal(loc, torch.full_like(loc, scale)), 1)

    finding = look(EncoderDensity(), Encoding(images.space, broken), images).finding
    assert finding.verdict == "flag" and ("refuses its own parameters" in finding.witness or "NaN" in finding.witness)


def test_a_model_without_latents_is_not_asked(look, images):
    assert look(EncoderDensity(), invariants.Factorised(images.space), images).finding.verdict == "not-applicable"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["normal", "laplace", "hierarchy", "levels"])
def test_the_level_is_kept(look, images, name):
    """Of 40 seeds, p-values below a tenth come four times; more than 11 would come once in a thousand times."""
    model = Encoding(images.space, HONEST[name])
    p = [look(EncoderDensity(), model, images, seed=seed).finding.p_value for seed in range(40)]
    assert sum(value < 0.1 for value in p) <= 11


class Overstating(Normal):
    """States twenty nats more than the density of its draws."""

    def log_prob(self, value):
        return super().log_prob(value) + 20


class Halved(Normal):
    """Draws half as wide as stated."""

    def sample(self, sample_shape=()):
        return self.loc + (super().sample(sample_shape) - self.loc) / 2


class LoudPrior(LinearGaussianVAE):
    def prior(self, y=None):
        given = super().prior(y)
        return Independent(Overstating(given.base_dist.loc, given.base_dist.scale), 1)


class Sharpened(LinearGaussianVAE):
    def likelihood(self, z, y=None):
        given = super().likelihood(z, y)
        return Independent(Halved(given.base_dist.loc, given.base_dist.scale), 1)


def reals():
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return dataset(x, None, support=REAL)


@pytest.mark.parametrize("model", [LoudPrior, Sharpened])
def test_priors_and_likelihoods_are_held_to_their_draws_too(look, model):
    judged = look(EncoderDensity(), model(), reals())
    assert judged.finding.verdict == "fail" and judged.finding.p_value < 1e-6


@pytest.mark.parametrize("chosen", [{}, {"prior": "flow"}, {"decoder": "gaussian"}], ids=str)
def test_honest_priors_and_likelihoods_pass(look, images, chosen):
    judged = look(EncoderDensity(), vae(images.space, latents=4, width=8, **chosen), images)
    assert judged.finding.verdict == "pass"
    assert all(part in judged.finding.witness for part in ("posterior", "prior", "likelihood"))


def test_honest_hierarchies_and_learned_priors_pass(look, images):
    model = HierarchicalVAE(images.space, width=8)
    assert look(EncoderDensity(), model, images).finding.verdict == "pass"
    learned = vae(images.space, latents=4, width=8)
    loc, scale = torch.tensor([1.0, -2.0, 0.0, 3.0]), torch.tensor([0.1, 1.0, 2.0, 5.0])
    learned.prior = lambda y=None: Independent(Normal(loc, scale), 1)
    assert look(EncoderDensity(), learned, images).finding.verdict == "pass"
