from __future__ import annotations

import math

import pytest
import torch

from torchstone.harness.identity import state_digest
from torchstone.models import Budget, Continuous, Discrete, LatentVariable, ModelError, Space, family
from torchstone.models.approximate.vq_transformer import VQTransformer
from torchstone.models.checks import check_model
from torchstone.models.randomness import generator

SPACE = Space((2, 2), Discrete(5), classes=2)


def build(space: Space = SPACE, conditional: bool = False) -> VQTransformer:
    return VQTransformer(
        space, tokens=2, codes=4, features=3, width=16, hidden=8, heads=2, batch=8, conditional=conditional
    )


def bound(model: VQTransformer, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
    elbo = model.elbo(x, y, rng=generator(0, "elbo"))
    return elbo.reconstruction - elbo.rate


@pytest.fixture
def tiny(enumerate_states) -> VQTransformer:
    """The tiny model in double precision; its states differ in their tokens."""
    model = VQTransformer.tiny().double()
    assert len(model.autoencoder.tokens(enumerate_states(model.space)).unique(dim=0)) > 3
    return model


@torch.no_grad()
def exact(model: VQTransformer, every: torch.Tensor) -> torch.Tensor:
    """log p(x): the sum over all nine codes."""
    codes = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    logits = model.autoencoder.decode(codes).base_dist.logits
    terms = logits[:, torch.arange(3), every].sum(-1) + model.transformer.log_prob(codes)[:, None]
    return terms.logsumexp(0)


def test_keeps_the_contract():
    check_model(build())
    assert "elbo gives one number per example and follows its generator" in check_model(build(conditional=True))
    assert family(build()) == "explicit-approximate" and not isinstance(build(), LatentVariable)


def test_the_bounds_of_all_states_add_to_less_than_one(enumerate_states, tiny):
    every = enumerate_states(tiny.space)
    assert float(exact(tiny, every).exp().sum()) == pytest.approx(1, abs=1e-9)
    assert bound(tiny, every).exp().sum() <= 1 + 1e-6
    assert (bound(tiny, every) <= exact(tiny, every) + 1e-9).all()


def test_without_the_cost_of_the_tokens_it_is_no_bound(enumerate_states, tiny):
    """Reconstruction alone claims more than all the probability there is."""
    elbo = tiny.elbo(enumerate_states(tiny.space), rng=generator(0, "elbo"))
    assert elbo.reconstruction.exp().sum() > 1


def test_the_parts_add_to_the_rate():
    x = torch.arange(12).view(3, 2, 2) % 5
    elbo = build().elbo(x, rng=generator(0, "elbo"))
    assert (elbo.parts["uniform"] == 2 * math.log(4)).all()
    assert sum(elbo.parts.values()).allclose(elbo.rate)


def test_nothing_is_drawn():
    x = torch.arange(12).view(3, 2, 2) % 5
    model, rng = build(), generator(0, "elbo")
    state = rng.get_state()
    first, second = (model.elbo(x, rng=rng) for _ in range(2))
    assert torch.equal(first.rate, second.rate) and torch.equal(rng.get_state(), state)


def test_tokens_are_the_nearest_codes():
    model = build().autoencoder
    x = torch.randint(5, (20, 2, 2), generator=generator(0, "x"))
    features = model.encoder(model.head.read(x)).view(20, 2, 3)
    for token in range(2):
        distances = torch.cdist(features[:, token], model.codebook.weight.view(2, 4, 3)[token])
        assert torch.equal(model.tokens(x)[:, token], distances.argmin(1))


def test_samples_follow_the_probabilities(enumerate_states, tiny):
    from scipy.stats import chi2

    n = 20000
    x = tiny.sample(n, rng=generator(0, "sample"))
    expected = n * exact(tiny, enumerate_states(tiny.space)).exp()
    observed = torch.bincount((x * torch.tensor([9, 3, 1])).sum(1), minlength=27).double()
    rare = expected < 5
    expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
    observed = torch.cat([observed[~rare], observed[rare].sum()[None]])
    statistic = float(((observed - expected) ** 2 / expected.clamp_min(1e-9)).sum())
    assert statistic < chi2.isf(1e-4, len(expected) - 1)


def test_gradients(check_gradients):
    """Straight through the codes to the encoder, and to every part of the transformer."""
    model, x = build(conditional=True), torch.randint(5, (64, 2, 2), generator=generator(0, "x"))
    y = torch.arange(64) % 2
    check_gradients(
        model, (model.autoencoder.loss(x) - model.transformer.log_prob(model.autoencoder.tokens(x), y)).sum()
    )


def test_the_loss_moves_codes_and_features_towards_each_other():
    model = build().autoencoder
    x = torch.randint(5, (5, 2, 2), generator=generator(0, "x"))
    features = model.encoder(model.head.read(x)).view(5, 2, 3)
    codes = model.codebook(model.tokens(x) + torch.tensor([0, 4]))
    distance = (features - codes).square().flatten(1).sum(1)
    reconstruction = model.decode(model.tokens(x)).log_prob(x)
    assert model.loss(x).allclose(1.25 * distance - reconstruction, rtol=1e-4)


def test_fit_is_deterministic_and_kept(check_fit, make_split):
    train = make_split(SPACE, 50)
    x, y = train.batch(0, 5)
    check_fit(lambda: build(conditional=True), lambda model: bound(model, x, y), train)


def test_training_raises_the_bound_and_counts_both_stages(make_split):
    train = make_split(SPACE, 200)
    x, _ = train.batch(0, 200)
    model, seen = build(), []
    before = bound(model, x).mean()
    model.fit(train, train, Budget(300, lambda done, total: seen.append((done, total))), rng=generator(0, "fit"))
    assert bound(model, x).mean() > before + 0.5
    assert len(seen) <= 300 and seen == sorted(seen) and seen[-1][0] <= 300 and {total for _, total in seen} == {300}


@pytest.mark.parametrize("steps", [1, 2])
def test_the_shortest_budgets(make_split, steps):
    model, train = build(), make_split(SPACE, 20)
    model.fit(train, train, Budget(steps), rng=generator(0, "fit"))
    assert bound(model, train.batch(0, 5)[0]).isfinite().all() and not model.autoencoder.training


def test_conditional(check_conditional):
    x = torch.zeros((1, 2, 2), dtype=torch.long)
    check_conditional(build, lambda model, y: bound(model, x, y), SPACE)


def test_refuses_continuous_data():
    with pytest.raises(ModelError, match="vq_transformer applies to discrete data"):
        build(Space((2,), Continuous()))


def test_has_a_digest_of_its_state():
    assert state_digest(VQTransformer.tiny()) == state_digest(VQTransformer.tiny()) is not None
