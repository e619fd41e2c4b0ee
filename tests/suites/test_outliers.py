"""The outliers suite: scores of known models, one orientation for all, and nothing taken from outliers."""

import inspect
import math

import pytest
import torch
from torch.distributions import Categorical
from torchstone_extension.data import dataset
from torchstone_extension.honest import FreeBound, GaussianVAE, Labelled, Pairs
from torchstone_extension.honest import Uniform as Noise

from torchstone.models import (
    Autoregressive,
    Continuous,
    Discrete,
    Discriminative,
    Encoder,
    ExplicitExact,
    Joint,
    ModelError,
    Space,
    Split,
)
from torchstone.models.exact.independent import Independent
from torchstone.models.randomness import generator
from torchstone.results.record import Kind
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.data.synthetic import ising
from torchstone.suites.metrics.detection import auroc
from torchstone.suites.outliers import Outliers
from torchstone.suites.outlying.scores import BASELINES, calibrate
from torchstone.suites.outlying.sets import SETS, outlier_set
from torchstone.suites.outlying.sheet import Sheet

GREY = Space((4, 4), Discrete(5))
REALS = Continuous(-math.inf, math.inf)


class Pixels(Autoregressive):
    """Every pixel by itself, with the same probabilities."""

    def __init__(self, space=GREY, *, sharpness=1.0):
        self.space = Space(space.event_shape, space.support)
        self.order = torch.arange(space.dims)
        self.logits = -sharpness * torch.arange(space.support.levels, dtype=torch.float64)

    def conditionals(self, x, y=None):
        return Categorical(logits=self.logits.expand(*x.shape, len(self.logits)))


class Classifier(Discriminative):
    """Two classes, by how bright an example is."""

    def __init__(self, space, *, certain=3.0):
        self.space, self.certain = space, certain

    def log_prob_label(self, x):
        score = self.certain * (x.double().flatten(1).mean(1) - 1)
        return torch.stack([score, -score], 1).log_softmax(1)


class Halves(Joint):
    """Two classes of equal weight: every pixel dark, or every pixel of any level."""

    def __init__(self, space):
        self.space = space
        self.parts = [Pixels(space, sharpness=1.5), Pixels(space, sharpness=0.0)]

    def log_prior_label(self):
        return torch.full((2,), -math.log(2), dtype=torch.float64)

    def log_prob(self, x, y=None):
        each = torch.stack([part.log_prob(x) for part in self.parts], 1)
        return each.logsumexp(1) - math.log(2) if y is None else each.gather(1, y[:, None]).squeeze(1)


class Scripted(ExplicitExact):
    """A log-density that the test writes."""

    def __init__(self, space, answer):
        self.space, self.answer = Space(space.event_shape, space.support), answer

    def log_prob(self, x, y=None):
        return self.answer(x)


def dark(n=60, *, labels=False, shape=(4, 4)):
    """Draws from `Pixels` in three disjoint splits."""
    model, rng = Pixels(Space(shape, Discrete(5))), generator(0, "dark")
    splits = {}
    for name in ("train", "validation", "test"):
        x = torch.multinomial(model.logits.softmax(0), n * math.prod(shape), True, generator=rng).view(n, *shape)
        y = torch.arange(n) % 2 if labels else None
        splits[name] = Split(x.to(torch.uint8), y, torch.arange(n))
    return Dataset("dark", Space(shape, Discrete(5), 2 if labels else None), splits, licence="CC0-1.0")


def measure(model, data, *, batch_size=64, seed=0, **settings):
    suite = Outliers(**({"resamples": 50} | settings))
    assert suite.skip(model, data) is None
    return suite.evaluate(model, data, Context(batch_size=batch_size, seed=seed))


def numbers(evaluation, metric="auroc"):
    return {(s.parameters["score"], s.parameters["outliers"]): s.value for s in evaluation.scores if s.metric == metric}


@pytest.fixture
def painted():
    """Pictures are drawn in the tests that ask for this, and take most of the time."""


@pytest.fixture(autouse=True)
def unpainted(request, monkeypatch):
    if "painted" not in request.fixturenames:
        monkeypatch.setattr(Sheet, "figures", lambda sheet: {})


@pytest.fixture(scope="module")
def data():
    return dark()


