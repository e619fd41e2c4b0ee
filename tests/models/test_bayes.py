from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from torchstone.models import Budget, Continuous, Discrete, ModelError, Space, capabilities, family
from torchstone.models.approximate.vae import VAE, vae
from torchstone.models.checks import check_model
from torchstone.models.discriminative.bayes import Bayes, BayesBound, _estimated, _summed, bayes
from torchstone.models.discriminative.classifier import Classifier
from torchstone.models.exact.independent import Independent
from torchstone.models.exact.mixture import mixture
from torchstone.models.randomness import generator

SPACE = Space((2, 2), Discrete(5), classes=2)
EXACT = ("independent", "mixture", "transformer", "pixelcnn", "rnn")


def build(density: str = "mixture", space: Space = SPACE) -> Bayes | BayesBound:
    return bayes(space, density=density, candidates=5, width=8)


def tiny() -> Bayes:
    """In double precision, p(y) and all."""
    model = build().tiny().double()
    model.log_prior.copy_(_summed(model.density, model.classifier))
    return model


def given(model: Bayes, x: torch.Tensor) -> torch.Tensor:
    """``log p(x|y)``, ``(N, C)``."""
    classes = model.space.classes
    return torch.stack([model.log_prob(x, torch.full((len(x),), y)) for y in range(classes)], 1).detach()


@pytest.mark.parametrize("density", EXACT)
def test_a_composition_with_an_exact_density_is_exact(density):
    model = build(density)
    assert isinstance(model, Bayes) and family(model) == "explicit-exact"
    assert {"Joint", "Discriminative", "ImportanceResampler", "Enumerable"} <= set(capabilities(model))
    check_model(model)


def test_a_composition_with_a_bound_is_a_bound():
    model = build("vae")
    assert isinstance(model, BayesBound) and family(model) == "explicit-approximate"
    assert "ExplicitExact" not in capabilities(model) and "Joint" not in capabilities(model)
    check_model(model)


@pytest.mark.parametrize("density", EXACT)
def test_the_tiny_instance_sums_to_one_in_every_class(density, enumerate_states):
    model = build(density).tiny()
    totals = given(model, enumerate_states(model.space)).logsumexp(0).exp()
    assert totals.tolist() == pytest.approx([1.0] * 3, abs=1e-5)


def test_every_class_sums_to_one_in_double_precision(enumerate_states):
    model = tiny()
    totals = given(model, enumerate_states(model.space)).logsumexp(0).exp()
    assert totals.tolist() == pytest.approx([1.0] * 3, abs=1e-9)


def test_with_another_prior_it_is_no_density(enumerate_states):
    """A classifier hidden in p(x|y): the sum is E p(y|x) over the frequency that was put in the place of p(y)."""
    model = tiny()
    own, frequencies = model.log_prior.exp().clone(), torch.tensor([0.5, 0.3, 0.2], dtype=torch.double)
    model.log_prior.copy_(frequencies.log())
    totals = given(model, enumerate_states(model.space)).logsumexp(0).exp()
    assert totals.tolist() == pytest.approx((own / frequencies).tolist(), rel=1e-9)
    assert float(totals.max()) > 1.05


def test_density_and_marginal_belong_to_one_joint_density(enumerate_states):
    """Whatever the prior: an error of p(y) is one constant of each class, and cancels."""
    model = tiny()
    x = enumerate_states(model.space)
    for prior in (model.log_prior.clone(), torch.tensor([0.7, 0.2, 0.1], dtype=torch.double).log()):
        model.log_prior.copy_(prior)
        together = (given(model, x) + model.log_prior_label()).logsumexp(1)
        assert torch.allclose(together, model.log_prob(x), rtol=1e-12)
        posterior = given(model, x) + model.log_prior_label() - together[:, None]
        assert torch.allclose(posterior, model.log_prob_label(x), rtol=1e-9, atol=1e-12)


def test_the_prior_is_the_labels_that_the_density_draws():
    """Within four of the standard errors that are stated, for three classes: false alarms 2 in 10,000."""
    model = tiny()
    found = _estimated(model.density, model.classifier, generator(1, "draws")).exp()
    own = model.log_prior.exp()
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-12)
    assert ((found - own).abs() < 4 * (own * (1 - own) / 10_000).sqrt()).all()


def test_fitting_estimates_the_prior_and_before_it_is_uniform(make_split):
    train, model = make_split(SPACE, 100), build()
    assert model.log_prior_label().exp().tolist() == pytest.approx([0.5, 0.5])
    steps = []
    budget = Budget(30, lambda done, total: steps.append((done, total)))
    model.fit(train, train, budget, rng=generator(0, "fit"))
    assert model.log_prior_label().exp().sum() == pytest.approx(1.0) and model.log_prior_label()[0] != math.log(0.5)
    assert steps[0] == (1, 60) and steps[-1] == (60, 60) and steps == sorted(steps)


@pytest.mark.parametrize("density", ["mixture", "vae"])
def test_fit_is_deterministic_and_kept(check_fit, make_split, density):
    train = make_split(SPACE, 60)
    x, y = train.batch(0, 9)

    def answer(model: Bayes | BayesBound) -> torch.Tensor:
        if isinstance(model, Bayes):
            return model.log_prob(x, y)
        model.density.eval()
        prior = model.log_prior.to(torch.double)
        return model.log_prob_label(x) + prior

    check_fit(lambda: build(density), answer, train)


