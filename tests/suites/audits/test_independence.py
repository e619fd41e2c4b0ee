"""What is said of an example does not depend on its neighbours, up to rounding and no further."""

import math

import pytest
import torch
from torchstone_extension import invariants
from torchstone_extension.data import dataset
from torchstone_extension.honest import FreeBound, GaussianVAE, LinearGaussianVAE

from torchstone.models import Continuous, Discriminative, Encoder, ExplicitExact, Space
from torchstone.models.exact.gaussian_mixture import GaussianMixture
from torchstone.models.exact.transformer import Transformer
from torchstone.suites.audits.independence import BatchIndependence


@pytest.mark.parametrize(
    "model", [invariants.Factorised, invariants.Masked, invariants.Constant, invariants.PointMass, invariants.Renormed]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_honest_models_pass_in_any_precision(look, images, model, dtype):
    if dtype == torch.float16 and model is invariants.Masked:
        pytest.skip("half precision has no such product on this machine's processor")
    finding = look(BatchIndependence(), model(images.space).to(dtype), images).finding
    assert finding.verdict == "pass"


def test_a_transformer_in_single_precision_passes_for_what_rounding_is(look, images):
    finding = look(BatchIndependence(), Transformer(images.space, width=16, heads=2), images).finding
    assert finding.verdict == "pass" and "Samples" in finding.witness


@pytest.mark.parametrize(
    "mutant", [invariants.BatchNormed, invariants.Whitened, invariants.SizeDependent, invariants.NormalisedOverSpace]
)
def test_statistics_of_the_batch_are_found(look, images, mutant):
    finding = look(BatchIndependence(), mutant(images.space), images).finding
    assert finding.verdict == "fail" and "in double precision" in finding.witness


class Whispering(invariants.Factorised):
    """Hears the batch as softly as single precision rounds."""

    def log_prob(self, x, y=None):
        return super().log_prob(x) + 3e-6 * x.double().mean()


def test_a_leak_as_small_as_rounding_is_told_from_it_in_double_precision(look, images):
    assert look(BatchIndependence(), Whispering(images.space), images).finding.verdict == "fail"


class IllConditioned(ExplicitExact):
    """A Gaussian whose covariance is all but singular: rounding moves its log-density by more than a nat; honest."""

    def __init__(self, space):
        self.space = space
        rng = torch.Generator().manual_seed(0)
        basis = torch.linalg.qr(torch.randn(3, 3, generator=rng, dtype=torch.float64)).Q
        self.root = basis @ torch.diag(torch.tensor([1.0, 1.0, 1e6], dtype=torch.float64)) @ basis.T
        self.repeats = 7

    def log_prob(self, x, y=None):
        # another order of summation in batches of another size, as matrix products have it
        white = x.to(self.root) @ self.root.T
        parts = white.square().sum(1) if len(x) % 2 else white.flip(1).square().flip(1).sum(1)
        return -0.5 * parts - (white * 0.1).sum(1) * (1 + torch.finfo(white.dtype).eps * (len(x) % 5))


def test_bad_conditioning_is_rounding_however_large(look):
    x = torch.randn(100, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    data = dataset(x, None, support=Continuous(-math.inf, math.inf))
    assert look(BatchIndependence(), IllConditioned(data.space), data).finding.verdict == "pass"
    mixture = GaussianMixture(data.space, components=2)
    assert look(BatchIndependence(), mixture, data).finding.verdict == "pass"


def test_latents_and_bounds_are_asked_too(look):
    x = torch.randn(80, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    data = dataset(x, None, support=Continuous(-math.inf, math.inf))
    assert look(BatchIndependence(), LinearGaussianVAE(), data).finding.verdict == "pass"
    line = dataset(x[:, :1], None, support=Continuous(-math.inf, math.inf))
    judged = look(BatchIndependence(), FreeBound(line.space), line)
    assert judged.finding.verdict == "pass" and "Draws of the bound" in judged.finding.witness


class Centred(GaussianVAE):
    """A posterior about the mean of the batch."""

    def posterior(self, x, y=None):
        posterior = super().posterior(x)
        base = posterior.base_dist
        return torch.distributions.Independent(torch.distributions.Normal(base.loc + x.mean(), base.scale), 1)


class CentredBound(FreeBound):
    """The same, which only says its bound."""

    def __init__(self, space):
        super().__init__(space)
        self.inner = Centred(space)


def test_a_posterior_that_sees_the_batch_fails(look):
    x = 5 * torch.randn(80, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    data = dataset(x, None, support=Continuous(-math.inf, math.inf))
    assert look(BatchIndependence(), Centred(data.space), data).finding.verdict == "fail"
    # a bound alone is only a draw: thirty-two of them see a large effect, by a p-value
    judged = look(BatchIndependence(), CentredBound(data.space), data)
    assert judged.finding.p_value is not None


class Features(Encoder, Discriminative):
    """Features and classes of an image, each scaled by the batch where it is told to be."""

    def __init__(self, space, features=0.0, classes=0.0):
        self.space, self.features, self.classes = space, features, classes

    def encode(self, x):
        flat = x.double().flatten(1)
        return flat - self.features * flat.mean(0)

    def log_prob_label(self, x):
        flat = x.double().flatten(1)
        return (flat - self.classes * flat.mean(0)).log_softmax(1)


def test_features_and_classes_are_asked_too(look, images):
    assert look(BatchIndependence(), Features(images.space), images).finding.verdict == "pass"
    assert look(BatchIndependence(), Features(images.space, features=0.1), images).finding.verdict == "fail"
    assert look(BatchIndependence(), Features(images.space, classes=0.1), images).finding.verdict == "fail"


def test_a_sampler_that_is_colder_in_large_batches_fails_by_its_p_value(look, images):
    judged = look(BatchIndependence(), invariants.CrowdedSampler(images.space, sharpness=2.0), images)
    assert judged.finding.verdict == "fail" and judged.finding.p_value < 1e-4


def test_the_test_of_samplers_keeps_its_level(look):
    """Of 60 seeds on two bits, about a tenth are below a tenth; more than 14 would come once in a thousand times."""
    data = dataset(torch.randint(2, (40, 2)), 2)
    model = invariants.Factorised(Space((2,), data.space.support))
    p = [look(BatchIndependence(), model, data, seed=seed).finding.p_value for seed in range(60)]
    assert sum(value < 0.1 for value in p) <= 14