@pytest.fixture(scope="module")
def found(data):
    return measure(Pixels(), data)


def test_minus_log_p_is_the_area_between_the_exact_densities(found, data):
    model, areas = Pixels(), numbers(found)
    inside = -model.log_prob(data.split("test").x.long())
    for name in ("constant", "noise", "inverted", "interpolated", "shifted"):
        outside = -model.log_prob(outlier_set(name, data, "test").x.long())
        assert areas["neg_log_prob", name] == pytest.approx(auroc(inside, outside), rel=1e-12)
    assert torch.allclose(found.columns["nll"], inside, rtol=1e-12)
    for name in ("shuffled_pixels", "rotated"):  # a bag of pixels: all that is left to tell them by is rounding
        assert areas["neg_log_prob", name] == pytest.approx(0.5, abs=0.02)


def test_the_headline_is_minus_log_p_on_one_named_set(found):
    first = found.scores[0]
    assert (first.metric, first.parameters["score"], first.parameters["outliers"]) == (
        "auroc", "neg_log_prob", "constant",
    )  # fmt: skip
    assert first.kind is Kind.ESTIMATE and first.higher_is_better and first.n == 60
    assert {score.metric for score in found.scores} == set(Outliers.metrics)
    assert set(found.figures) == {"auroc", "log_prob", "complexity"}
    assert all(not s.higher_is_better for s in found.scores if s.metric == "fpr95")


def test_every_number_says_which_outliers_and_in_what_code(found, data):
    for score in found.scores:
        made = score.parameters.get("outliers", "shifted")
        assert score.contract["set"] == outlier_set(made, data, "test").fingerprint
        if score.metric != "shift_log_prob_change":
            assert score.contract["outliers"] == 60
            coded = score.parameters["score"] in ("complexity", "baseline_code_length")
            assert score.contract.get("code") == ("adaptive" if coded else None)
    assert found.contract["orientation"] == "higher is more outlying" and found.contract["examples"] == 60


def test_outliers_are_the_same_for_every_seed_and_model(found, data):
    again = measure(Independent(data.space), data, seed=5)
    mine, theirs = ({s.parameters["outliers"]: s.contract["set"] for s in e.scores[:9]} for e in (found, again))
    assert mine == theirs
    baselines = [{k: v for k, v in numbers(e).items() if k[0] in BASELINES} for e in (found, again)]
    assert baselines[0] == baselines[1]


def test_the_change_under_a_shift_is_paired(data):
    """Every pixel that leaves is replaced by its neighbour: the difference of two sums over four pixels."""
    model = Pixels()
    found = measure(model, data)
    before, after = data.split("test").x.long(), outlier_set("shifted", data, "test").x.long()
    change = model.log_prob(after) - model.log_prob(before)
    score = found.scores[-1]
    assert score.metric == "shift_log_prob_change" and score.value == pytest.approx(float(change.mean()), rel=1e-9)
    assert score.stderr == pytest.approx(float(change.std()) / math.sqrt(60), rel=1e-9)


def test_typicality_is_two_sided_about_the_validation_mean(data):
    model = Pixels()
    entropy = -float(model.log_prob(data.split("validation").x.long()).mean()) / 16
    found = measure(model, data)
    assert torch.allclose(found.columns["typicality"], (found.columns["nll"] / 16 - entropy).abs(), rtol=1e-9)
    bits = found.columns["baseline_code_length"]
    assert torch.allclose(found.columns["complexity"], found.columns["nll"] / math.log(2) - bits, rtol=1e-9)


def test_the_background_is_counted_on_training_data(data):
    counts = torch.nn.functional.one_hot(data.split("train").x.long(), 5).sum(0).double() + 1
    background = (counts / counts.sum(-1, keepdim=True)).log()
    x = data.split("test").x.long()
    ratio = background.expand(60, 4, 4, 5).gather(3, x[..., None]).flatten(1).sum(1) - Pixels().log_prob(x)
    assert torch.allclose(measure(Pixels(), data).columns["likelihood_ratio"], ratio, rtol=1e-9)


