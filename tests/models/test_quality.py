"""What the reference models reach with the quick budget: slow, and worth it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor

from torchstone.models import Budget, ExplicitApproximate, ExplicitExact, LatentVariable, Model, Space, Split, Trainable
from torchstone.models.approximate.hierarchical_vae import HierarchicalVAE
from torchstone.models.approximate.vae import vae
from torchstone.models.approximate.vq_transformer import VQTransformer
from torchstone.models.exact.independent import Independent
from torchstone.models.exact.linear_gaussian import LinearGaussian
from torchstone.models.exact.mixture import mixture
from torchstone.models.exact.pixelcnn import PixelCNN
from torchstone.models.exact.rnn import RNN
from torchstone.models.exact.transformer import Transformer
from torchstone.models.implicit.diffusion import Diffusion
from torchstone.models.randomness import generator
from torchstone.suites.data import Dataset, synthetic
from torchstone.suites.data.embedded import digits

pytestmark = pytest.mark.slow

QUICK = 700
DRAWS = 500  # importance samples of the bound of the autoencoder


def mixture_of(space: Space) -> Model:
    return mixture(space)


def vae_of(space: Space) -> Model:
    return vae(space)


MODELS = {
    "mixture": mixture_of,
    "rnn": RNN,
    "transformer": Transformer,
    "pixelcnn": PixelCNN,
    "vae": vae_of,
    "hierarchical_vae": HierarchicalVAE,
    "vq_transformer": VQTransformer,
}


def fitted(build: Callable[[Space], Model], data: Dataset) -> Model:
    torch.manual_seed(0)
    model = build(data.space)
    assert isinstance(model, Trainable)
    model.fit(data.split("train"), data.split("validation"), Budget(QUICK), rng=generator(0, "fit"))
    return model


@torch.no_grad()
def log_probability(model: Model, split: Split) -> Tensor:
    """Of each example in nats: exact, or an importance-weighted lower bound."""
    x, _ = split.batch(0, len(split))
    if isinstance(model, ExplicitExact):
        return torch.cat([model.log_prob(part) for part in x.split(200)]).double()
    rng = generator(0, "bound")
    if not isinstance(model, LatentVariable):
        assert isinstance(model, ExplicitApproximate)
        bound = model.elbo(x, rng=rng)
        return (bound.reconstruction - bound.rate).double()
    bounds = (model.elbo(part.repeat_interleave(DRAWS, 0), rng=rng) for part in x.split(10))
    weights = torch.cat([(bound.reconstruction - bound.rate).view(-1, DRAWS) for bound in bounds])
    return weights.double().logsumexp(1) - math.log(DRAWS)


@cache
def on_digits(name: str) -> Tensor:
    """Bits per dimension of each test digit."""
    data = digits()
    model = fitted({"independent": Independent, **MODELS}[name], data)
    return -log_probability(model, data.split("test")) / data.space.dims / math.log(2)


@pytest.mark.parametrize("name", MODELS)
def test_beats_independent_on_digits(name):
    """The paired 95 % interval of the difference excludes zero."""
    gain = on_digits("independent") - on_digits(name)
    assert gain.mean() - 1.96 * gain.std() / math.sqrt(len(gain)) > 0


def test_the_best_exact_model_of_digits():
    assert min(on_digits(name).mean() for name in ("rnn", "transformer", "pixelcnn")) < 1.90


@pytest.mark.parametrize(
    ("source", "build"),
    [
        (synthetic.bernoulli, Transformer),
        (synthetic.markov, Transformer),
        (synthetic.ising, Transformer),
        (synthetic.mixture, mixture_of),
        (synthetic.linear_gaussian, LinearGaussian),
    ],
    ids=["bernoulli", "markov", "ising", "mixture", "linear_gaussian"],
)
def test_reaches_the_entropy(source, build):
    """Within 0.05 bits per dimension (nats where continuous), and no better than the truth by three standard errors.

    Differences are paired with the source's own density, which takes out the luck of the examples.
    """
    data = source()
    model = fitted(build, data)
    test = data.split("test")
    x, _ = test.batch(0, len(test))
    if x.is_floating_point():
        test = Split(x.float(), None, test.ids)
    excess = data.source.log_prob(x) - log_probability(model, test)
    unit = 1.0 if x.is_floating_point() else math.log(2)
    assert excess.mean() / data.space.dims / unit < 0.05
    assert excess.mean() > -3 * excess.std() / math.sqrt(len(excess))


def test_labels_help_the_independent_model_of_digits():
    data = digits()
    model = Independent(data.space, conditional=True)
    model.fit(data.split("train"), data.split("validation"), Budget(QUICK), rng=generator(0, "fit"))
    x, y = data.split("test").batch(0, len(data.split("test")))
    bits = -model.log_prob(x, y).detach() / data.space.dims / math.log(2)
    assert bits.mean() < on_digits("independent").mean()


def test_the_bound_of_diffusion_beats_the_independent_density_of_digits():
    """The paired 95 % interval of the difference lies above a tenth of a bit per dimension."""
    data = digits()
    model = fitted(lambda space: Diffusion(space, width=128, blocks=2, batch=128), data)
    bits = -log_probability(model, data.split("test")) / data.space.dims / math.log(2)
    gain = on_digits("independent") - bits
    assert gain.mean() - 1.96 * gain.std() / math.sqrt(len(gain)) > 0.1
