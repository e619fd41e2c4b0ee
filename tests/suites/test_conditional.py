"""The conditional suite: labels by Bayes' rule, with the prior, the noise and the sums that they ought to have."""

import math
from contextlib import nullcontext
from unittest.mock import patch

import pytest
import torch
from torch.distributions import Independent, Normal
from torchstone_extension.data import counts, dataset
from torchstone_extension.fixtures.discrete import Together
from torchstone_extension.fixtures.honest import FIXTURES
from torchstone_extension.honest import LabelledNormal, LabelledUniform, Uniform

from torchstone.models import (
    Budget,
    Continuous,
    Discrete,
    Discriminative,
    Elbo,
    ExplicitApproximate,
    ExplicitExact,
    Implicit,
    ModelError,
    Sampler,
    Space,
    Split,
)
from torchstone.models.approximate.vae import vae
from torchstone.models.discriminative.bayes import bayes
from torchstone.models.discriminative.classifier import Classifier
from torchstone.models.exact.flow import Flow
from torchstone.models.exact.independent import Independent as Positions
from torchstone.models.exact.transformer import Transformer
from torchstone.models.randomness import generator
from torchstone.results.record import Kind
from torchstone.suites.conditional import Conditional
from torchstone.suites.context import Context
from torchstone.suites.data import Dataset
from torchstone.suites.data.dataset import DataError
from torchstone.suites.data.embedded import digits
from torchstone.suites.density import Density
from torchstone.suites.labelled.densities import ClassDensities
from torchstone.suites.labelled.posterior import by_bayes_rule
from torchstone.suites.metrics.classification import label_entropy
from torchstone.suites.questions import ask_elbo

REALS = Continuous(-math.inf, math.inf)
F64 = torch.float64


class TwoNormals(ExplicitExact):
    """p(x|y) = N(x; (-1, 0), I) for label 0 and N(x; (1, 0), I) for label 1."""

    means = torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=F64)

    def __init__(self, support=REALS):
        self.space = Space((2,), support, 2)

    def log_prob(self, x, y=None):
        return Independent(Normal(self.means[y], 1.0), 1).log_prob(x.double())


def measure(model, data, *, batch_size=64, seed=0, pictures=False, **settings):
    suite = Conditional(**settings)
    assert suite.skip(model, data) is None
    undrawn = patch("torchstone.suites.conditional.portraits", lambda *asked: ({}, ()))
    with nullcontext() if pictures else undrawn:
        return suite.evaluate(model, data, Context(batch_size=batch_size, seed=seed))


def scores(evaluation):
    return {
        f"{each.metric} {each.parameters['coverage']}" if "coverage" in each.parameters else each.metric: each
        for each in evaluation.scores
    }


def split(x, y):
    return Split(x, y, torch.arange(len(x)))


def labelled(x, y, *, train=None, classes=2, support=REALS):
    """A dataset whose training labels may be others than those of the test split."""
    parts = {"train": split(x, y if train is None else train), "validation": split(x, y), "test": split(x, y)}
    return Dataset("given", Space(tuple(x.shape[1:]), support, classes), parts, licence="CC0-1.0")


def plane(n, seed=0):
    """``n`` draws, half of each label, from the two normals."""
    y = torch.arange(n) % 2
    return TwoNormals.means[y] + torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=F64), y


# Closed forms


def test_the_posterior_of_two_normals_is_the_known_one():
    """Fixture: priors 3/8 and 5/8, at x = (0.3, 0.2)."""
    x, y = torch.tensor([[0.3, 0.2]], dtype=F64).expand(8, 2).clone(), torch.tensor([0] * 3 + [1] * 5)
    found = measure(TwoNormals(), labelled(x, y))
    known = 0.7522830011875288
    assert found.columns["label_nll"][3:].exp().reciprocal().tolist() == pytest.approx([known] * 5, rel=1e-9)
    assert found.columns["label_nll"][:3].exp().reciprocal().tolist() == pytest.approx([1 - known] * 3, rel=1e-9)
    assert found.columns["confidence"].tolist() == pytest.approx([known] * 8, rel=1e-9)
    by_name = scores(found)
    assert by_name["bayes_accuracy"].value == 5 / 8 and by_name["ece"].value == pytest.approx(known - 5 / 8, rel=1e-9)
    assert by_name["brier"].value == pytest.approx(2 * (3 / 8 * known**2 + 5 / 8 * (1 - known) ** 2), rel=1e-9)