def test_all_that_scores_need_is_fixed_before_there_is_an_outlier(data, monkeypatch):
    """Other test examples, and no set at all, leave every parameter as it was."""
    other = Dataset(data.name, data.space, {**data.splits, "test": data.splits["train"]}, data.licence)
    costs = -Pixels().log_prob(data.split("validation").x.long())
    first, second = (calibrate(each, costs) for each in (data, other))
    assert (first.entropy, first.band, first.mean, first.variance) == (
        second.entropy, second.band, second.mean, second.variance,
    )  # fmt: skip
    assert torch.equal(first.background, second.background)
    order = []
    monkeypatch.setattr("torchstone.suites.outliers.calibrate", lambda *a: order.append("fixed") or calibrate(*a))
    monkeypatch.setattr(
        "torchstone.suites.outliers.outlier_set", lambda *a: order.append("outliers") or outlier_set(*a)
    )
    measure(Pixels(), data)
    assert order == ["fixed"] + ["outliers"] * len(SETS)


def test_a_detector_that_is_wrong_stays_below_one_half(data):
    """It gives noise all the density: no orientation is chosen for it."""
    wrong = Scripted(GREY, lambda x: x.double().flatten(1).sum(1))
    found = measure(wrong, data)
    areas = numbers(found)
    assert areas["neg_log_prob", "noise"] < 0.01 and areas["neg_log_prob", "inverted"] < 0.01
    right = numbers(measure(Scripted(GREY, lambda x: -x.double().flatten(1).sum(1)), data))
    for name in SETS:
        if ("neg_log_prob", name) in areas:
            assert areas["neg_log_prob", name] == pytest.approx(1 - right["neg_log_prob", name], abs=1e-12)
    assert any(
        "gives outliers more density than the data" in note and "noise (0.00)" in note for note in found.warnings
    )


def test_the_true_density_too_gives_constant_images_more():
    """A long-range ordered Ising model: all spins up is its most probable state, and no typical one."""
    data = ising(side=4)
    areas = numbers(measure(data.source, data))
    assert areas["neg_log_prob", "constant"] < 0.35 < 0.45 < areas["typicality", "constant"]


def test_a_constant_density_is_one_half_everywhere_and_a_baseline_is_named(data):
    found = measure(Noise(GREY, discrete=True), data)
    assert {v for (score, _), v in numbers(found).items() if score in ("neg_log_prob", "typicality")} == {0.5}
    (note,) = [note for note in found.warnings if note.startswith("A baseline")]
    assert "noise (pixel mean" in note and "neg_log_prob 0.50" in note


def test_a_set_that_is_encoded_otherwise_is_found_by_a_baseline_too(data, monkeypatch):
    """Were outliers stored at twice the levels, the mean of their pixels alone would show it, and it is said."""
    brighter = (2 * data.split("test").x.long()).clamp(max=4).to(torch.uint8)
    monkeypatch.setitem(SETS, "noise", lambda inside, rng: brighter)
    found = measure(Pixels(), data)
    areas = numbers(found)
    assert max(areas[baseline, "noise"] for baseline in BASELINES) > 0.75
    assert any("baseline" in note and "noise" in note for note in found.warnings)


def test_what_is_not_finite_is_the_most_outlying_and_is_counted(data):
    """NaN for bright examples: worth minus infinity, sorted last, and said."""

    def answer(x):
        total = x.double().flatten(1).sum(1)
        return torch.where(total > 25, math.nan, -total)

    found = measure(Scripted(GREY, answer), data)
    areas = numbers(found)
    assert areas["neg_log_prob", "noise"] == pytest.approx(
        auroc(data.split("test").x.double().flatten(1).sum(1),
              outlier_set("noise", data, "test").x.double().flatten(1).sum(1)), abs=0.02,
    )  # fmt: skip
    assert any("not finite" in note and "of noise" in note for note in found.warnings)
    assert ("typicality", "noise") in areas


def test_a_validation_split_that_is_not_finite_leaves_typicality_out(data):
    found = measure(Scripted(GREY, lambda x: torch.full((len(x),), math.nan)), data)
    areas = numbers(found)
    assert areas["neg_log_prob", "noise"] == 0.5 and ("typicality", "noise") not in areas
    assert any(note.startswith("Typicality is left out") for note in found.warnings)
    assert math.isinf(found.scores[-1].value) or found.scores[-1].value == 0