def test_both_parts_get_gradients(check_gradients):
    model = build("independent")
    y = torch.tensor([0, 1])
    check_gradients(model, -model.log_prob(torch.arange(8).view(2, 2, 2) % 5, y).sum())


def test_samples_of_a_class_follow_its_density(enumerate_states):
    """20,000 samples chosen among 100,000 draws: the distance that so many counts have by chance is about 0.01."""
    model = tiny()
    x = enumerate_states(model.space)
    powers = 3 ** torch.arange(model.space.dims).flip(0)
    for label in range(3):
        drawn = model.sample(20_000, torch.full((20_000,), label), rng=generator(label, "samples"))
        counts = torch.bincount((drawn * powers).sum(1), minlength=27).double() / 20_000
        density = model.log_prob(x, torch.full((27,), label)).exp().detach()
        assert float((counts - density).abs().sum()) / 2 < 0.03
        other = model.log_prob(x, torch.full((27,), (label + 1) % 3)).exp().detach()
        assert float((density - other).abs().sum()) / 2 > 0.1, "the classes are told apart"


def test_candidates_are_draws_of_the_density_and_weigh_by_their_label():
    model = build()
    x = model.propose(1500, rng=generator(0, "candidates"))
    assert x.shape == (1500, 2, 2) and x.dtype == torch.int64
    assert torch.equal(model.log_weight(x), torch.zeros(1500, dtype=torch.double))
    y = torch.ones(1500, dtype=torch.long)
    assert torch.equal(model.log_weight(x, y), model.log_prob_label(x)[:, 1])


def test_the_bound_is_that_of_the_density_and_what_the_label_adds():
    model = build("vae")
    x, y = torch.arange(8).view(2, 2, 2) % 5, torch.tensor([0, 1])
    plain, whole = (
        each.elbo(*args, rng=generator(0, "elbo")) for each, args in ((model.density, (x,)), (model, (x, y)))
    )
    added = model.log_prob_label(x).gather(1, y[:, None])[:, 0] - model.log_prior[y]
    assert torch.allclose(whole.reconstruction - plain.reconstruction, added)
    assert torch.equal(whole.rate, plain.rate)
    with pytest.raises(ModelError, match="give it the label"):
        model.elbo(x, rng=generator(0, "elbo"))


def test_the_bound_is_below_the_composition_of_the_summed_density(enumerate_states):
    """The tiny autoencoder, whose p(x) is a mean over a grid of quantiles; means of 400 draws, four standard errors."""
    density = VAE.tiny().double()
    space = Space(density.space.event_shape, density.space.support, 2)
    classifier = Classifier(space, width=8).double()
    for parameter in classifier.parameters():
        nn.init.normal_(parameter, generator=generator(0, "weights"))
    x = enumerate_states(space)
    axis = torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(100, dtype=torch.double) + 0.5) / 100)
    with torch.no_grad():
        logits = density.likelihood(torch.cartesian_prod(axis, axis)).base_dist.logits
        log_p = logits[:, torch.arange(3), x].sum(-1).logsumexp(0) - math.log(10_000)
        model = BayesBound(density, classifier, 5).double()
        labelled = classifier.log_prob_label(x)
        model.log_prior.copy_((log_p[:, None] + labelled).logsumexp(0))
        y = torch.ones(27, dtype=torch.long)
        exact = log_p + labelled[:, 1] - model.log_prior[1]
        bounds = [model.elbo(x, y, rng=generator(seed, "elbo")) for seed in range(400)]
    drawn = torch.stack([each.reconstruction - each.rate for each in bounds])
    assert float(exact.exp().sum()) == pytest.approx(1.0, abs=1e-9)
    assert (drawn.mean(0) - 4 * drawn.std(0) / 20 < exact).all()


def test_continuous_data_have_a_mixture_of_gaussians(make_split):
    space = Space((2,), Continuous(-1.0, 1.0), 2)
    model = build("mixture", space)
    train = make_split(space, 200)
    model.fit(train, train, Budget(20), rng=generator(0, "fit"))
    assert model.log_prob(*train.batch(0, 5)).isfinite().all()
    small = model.tiny()
    assert isinstance(small, Bayes) and small.space.dims <= 2


def test_what_cannot_be_composed_is_refused():
    with pytest.raises(ModelError, match="these data have none"):
        bayes(Space((2, 2), Discrete(5)))
    with pytest.raises(ModelError, match="applies to discrete data"):
        bayes(Space((2,), Continuous(), 2), density="independent")
    with pytest.raises(ModelError, match="takes no labels: build it with conditional=false"):
        Bayes(Independent(SPACE, conditional=True), Classifier(SPACE), 5)
    with pytest.raises(ModelError, match="build both for one space"):
        Bayes(mixture(SPACE), Classifier(Space((4,), Discrete(5), 2)), 5)
    with pytest.raises(ModelError, match=r"labels y of shape \(3,\)"):
        build().log_prob(torch.zeros((3, 2, 2), dtype=torch.long), torch.zeros(2, dtype=torch.long))
    assert vae(SPACE).space.classes is None