def test_the_accuracy_is_one_less_the_bayes_error():
    """Two normals a distance of two apart: an error of Phi(-1). Four standard errors of 8,000 draws."""
    found = scores(measure(TwoNormals(), labelled(*plane(8000)), batch_size=4000))
    error = 0.15865525393145707
    stderr = math.sqrt(error * (1 - error) / 8000)
    assert found["bayes_accuracy"].value == pytest.approx(1 - error, abs=4 * stderr)
    assert found["bayes_accuracy"].stderr == pytest.approx(stderr, rel=0.05)
    low, high = found["bayes_accuracy"].ci95
    assert low < found["bayes_accuracy"].value < high
    assert found["ece"].value < found["ece"].parameters["null_high"], "the true posterior is calibrated"


def test_what_the_example_tells_is_its_mutual_information():
    """I = H(y) - H(y|x) for the true density, by quadrature over the first coordinate; four standard errors."""
    found = scores(measure(TwoNormals(), labelled(*plane(4000)), batch_size=4000))["information"]
    u = torch.linspace(-9, 9, 20_001, dtype=F64)
    each = torch.stack([Normal(-1.0, 1.0).log_prob(u), Normal(1.0, 1.0).log_prob(u)])
    mixed = each.logsumexp(0) - math.log(2)
    known = float(torch.trapezoid((each.exp() * (each - mixed)).mean(0), u))
    assert found.value == pytest.approx(known, abs=4 * found.stderr) and found.kind is Kind.LOWER_BOUND
    assert found.ci95[0] < found.value < found.ci95[1]


def test_every_mean_over_examples_has_its_column():
    """So that two models can be compared example by example."""
    data = digits()
    found = measure(Positions(Space((8, 8), Discrete(17), 10), conditional=True), data)
    by_name = scores(found)
    for metric in ("bayes_accuracy", "conditional_bits_per_dim", "label_nll", "brier", "information"):
        assert float(found.columns[metric].mean()) == pytest.approx(by_name[metric].value, rel=1e-9), metric
    entropy = label_entropy(data.split("test").y)
    assert by_name["information"].value == pytest.approx(entropy - by_name["label_nll"].value, rel=1e-9, abs=1e-9)


def test_continuous_data_are_in_nats_and_have_no_bits():
    found = scores(measure(TwoNormals(), labelled(*plane(50))))
    assert "bits_per_dim" not in found and found["conditional_nll"].unit == "nats/example"
    assert found["nll"].value > found["conditional_nll"].value


# What Bayes' rule needs


def test_probabilities_of_labels_add_up_to_one():
    """Kills the forgotten sum over labels, with which a probability is above one."""
    rng = torch.Generator().manual_seed(0)
    given, prior = 50 * torch.randn(20, 5, generator=rng, dtype=F64), torch.randn(5, generator=rng, dtype=F64)
    posterior = by_bayes_rule(given, prior.log_softmax(0))
    assert torch.allclose(posterior.log_prob.logsumexp(1), torch.zeros(20, dtype=F64), atol=1e-12)
    assert float((given + prior.log_softmax(0)).max()) > 0


def test_the_prior_is_that_of_the_training_split_and_not_of_the_test_split():
    x, y = plane(40)
    train = torch.cat([torch.zeros(30, dtype=torch.long), torch.ones(10, dtype=torch.long)])
    ours, theirs = (measure(TwoNormals(), labelled(x, y, train=each)) for each in (train, y))
    given = torch.stack([TwoNormals().log_prob(x, torch.full((40,), label)) for label in range(2)], 1)
    for found, share in ((ours, 0.75), (theirs, 0.5)):
        prior = torch.tensor([share, 1 - share], dtype=F64).log()
        posterior = (given + prior).log_softmax(1)
        assert torch.allclose(found.columns["label_nll"], -posterior.gather(1, y[:, None])[:, 0], rtol=1e-9)
        assert torch.allclose(found.columns["nll"], -(given + prior).logsumexp(1), rtol=1e-9)
    assert not torch.allclose(ours.columns["label_nll"], theirs.columns["label_nll"])