def test_a_classifier_has_its_softmax_and_the_baselines(painted):
    data = dark(labels=True)
    model = Classifier(data.space)
    found = measure(model, data)
    areas = numbers(found)
    assert {score for score, _ in areas} == {"max_softmax", *BASELINES}
    assert found.scores[0].parameters == {"score": "max_softmax", "outliers": "constant"}
    inside = -model.log_prob_label(data.split("test").x).amax(1)
    outside = -model.log_prob_label(outlier_set("noise", data, "test").x).amax(1)
    assert areas["max_softmax", "noise"] == pytest.approx(auroc(inside, outside), rel=1e-12)
    assert set(found.figures) == {"auroc"} and "nll" not in found.columns
    assert found.contract.keys() == measure(Pixels(), dark()).contract.keys()


def test_a_joint_density_is_measured_by_its_marginal_and_a_conditional_one_is_not():
    data = dark(labels=True)
    model = Halves(data.space)
    found = measure(model, data)
    assert torch.allclose(found.columns["nll"], -model.log_prob(data.split("test").x.long()), rtol=1e-12)
    reason = Outliers().skip(Labelled(data.space), data)
    assert reason is not None and "a density given the label" in reason and "model.conditional=false" in reason


def test_models_without_a_density_and_data_of_another_shape_are_refused(data):
    class Features(Encoder):
        space = GREY

        def encode(self, x):
            return x.flatten(1).double()

    assert "gives neither a density nor probabilities of labels" in str(Outliers().skip(Features(), data))
    assert "a vocabulary of its own" in str(Outliers().skip(Pairs(GREY), data))
    assert "for examples of shape (4, 4)" in str(Outliers().skip(Pixels(), dark(shape=(3, 3))))


def test_a_classifier_that_breaks_its_contract_fails():
    class Broken(Classifier):
        def log_prob_label(self, x):
            return torch.full((len(x), 2), math.nan)

    labelled = dark(labels=True)
    with pytest.raises(ModelError, match="do not add up to one"):
        measure(Broken(labelled.space), labelled)


def test_numbers_do_not_depend_on_the_batch_size_and_bounds_have_one_set_of_draws():
    x = torch.randn(60, 1, generator=generator(0, "x"), dtype=torch.float64)
    data = dataset(x, None, support=REALS)
    for model in (GaussianVAE(), FreeBound()):
        whole, parts = (measure(model, data, batch_size=size, importance_samples=8) for size in (64, 7))
        assert numbers(whole) == pytest.approx(numbers(parts), rel=1e-12)
    estimators = {
        measure(model, data, importance_samples=8).scores[0].parameters["estimator"] for model in (model, GaussianVAE())
    }
    assert estimators == {"elbo", "importance-weighted, K = 8"}


def test_continuous_and_flat_data_have_fewer_sets_and_scores_and_say_so(painted):
    x = torch.randn(60, 1, generator=generator(0, "x"), dtype=torch.float64)
    found = measure(GaussianVAE(), dataset(x, None, support=REALS), importance_samples=4)
    areas = numbers(found)
    assert {score for score, _ in areas} == {"neg_log_prob", "typicality", "baseline_pixel_mean"}
    assert {name for _, name in areas} == {"constant", "noise", "inverted", "interpolated"}
    assert sum("is left out" in note for note in found.warnings) == 5
    assert set(found.figures) == {"auroc", "log_prob"}


def test_a_test_split_of_one_example_has_numbers_without_errors():
    found = measure(Pixels(), dark(1))
    assert all(score.stderr is None for score in found.scores)
    assert all(score.ci95 is None or score.ci95 in ((pytest.approx(0.025), 1.0), (0.0, pytest.approx(0.975)))
               for score in found.scores)  # fmt: skip
    assert any("'interpolated' is left out" in note for note in found.warnings)


def test_pictures_that_cannot_be_drawn_cost_no_numbers(data, painted, monkeypatch):
    def broken(*arguments):
        raise ValueError("no canvas")

    monkeypatch.setattr("torchstone.suites.outlying.sheet.auroc_grid", broken)
    found = measure(Pixels(), data)
    assert not found.figures and any("could not be drawn: no canvas" in note for note in found.warnings)


def test_no_setting_chooses_an_orientation_or_a_threshold():
    assert set(inspect.signature(Outliers).parameters) == {
        "split", "importance_samples", "replicates", "resamples", "block",
    }  # fmt: skip