def test_a_uniform_prior_is_another_contract():
    x, y = plane(40)
    data = labelled(x, y, train=torch.zeros(40, dtype=torch.long))
    training, uniform = (measure(TwoNormals(), data, prior=prior) for prior in ("training", "uniform"))
    assert (training.contract["prior"], uniform.contract["prior"]) == ("training", "uniform")
    assert scores(uniform)["bayes_accuracy"].value > 0.7 > scores(training)["bayes_accuracy"].value == 0.5


def test_a_class_that_is_missing_in_training_is_never_chosen_and_is_named():
    x, y = plane(40)
    found = measure(TwoNormals(), labelled(x, y, train=torch.zeros(40, dtype=torch.long)))
    assert scores(found)["label_nll"].value == math.inf and scores(found)["label_nll"].parameters["nonfinite"] == 20
    assert scores(found)["information"].value == -math.inf
    assert any("p(y) is zero for class 1" in words and "suite.prior=uniform" in words for words in found.warnings)


def test_a_joint_density_brings_its_own_prior():
    data = FIXTURES["bits and labels"].data()
    found, by_name = measure(Together(), data), scores(measure(Together(), data))
    x, _ = data.split("test").batch(0, len(data.split("test")))
    assert torch.allclose(found.columns["nll"], -Together().log_prob(x).detach(), rtol=1e-9)
    frequencies = torch.bincount(data.split("train").y, minlength=3) / len(data.split("train"))
    own = torch.tensor([0.5, 0.3, 0.2])
    assert by_name["prior_distance"].value == pytest.approx(float((own - frequencies).abs().sum()) / 2, abs=1e-6)
    assert not [words for words in found.warnings if "joint" in words]


class OtherMarginal(Together):
    """States a marginal that is not the sum over its labels."""

    def log_prob(self, x, y=None):
        return super().log_prob(x, y) + (0.01 if y is None else 0.0)


class NoPrior(Together):
    """States a p(y) that adds up to more than one."""

    def log_prior_label(self):
        return torch.zeros(3)


def test_a_marginal_of_another_model_is_told():
    data = FIXTURES["bits and labels"].data()
    found = measure(OtherMarginal(), data)
    assert any("they are of no one joint density" in words for words in found.warnings)
    with pytest.raises(ModelError, match="do not add up to one"):
        measure(NoPrior(), data)


# Identities


def test_conditioning_saves_no_more_than_the_labels_are_worth():
    """The marginal costs at most -log p(y) more than the density given the label, for every single example."""
    data = digits()
    model = Positions(data.space, conditional=True)
    model.fit(data.split("train"), data.split("validation"), Budget(1), rng=generator(0, "fit"))
    found = measure(model, data)
    prior = torch.bincount(data.split("train").y).double() / len(data.split("train"))
    saved = found.columns["nll"] - found.columns["conditional_nll"]
    assert (saved <= -prior.log()[data.split("test").y] + 1e-9).all()
    by_name = scores(found)
    gain = by_name["bits_per_dim"].value - by_name["conditional_bits_per_dim"].value
    assert 0 < gain < math.log2(10) / 64 + 0.001


def permuted(model, order):
    """The same model, whose label ``order[c]`` is what was c."""

    class Permuted(ExplicitExact):
        space = model.space

        def log_prob(self, x, y=None):
            return model.log_prob(x, order.argsort()[y])

    return Permuted()


def test_renaming_the_classes_changes_nothing():
    data = digits()
    model = Positions(data.space, conditional=True)
    model.fit(data.split("train"), data.split("validation"), Budget(1), rng=generator(0, "fit"))
    order = torch.randperm(10, generator=torch.Generator().manual_seed(3))
    renamed = Dataset(
        "renamed", data.space, {k: split(v.x, order[v.y]) for k, v in data.splits.items()}, licence="CC0-1.0"
    )
    before, after = scores(measure(model, data)), scores(measure(permuted(model, order), renamed))
    for name in before:
        assert after[name].value == pytest.approx(before[name].value, rel=1e-9), name


def test_random_labels_are_met_at_chance():
    """Four standard errors about a tenth."""
    data, rng = digits(), torch.Generator().manual_seed(0)
    random = {
        k: split(v.x, torch.randint(10, (len(v),), generator=rng) if k == "test" else v.y)
        for k, v in data.splits.items()
    }
    model = Positions(data.space, conditional=True)
    model.fit(data.split("train"), data.split("validation"), Budget(1), rng=generator(0, "fit"))
    found = scores(measure(model, Dataset("random", data.space, random, licence="CC0-1.0")))
    n = len(data.split("test"))
    assert abs(found["bayes_accuracy"].value - 0.1) < 4 * math.sqrt(0.09 / n)
    assert found["information"].value < 0


def test_the_numbers_do_not_depend_on_the_batch_size():
    data = FIXTURES["bits and labels"].data()
    whole, parts = (measure(Together(), data, batch_size=size) for size in (1000, 3))
    for name in whole.columns:
        assert torch.allclose(whole.columns[name], parts.columns[name], rtol=1e-9), name


# Bounds: the same noise for every label


class FreeBound(ExplicitApproximate):
    """A bound that does not look at the label, and is as noisy as can be."""

    def __init__(self, space):
        self.space = space

    def elbo(self, x, y=None, *, rng):
        noise = 30 * torch.randn(len(x), generator=rng, dtype=F64)
        return Elbo(-x.double().flatten(1).sum(1) + noise, noise * 0)


def test_a_bound_that_does_not_look_at_the_label_leaves_the_prior_as_it_was():
    """With noise of its own for every label it would not."""
    x = torch.randn(120, 2, generator=torch.Generator().manual_seed(0), dtype=F64)
    y = torch.cat([torch.zeros(30, dtype=torch.long), torch.ones(90, dtype=torch.long)])
    data = labelled(x, y)
    for replicates in (1, 7):
        found = measure(FreeBound(data.space), data, replicates=replicates)
        assert found.columns["label_nll"].tolist() == pytest.approx(
            [-math.log(0.25)] * 30 + [-math.log(0.75)] * 90, rel=1e-9
        )
        assert scores(found)["bayes_accuracy_one_draw"].value == 0.75
    own = [ask_elbo(FreeBound(data.space), x, y, generator(label, "noise")) for label in range(2)]
    posterior = by_bayes_rule(torch.stack(own, 1), torch.tensor([0.25, 0.75], dtype=F64).log())
    assert float((posterior.probabilities[:, 1] - 0.75).abs().mean()) > 0.3


class BlindLatent(LabelledNormal):
    """A latent-variable model that does not look at the label either, and whose posterior is a poor one."""

    def prior(self, y=None):
        return Independent(Normal(torch.zeros(1, dtype=F64), 1.0), 1)

    def posterior(self, x, y=None):
        return Independent(Normal(torch.zeros(len(x), 1, dtype=F64), 3.0), 1)


def test_latents_and_dequantisation_have_the_same_noise_for_every_label():
    x, y = torch.randn(60, 1, generator=torch.Generator().manual_seed(0), dtype=F64), torch.arange(60) % 2
    found = measure(BlindLatent(Space((1,), REALS, 2)), labelled(x, y), importance_samples=3)
    assert found.columns["label_nll"].tolist() == pytest.approx([math.log(2)] * 60, rel=1e-9)

    class Ramp(LabelledUniform):
        def log_prob(self, x, y=None):
            return (50 * x.double() * (1 + 0 * y[:, None])).sum(1)

    data = dataset(torch.arange(60)[:, None] % 5, 5, y=y, classes=2)
    found = measure(Ramp(data.space), data, replicates=2)
    assert found.columns["label_nll"].tolist() == pytest.approx([math.log(2)] * 60, rel=1e-9)


def test_dequantised_densities_are_bounds_with_the_constant_of_their_map():
    """A density worth -y nats on [0, 1]: log P(x|y) >= -y - ln 5."""
    y = torch.arange(60) % 3
    data = dataset(torch.arange(60)[:, None] % 5, 5, y=y, classes=3)
    found = measure(LabelledUniform(data.space), data)
    assert found.columns["conditional_nll"].tolist() == pytest.approx((y.double() + math.log(5)).tolist(), rel=1e-9)
    by_name = scores(found)
    assert by_name["conditional_bits_per_dim"].kind is by_name["bits_per_dim"].kind is Kind.UPPER_BOUND
    assert by_name["bayes_accuracy"].kind is by_name["label_nll"].kind is Kind.ESTIMATE
    assert found.contract["dequantisation"] == "uniform"
    assert any("no calibrated probability" in words for words in found.warnings)


def test_the_density_given_the_right_label_is_the_one_that_the_density_suite_measures():
    """To the last draw: the same noise, and the same number of it."""
    x, y = torch.randn(60, 1, generator=torch.Generator().manual_seed(0), dtype=F64), torch.arange(60) % 2
    data = labelled(x, y)
    for model in (LabelledNormal(data.space), FreeBound(data.space)):
        ours = measure(model, data, importance_samples=20, replicates=4)
        suite = Density(importance_samples=20, replicates=1 if isinstance(model, LabelledNormal) else 4)
        theirs = suite.evaluate(model, data, Context(batch_size=7))
        assert torch.allclose(ours.columns["conditional_nll"], theirs.columns["nll"], rtol=1e-9)


def test_with_the_exact_posterior_the_bound_is_exact():
    x, y = torch.randn(200, 1, generator=torch.Generator().manual_seed(0), dtype=F64), torch.arange(200) % 2
    found = measure(LabelledNormal(Space((1,), REALS, 2)), labelled(x, y), importance_samples=5)
    given = torch.stack([Normal(x[:, 0] * 0 + label, math.sqrt(2)).log_prob(x[:, 0]) for label in range(2)], 1)
    known = -given.log_softmax(1).gather(1, y[:, None])[:, 0]
    assert torch.allclose(found.columns["label_nll"], known, rtol=1e-9)


def test_a_sum_of_noisy_bounds_is_called_an_estimate():
    x, y = plane(20)
    found = scores(measure(FreeBound(Space((2,), REALS, 2)), labelled(x, y)))
    assert found["conditional_nll"].kind is Kind.UPPER_BOUND and found["nll"].kind is Kind.ESTIMATE
    assert found["conditional_nll"].parameters["estimator_stderr"] == pytest.approx(
        30 / math.sqrt(10 * 20), rel=0.25
    )  # a variance from 180 degrees of freedom is known to 11 %


# What is not finite


class Broken(TwoNormals):
    """Gives a number for some examples and not for others."""

    def __init__(self, value, labels=(0, 1)):
        super().__init__()
        self.value, self.labels = value, labels

    def log_prob(self, x, y=None):
        bad = (x[:, 0] < -2) & torch.isin(y, torch.tensor(self.labels))
        return torch.where(bad, self.value, super().log_prob(x, y))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_example_without_any_possible_label_is_wrong_and_costs_infinitely(value):
    x, y = plane(200)
    found, lost = measure(Broken(value), labelled(x, y)), int((x[:, 0] < -2).sum())
    by_name = scores(found)
    assert lost > 3
    assert by_name["label_nll"].value == math.inf and by_name["label_nll"].parameters["nonfinite"] == lost
    assert by_name["conditional_nll"].value == math.inf
    assert (
        found.columns["bayes_accuracy"][x[:, 0] < -2].sum() == 0
        and found.columns["confidence"][x[:, 0] < -2].sum() == 0
    )
    words = " ".join(found.warnings)
    assert f"{lost} of 200 examples are impossible given every label" in words
    assert (f"{2 * lost} log-densities were NaN" in words) == (value != -math.inf)


def test_a_wrong_label_may_be_impossible():
    x, y = plane(200)
    found = measure(Broken(-math.inf, labels=(1,)), labelled(x, y))
    far = (x[:, 0] < -2) & (y == 0)
    assert found.columns["label_nll"][far].tolist() == pytest.approx([0.0] * int(far.sum()))
    assert scores(found)["brier"].value < 0.4


def test_single_examples_and_single_bins_are_measured():
    x, y = plane(2)
    found = scores(measure(TwoNormals(), labelled(x[:1], y[:1]), bins=1))
    assert found["bayes_accuracy"].n == 1 and found["ece"].stderr is None and found["label_nll"].stderr is None


# Classifiers, compositions, and what is refused


class Threshold(Discriminative):
    """Says label 1 with the true probability of the two normals."""

    def __init__(self):
        self.space = Space((2,), REALS, 2)

    def log_prob_label(self, x):
        return torch.stack([-2 * x[:, 0], 0 * x[:, 0]], 1).log_softmax(1)


def test_a_classifier_is_measured_without_bits_and_cannot_reject():
    data = labelled(*plane(400))
    found, generative = measure(Threshold(), data), measure(TwoNormals(), data)
    by_name, others = scores(found), scores(generative)
    for name in ("bayes_accuracy", "label_nll", "ece", "brier", "information", "selection_auc", "selection 0.8"):
        assert by_name[name].value == pytest.approx(others[name].value, rel=1e-9), name
    assert not {"nll", "conditional_nll", "rejection_auc", "bits_per_dim"} & set(by_name)
    assert by_name["selection_auc"].parameters["refused_by"] == "max_softmax"
    assert others["rejection_auc"].parameters["refused_by"] == "log_marginal"
    assert any("cannot reject an input" in words for words in found.warnings)
    assert found.contract == generative.contract, "the two stand in one table"


class Shade(Discriminative):
    """A classifier of real numbers from 0 to 1, by their size."""

    def __init__(self):
        self.space = Space((1,), Continuous(), 2)

    def log_prob_label(self, x):
        assert x.is_floating_point() and bool(((x > 0) & (x < 1)).all())
        return torch.cat([-20 * (x - 0.5), 0 * x], 1).double().log_softmax(1)


def test_a_classifier_of_real_numbers_is_shown_discrete_data_as_such():
    x = torch.arange(100)[:, None] % 4
    found = measure(Shade(), dataset(x, 4, y=(x[:, 0] > 1).long(), classes=2), batch_size=7)
    assert scores(found)["bayes_accuracy"].value == 1.0 and scores(found)["bayes_accuracy"].kind is Kind.ESTIMATE
    assert found.contract["dequantisation"] == "uniform"
    whole = measure(Shade(), dataset(x, 4, y=(x[:, 0] > 1).long(), classes=2), batch_size=1000)
    assert torch.equal(whole.columns["label_nll"], found.columns["label_nll"])


def test_labels_out_of_range_make_no_dataset():
    with pytest.raises(DataError, match="labels must be int64 from 0 to 1"):
        labelled(plane(4)[0], torch.tensor([0, 1, 2, 0]))


def test_probabilities_that_do_not_add_up_are_refused():
    class Raw(Threshold):
        def log_prob_label(self, x):
            return torch.zeros(len(x), 2)

    with pytest.raises(ModelError, match="do not add up to one"):
        measure(Raw(), labelled(*plane(10)))


def test_a_composition_reports_how_many_of_its_candidates_it_can_use():
    data = digits()
    model = bayes(data.space, candidates=5, width=16)
    model.fit(data.split("train"), data.split("validation"), Budget(60), rng=generator(0, "fit"))
    found = measure(model, data, candidates=300, pictures=True)
    by_name = scores(found)
    assert 1 / 300 <= by_name["effective_candidates_least"].value <= by_name["effective_candidates"].value <= 1
    assert torch.allclose(
        found.columns["label_nll"],
        -model.log_prob_label(data.split("test").x.long()).gather(1, data.split("test").y[:, None])[:, 0].detach(),
        atol=1e-9,
    )
    assert set(found.figures) == {"reliability", "accuracy-coverage", "confusion", "class-samples"}


class BadSampler(TwoNormals, Sampler):
    """Draws what it does not say it draws."""

    def sample(self, n, y=None, *, rng):
        return torch.zeros(n, 3)


def test_samples_that_cannot_be_drawn_cost_a_picture_and_no_number():
    found = measure(BadSampler(), labelled(*plane(40)), pictures=True)
    assert "class-samples" not in found.figures and "confusion" in found.figures
    assert any("could not be drawn" in words for words in found.warnings)


class Generator(Implicit):
    """Draws, and has no density."""

    def __init__(self):
        self.space = Space((2,), REALS, 2)

    def sample(self, n, y=None, *, rng):
        return torch.randn(n, 2, generator=rng)


def test_what_the_suite_is_not_for():
    data, suite = labelled(*plane(10)), Conditional()
    assert "has no labels" in suite.skip(TwoNormals(), counts())
    one = labelled(plane(10)[0], torch.zeros(10, dtype=torch.long), classes=1)
    assert "one class" in suite.skip(TwoNormals(), one)
    assert "has no density" in suite.skip(Generator(), data)
    assert "set model.conditional=true" in suite.skip(Uniform(Space((2,), REALS), low=-9.0, high=9.0), data)
    assert "takes labels of 2 classes" in suite.skip(TwoNormals(), labelled(plane(10)[0], plane(10)[1], classes=3))
    assert suite.skip(Classifier(Space((2,), REALS, 2)), data) is None


def test_answers_of_a_wrong_shape_are_refused():
    class Mean(TwoNormals):
        def log_prob(self, x, y=None):
            return super().log_prob(x, y).mean()

    with pytest.raises(ModelError, match="neither averaged"):
        measure(Mean(), labelled(*plane(10)))


@pytest.mark.parametrize("build", [lambda s: Flow(s, conditional=True), lambda s: vae(s, conditional=True, width=16)])
def test_models_of_every_estimator_are_measured(build):
    """Untrained: the numbers are poor, and there."""
    data = digits()
    small = Dataset(
        "few", data.space, {k: split(v.x[:30], v.y[:30]) for k, v in data.splits.items()}, licence="CC0-1.0"
    )
    found = measure(build(data.space), small, importance_samples=4, replicates=2, prior="uniform", pictures=True)
    assert all(math.isfinite(score.value) for score in found.scores)
    assert "class-samples" in found.figures


def test_the_noise_of_a_replicate_is_another_one():
    x, y = plane(50)
    data = labelled(x, y)
    given = ClassDensities(FreeBound(data.space), data, "test", 1, 3, 50, Context()).ask()
    assert float(given.variances.min()) > 1 and not torch.allclose(given.first, given.nats)
    assert torch.equal(given.nats[:, 0], given.nats[:, 1])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_conditional_transformer_knows_digits(seed):
    data = digits()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Transformer(data.space, conditional=True)
    model.fit(data.split("train"), data.split("validation"), Budget(700), rng=generator(seed, "fit"))
    found = measure(model, data)
    assert scores(found)["bayes_accuracy"].value > 0.9
    noise = torch.randint(17, (100, 8, 8), generator=generator(seed, "noise"))
    spoilt = {**data.splits, "test": split(noise, torch.arange(100) % 10)}
    likeliest = measure(model, Dataset("noise", data.space, spoilt, licence="CC0-1.0")).columns["nll"].min()
    assert likeliest > found.columns["nll"].max(), "noise is less likely than any digit, whatever the label"


def test_discrete_supports_are_in_bits():
    data = digits()
    found = scores(measure(Positions(Space((8, 8), Discrete(17), 10), conditional=True), data))
    assert found["bits_per_dim"].value == pytest.approx(math.log2(17), rel=1e-6)
    assert found["bayes_accuracy"].value < 0.2
