"""The representation suite: probes that the harness owns, beside controls, of features that know nothing else."""

import copy
import math
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from torch import nn
from torchstone_extension.cheats.encoders import (
    AdaptsToTest,
    ClassBatchNorm,
    Coarse,
    LabelsByPlace,
    LabelsLookedUp,
    Transductive,
)

from torchstone.harness.fitting import fit
from torchstone.models import Continuous, Discrete, Encoder, Pretrained, Space, Split, Trainable
from torchstone.models.approximate.vae import vae
from torchstone.models.exact.transformer import Transformer
from torchstone.models.model import ModelError
from torchstone.models.randomness import generator
from torchstone.results.record import Kind
from torchstone.suites.audits.state import weights
from torchstone.suites.context import Context
from torchstone.suites.data import Dataset
from torchstone.suites.data.embedded import digits
from torchstone.suites.metrics.classification import credit
from torchstone.suites.metrics.knn import knn_log_prob
from torchstone.suites.metrics.spectrum import spectrum
from torchstone.suites.probing import checks, probes, tuning
from torchstone.suites.probing import linear as linear_module
from torchstone.suites.probing.controls import untrained, whitened
from torchstone.suites.probing.features import Standard, features_of
from torchstone.suites.probing.few import few_label_credits, labelled_draws
from torchstone.suites.probing.linear import grid, linear_probe, selection_of, shuffled_probes
from torchstone.suites.probing.portraits import portraits
from torchstone.suites.probing.sheet import Sheet
from torchstone.suites.probing.task import Task, labels_refusal, task_of
from torchstone.suites.representation import Representation

F64 = torch.float64
QUICK = {
    "draws": 3, "fine_tuning": 5, "initialisations": 1, "labels": (1, 4), "neighbours": (20,), "selection": "tenth",
    "shuffles": 5, "strengths": 6,
}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    """The digits, with 300 training examples."""
    whole = digits()
    train = whole.split("train")
    few = Split(train.x[:300], train.y[:300], train.ids[:300])
    return replace(whole, splits={**whole.splits, "train": few})


@pytest.fixture(scope="module")
def measured(data):
    """An honest encoder, measured quickly."""
    return evaluate(Coarse(), data)


def evaluate(model, data, *, seed=0, pictures=False, **settings):
    suite = Representation(**{**QUICK, **settings})
    assert suite.skip(model, data) is None
    drawn = portraits if pictures else lambda *given: {}
    with patch("torchstone.suites.representation.portraits", drawn), patch("torchstone.suites.metrics.mlp.STEPS", 10):
        return suite.evaluate(model, data, Context(seed=seed))


def score(found, metric, **parameters):
    (one,) = (s for s in found.scores if s.metric == metric and parameters.items() <= s.parameters.items())
    return one


def blobs(n=300, classes=3, dims=4, apart=3.0, seed=0, flat=0):
    """Gaussian clusters as data of real numbers, with labels."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(3 * n) % classes
    x = apart * nn.functional.one_hot(y, dims).to(F64) + torch.randn(3 * n, dims, generator=rng, dtype=F64)
    x[:, dims - flat :] = 1.0
    parts = {name: slice(i * n, (i + 1) * n) for i, name in enumerate(("train", "validation", "test"))}
    space = Space((dims,), Continuous(-math.inf, math.inf), classes)
    splits = {name: Split(x[at], y[at], torch.arange(3 * n)[at]) for name, at in parts.items()}
    return Dataset("blobs", space, splits, "made")


class Itself(Encoder):
    """Features that are the data."""

    def __init__(self, space):
        self.space = Space(space.event_shape, space.support)

    def encode(self, x):
        return x.flatten(1).double()


def task(data):
    return task_of(data, *(data.split(name).x.flatten(1) for name in ("train", "test")))[1]


class Recorder(nn.Module, Encoder, Trainable):
    """Remembers what it is fitted on."""

    def __init__(self, space, classes=None):
        super().__init__()
        self.space = Space(space.event_shape, space.support, classes)

    def encode(self, x):
        return x.flatten(1).float()

    def fit(self, train, validation, budget, *, rng):
        self.seen = train, validation


def test_a_model_without_classes_is_fitted_without_labels(data):
    model = Recorder(data.space)
    fit(model, data, 1, 0, lambda *told: None)
    assert [split.y for split in model.seen] == [None, None]
    model = Recorder(data.space, data.space.classes)
    fit(model, data, 1, 0, lambda *told: None)
    assert torch.equal(model.seen[0].y, data.split("train").y)


def test_an_encoder_is_fitted_on_examples_in_an_order_that_says_nothing(data):
    model, train = Recorder(data.space), data.split("train")
    fit(model, data, 1, 0, lambda *told: None)
    seen = model.seen[0]
    assert not torch.equal(seen.x, train.x) and torch.equal(seen.ids, torch.arange(len(train)))
    rows = lambda x: sorted(map(tuple, x.flatten(1).tolist()))  # noqa: E731
    assert rows(seen.x) == rows(train.x)


def test_features_are_asked_for_in_another_order_and_come_back_in_that_of_the_split(data):
    class Asked(Coarse):
        def encode(self, x):
            order.append(x)
            return super().encode(x)

    order = []
    found = features_of(Asked(), data, "test", Context(batch_size=50))
    test = data.split("test")
    assert torch.equal(found, Coarse().encode(test.x.long()).float())
    assert not torch.equal(torch.cat(order), test.x.long())


def test_features_are_standardised_by_the_training_split_alone(data):
    train = torch.randn(50, 3, generator=generator(0, "train"), dtype=F64) * torch.tensor([1.0, 5.0, 0.0]) + 2
    standard = Standard.of(train)
    torch.testing.assert_close(standard(train)[:, :2].std(0, correction=0), torch.ones(2, dtype=F64))
    assert torch.equal(standard(train)[:, 2], torch.zeros(50, dtype=F64)), "a dead feature is divided by one"
    one = standard(torch.tensor([[7.0, 7.0, 7.0]]))
    assert torch.equal(standard(torch.cat([torch.full((1, 3), 7.0), torch.full((9, 3), 1e6)]))[:1], one)


def test_the_test_split_chooses_nothing(data):
    """With its labels turned round, the probe, its strength and its probabilities are what they were."""
    given = task(blobs())
    other = Task(given.train, given.y, given.test, 2 - given.test_y, given.classes)
    first, second = (linear_probe(each, 12, "folds", generator(0, "linear")) for each in (given, other))
    assert first.strength == second.strength and torch.equal(first.log_prob, second.log_prob)
    assert not torch.equal(first.credits, second.credits)


def test_the_strength_is_the_one_that_is_best_on_held_out_training_examples():
    given = task(blobs(apart=1.0))
    found = linear_probe(given, 12, "folds", generator(0, "linear"))
    held = dict(found.held)
    assert held[found.strength] == max(held.values())


def test_the_probe_is_fitted_again_on_all_training_examples():
    from torchstone.suites.metrics.logistic import fit_logistic

    given = task(blobs(apart=1.0))
    found = linear_probe(given, 12, "tenth", generator(0, "linear"))
    again = fit_logistic(given.train, given.y, torch.tensor([found.strength], dtype=F64), 3)
    torch.testing.assert_close(found.weight, again.weight[0])


def test_the_harness_owns_the_probe_and_counts_the_features(measured):
    """What reaches the record is computed from features and labels; the adapter is never asked for an accuracy."""
    assert score(measured, "feature_dims").value == 16
    assert measured.scores[0].metric == "linear_probe_accuracy"
    assert set(measured.columns) >= {"linear_probe_accuracy", "linear_probe_gain", "few_label_accuracy_4"}
    assert all(len(column) == len(measured.ids) for column in measured.columns.values())
    column = measured.columns["linear_probe_accuracy"]
    assert float(column.mean()) == measured.scores[0].value


def test_what_a_model_was_trained_on_is_in_the_contract(data):
    class Elsewhere(Coarse, Pretrained):
        pretraining = "another thousand digits"

    suite, context = Representation(), Context()
    given = task_of(data, *(data.split(name).x.flatten(1).float() for name in ("train", "test")))[1]
    assert suite._contract(Elsewhere(), data, given, context)["pretraining"] == "another thousand digits"
    assert suite._contract(Coarse(), data, given, context)["pretraining"] == "not said"
    fitted, handed = (vae(Space((8, 8), Discrete(17))), Context(fitted=False))
    assert suite._contract(fitted, data, given, context)["pretraining"] == "the training split alone"
    assert suite._contract(fitted, data, given, handed)["pretraining"] == "not said"
    assert suite._contract(Itself(data.space), data, given, context)["pretraining"] == "the training split alone"


def test_a_strength_that_was_not_solved_is_never_chosen(monkeypatch):
    """A solver that gives up at all but the smallest strengths leaves only those to be chosen."""
    real = linear_module.fit_logistic

    def lazy(x, y, strengths, classes, **more):
        found = real(x, y, strengths, classes, **more)
        return found.__class__(**{**vars_of(found), "converged": strengths < 1e-4})

    monkeypatch.setattr(linear_module, "fit_logistic", lazy)
    found = linear_probe(task(blobs(apart=1.0)), 12, "tenth", generator(0, "linear"))
    assert found.strength < 1e-4 and found.unconverged > 0


def test_a_probe_that_does_not_converge_is_no_number(monkeypatch):
    real = linear_module.fit_logistic

    def refit_fails(x, y, strengths, classes, **more):
        found = real(x, y, strengths, classes, **more)
        return found.__class__(**{**vars_of(found), "converged": torch.full((len(strengths),), len(strengths) > 1)})

    monkeypatch.setattr(linear_module, "fit_logistic", refit_fails)
    with pytest.raises(ModelError, match="does not converge"):
        linear_probe(task(blobs()), 12, "tenth", generator(0, "linear"))


def vars_of(found):
    return {name: getattr(found, name) for name in found.__dataclass_fields__}


def test_a_grid_grows_where_its_end_is_best_and_says_where_it_ends(monkeypatch):
    monkeypatch.setattr(linear_module, "grid", lambda count: torch.logspace(-6, -5, count, dtype=F64))
    found = linear_probe(task(blobs(apart=1.0, n=900)), 3, "tenth", generator(0, "linear"))
    assert max(dict(found.held)) > 1e-5, "it grew"
    assert found.at_edge == (found.strength == max(dict(found.held)))


def test_the_labelled_examples_are_ten_draws_and_the_same_for_every_model(data):
    y = data.split("train").y
    rows = [labelled_draws(y, 10, 4, 10, Context(seed=3).rng("labels/4", device="cpu")) for _ in range(2)]
    assert torch.equal(*rows) and rows[0].shape == (10, 40) and Representation().draws == 10
    for draw in rows[0]:
        assert torch.bincount(y[draw]).tolist() == [4] * 10 and len(draw.unique()) == 40
    assert len({tuple(draw.tolist()) for draw in rows[0]}) == 10
    assert labelled_draws(y, 10, 10_000, 10, generator(0, "labels")) is None


def test_every_example_of_a_class_is_as_likely_to_be_labelled():
    """Counts over 4,000 draws; chi-square with 8 degrees of freedom, false alarms in 1e-3 of the seeds."""
    y = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 0, 1])
    rows = labelled_draws(y, 2, 2, 4000, generator(0, "labels"))
    counts = torch.bincount(rows.flatten(), minlength=10).double()
    expected = torch.where(y == 0, 8000 / 4, 8000 / 6)
    assert float(((counts - expected).square() / expected).sum()) < 26.1


def test_a_probe_with_few_labels_is_that_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    given = task(blobs(apart=1.0))
    rows = labelled_draws(given.y, 3, 5, 4, generator(0, "labels"))
    found = few_label_credits(given, rows)
    for draw, credits in zip(rows, found, strict=True):
        peer = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(given.train[draw], given.y[draw])
        assert float(credits.mean()) == peer.score(given.test, given.test_y)


def test_a_gain_is_over_the_same_network_with_random_weights(data):
    """An encoder that learned nothing gains nothing: its control is another draw of the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = vae(Space((8, 8), Discrete(17)))
    found = evaluate(model, data, initialisations=3, labels=(10,))
    gain = score(found, "few_label_gain", labels=10)
    assert abs(gain.value) < 4 * gain.stderr and gain.kind is Kind.ESTIMATE


def test_the_control_keeps_nothing_that_was_learned(data):
    model = vae(Space((8, 8), Discrete(17)))
    fit(model, data, 5, 0, lambda *told: None)
    fresh = untrained(model, generator(0, "untrained"))
    learned = model.state_dict()
    kept = [name for name, value in fresh.state_dict().items() if torch.equal(value, learned[name])]
    assert kept == [] and torch.equal(model.encoder[0][2].weight, learned["encoder.0.2.weight"])


def test_a_network_that_cannot_be_reset_has_no_control_and_says_which_weight():
    class Holds(nn.Module, Encoder):
        def __init__(self):
            super().__init__()
            self.space, self.table = Space((2,), Discrete(3)), nn.Parameter(torch.ones(2))
            self.mix = nn.Linear(2, 2)

        def encode(self, x):
            return self.mix(x * self.table)

    told = untrained(Holds(), generator(0, "untrained"))
    assert "keeps table" in told and "reset_parameters" in told
    assert "learned nothing" in untrained(Itself(Space((2,), Discrete(3))), generator(0, "untrained"))


def test_whitened_axes_have_variance_one_and_no_more_of_them_than_the_data_fill():
    rng = torch.Generator().manual_seed(0)
    train = torch.randn(60, 5, generator=rng, dtype=F64) @ torch.randn(5, 8, generator=rng, dtype=F64)
    white, other = whitened(train, train[:7])
    assert white.shape == (60, 5) and other.shape == (7, 5)
    torch.testing.assert_close(white.double().T @ white.double() / 60, torch.eye(5, dtype=F64), atol=1e-5, rtol=0)
    wide, _ = whitened(train[:4], train)
    assert wide.shape == (4, 3)
    assert whitened(torch.ones(5, 3), torch.ones(2, 3))[0].shape == (5, 1), "data without any spread"


def test_shuffled_labels_are_learned_no_better_than_chance_on_test_and_by_heart_on_train():
    """Twelve examples in 40 dimensions: any labels can be learned by heart, and none of them holds elsewhere."""
    wide = task(blobs(n=12, dims=40, apart=0.0))
    test, train, expected = shuffled_probes(wide, 1e3, 20, generator(0, "shuffled"))
    assert float((expected - 1 / 3).abs().max()) < 1e-12, "every class is as frequent"
    assert float(train.mean()) == 1.0
    assert abs(float(test.mean()) - 1 / 3) < 4 * float(test.mean(1).std()) / 20**0.5


@pytest.mark.parametrize(
    ("cheat", "check", "verdict"),
    [
        (LabelsByPlace, "features of one example", "fail"),
        (ClassBatchNorm, "features of one example", "fail"),
        (Transductive, "features of one example", "fail"),
        (AdaptsToTest, "weights untouched", "fail"),
        (LabelsLookedUp, "membership", "flag"),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "",
)
def test_an_encoder_that_knows_more_than_it_sees_is_found(cheat, check, verdict, data):
    assert judged(Coarse(), check, data)[0].value == "pass"
    assert judged(cheat(), check, data)[0].value == verdict


def judged(model, check, data):
    """One check of features, as the suite makes it."""
    context = Context()
    before = weights(model)
    standard = Standard.of(features_of(model, data, "train", context))
    match check:
        case "features of one example":
            return checks.independence(model, data, context)
        case "weights untouched":
            return checks.untouched(before, model)
        case "membership":
            return checks.membership(model, data, standard, context)


def test_what_the_checks_found_is_in_the_record(data, measured):
    assert [each["audit"] for each in measured.audits] == [
        "features of one example", "weights untouched", "membership", "twins", "shuffled labels", "convergence",
    ]  # fmt: skip
    found = evaluate(Transductive(), data)
    assert found.audits[0]["verdict"] == "fail" and found.audits[0]["witness"] in found.warnings


def test_labels_by_place_say_nothing_of_the_label(data):
    """In the shuffled order what leaks by place is noise; asked in the order of the split it would be the label."""
    test = data.split("test")
    leaked = LabelsByPlace().encode(test.x.long())[:, 16:].argmax(1)
    assert float((leaked == test.y).double().mean()) == 1.0
    found = features_of(LabelsByPlace(), data, "test", Context())[:, 16:].argmax(1)
    assert float((found == test.y).double().mean()) < 0.2


def test_an_example_of_two_splits_is_a_twin(data):
    train, test = data.split("train"), data.split("test")
    both = Split(torch.cat([train.x, test.x[:3]]), torch.cat([train.y, test.y[:3]]), torch.arange(303))
    verdict, _, told = checks.twins(replace(data, splits={**data.splits, "train": both}))
    assert verdict.value == "flag" and told.startswith("3 of 297 test examples")
    assert checks.twins(data)[0].value == "pass"


def test_shuffled_labels_that_are_learned_are_flagged():
    chance = torch.bernoulli(torch.full((20, 300), 0.1), generator=generator(0, "chance"))
    expected = torch.full((20,), 0.1, dtype=F64)
    assert checks.shuffled(chance, expected)[0].value == "pass"
    assert checks.shuffled(chance + 0.05, expected)[0].value == "flag"


def test_honest_shuffles_are_not_flagged():
    """Two hundred sets of twenty at chance, spread as probes of digits are: none is flagged at this level."""
    rng = generator(0, "chance")
    each = 0.1 + 0.033 * torch.randn(200, 20, generator=rng, dtype=F64)
    assert not any(checks.shuffled(means[:, None], torch.full((20,), 0.1))[0].value == "flag" for means in each)


@pytest.mark.parametrize(
    ("features", "told"),
    [
        (lambda x: x.flatten(1).float() * math.nan, "NaN or infinite for .* of .* examples of train"),
        (lambda x: x.flatten(1).float() / 0, "NaN or infinite"),
        (lambda x: x.float(), r"gave shape \(.*\) .*return real numbers of shape"),
        (lambda x: x.flatten(1), "torch.int64"),
        (lambda x: x.flatten(1).float()[:1], "a row for each"),
        (lambda x: x.flatten(1).float()[:, :0], "gave no features"),
        (lambda x: x.flatten(1).float()[:, : 3 + (len(x) == 256)], "features for one batch and"),
        (lambda x: [1.0], "a list"),
    ],
    ids=["NaN", "infinite", "no matrix", "integers", "too few rows", "empty", "another length", "no tensor"],
)
def test_features_that_are_none_are_refused_in_a_sentence(features, told, data):
    class Given(Coarse):
        def encode(self, x):
            return features(x)

    with pytest.raises(ModelError, match=told):
        features_of(Given(), data, "train", Context(batch_size=256))


def test_constant_features_are_worth_the_commonest_label_and_say_that_they_are_dead(data):
    class Constant(Coarse):
        def encode(self, x):
            return torch.ones(len(x), 3) + 0 * self.mix.weight.sum()

    found = evaluate(Constant(), data)
    assert found.scores[0].value < 0.2 and score(found, "dead_features").value == 1.0
    assert score(found, "effective_rank").value == 0.0


def test_features_that_are_wider_than_the_examples_are_many(data):
    class Wide(Coarse):
        def encode(self, x):
            return super().encode(x).repeat(1, 80) + torch.arange(1280)

    assert evaluate(Wide(), data, labels=(1,)).scores[0].value > 0.8


def labelled(y, classes):
    x = torch.arange(len(y))[:, None].double()
    split = Split(x, y, torch.arange(len(y)))
    space = Space((1,), Continuous(-math.inf, math.inf), classes)
    return Dataset("labels", space, {"train": split, "validation": split, "test": split}, "made")


def test_labels_that_no_probe_can_be_fitted_to_are_named():
    assert "Class 1 has no training example" in labels_refusal(labelled(torch.tensor([0, 2, 2, 0]), 3))
    assert "Classes 1, 3 have" in labels_refusal(labelled(torch.tensor([0, 2, 2, 0]), 4))
    assert "Class 1 has one training example" in labels_refusal(labelled(torch.tensor([0, 0, 1]), 2))
    assert "one class" in labels_refusal(labelled(torch.tensor([0, 0]), 1))
    assert labels_refusal(labelled(torch.tensor([0, 0, 1, 1]), 2)) is None


def test_models_without_features_are_told_how_to_have_some(data):
    told = Representation().skip(Transformer(Space((8, 8), Discrete(17))), data)
    assert "LayerFeatures" in told and "model=transformer_features" in told
    told = Representation().skip(vae(data.space, conditional=True), data)
    assert "takes labels" in told
    told = Representation().skip(vae(Space((4, 4), Discrete(17))), data)
    assert "(4, 4)" in told


def test_the_selection_is_by_folds_where_there_are_few_examples():
    assert [selection_of("auto", n) for n in (1200, 4999, 5000)] == ["folds", "folds", "tenth"]
    assert selection_of("tenth", 10) == "tenth"
    assert len(grid(45)) == 45 and float(grid(45)[0]) == 1e-6 and math.isclose(float(grid(45)[-1]), 1e5)


def test_the_same_seed_gives_the_same_record(data, measured):
    again = evaluate(Coarse(), data)
    assert [s.value for s in again.scores] == [s.value for s in measured.scores]


def test_fine_tuning_leaves_the_model_as_it_was(data):
    model = Coarse()
    before = copy.deepcopy(model.state_dict())
    found = evaluate(model, data)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert score(found, "fine_tuned_accuracy").value > 0.8


def test_models_without_weights_are_not_fine_tuned_and_say_so():
    data = blobs()
    found = evaluate(Itself(data.space), data, labels=(1,))
    assert not [s for s in found.scores if s.metric in ("fine_tuned_accuracy", "linear_probe_gain")]
    assert any("no weights that could be fine-tuned" in told for told in found.warnings)


def test_pictures_are_drawn(data):
    assert set(evaluate(Coarse(), data, pictures=True).figures) == {
        "confusion",
        "few-labels",
        "features",
        "neighbours",
        "views",
    }


def test_the_error_of_a_gain_is_that_of_other_examples_and_of_other_controls():
    """Three controls right in 20, 40 and 60 % of four times five examples, and a model that is always right."""
    sheet = Sheet(generator(0, "intervals"))
    controls = torch.tensor([[1.0] + [0.0] * 4, [1.0] * 2 + [0.0] * 3, [1.0] * 3 + [0.0] * 2]).repeat(1, 4)
    sheet.gain("gain", torch.ones(20), controls)
    paired = float((1 - controls.mean(0)).std()) / 20**0.5
    assert math.isclose(sheet.scores[0].value, 0.6, rel_tol=1e-6)
    assert math.isclose(sheet.scores[0].stderr, math.sqrt(paired**2 + 0.04 / 3), rel_tol=1e-6)
    sheet.gain("gain", torch.ones(20), controls[:1])
    assert math.isclose(sheet.scores[1].stderr, float(controls[0].std()) / 20**0.5, rel_tol=1e-6)
    sheet.drawn("gain", torch.ones(3, 20), {}, controls=controls[:, None].expand(3, 3, 20))
    assert sheet.scores[2].stderr > sheet.scores[0].stderr * 0.9
    for score_, column in zip(sheet.scores, ("gain",), strict=False):
        assert math.isclose(float(sheet.columns[column].mean()), score_.value, rel_tol=1e-6)


def test_numbers_of_the_record_are_those_of_the_pieces(data, measured):
    """What the suite puts together: by whose scale, temperature and split, against which controls."""
    context = Context()
    features = [features_of(Coarse(), data, split, context) for split in ("train", "test")]
    standard, given = task_of(data, *features)
    assert torch.equal(standard.mean, Standard.of(features[0]).mean)
    votes = knn_log_prob(given.train, given.y, given.test, 10, k=(20,), temperature=0.07)
    assert torch.equal(measured.columns["knn_accuracy_20"], credit(votes[0], given.test_y))
    assert score(measured, "effective_rank").value == spectrum(given.train).effective_rank
    assert measured.contract["selection"] == "tenth"
    fresh = untrained(Coarse(), context.rng("untrained/0"))
    random = task_of(data, *(features_of(fresh, data, split, context) for split in ("train", "test")))[1]
    control = linear_probe(random, 6, "tenth", context.rng("linear", device="cpu")).credits
    assert score(measured, "control_accuracy", control="random").value == float(control.mean())
    assert score(measured, "linear_probe_gain").value == float(
        (measured.columns["linear_probe_accuracy"] - control).mean()
    )
    few = score(measured, "few_label_gain", labels=4).value
    assert few == pytest.approx(
        score(measured, "few_label_accuracy", labels=4).value
        - score(measured, "few_label_control", control="random", labels=4).value
    )


def test_every_model_and_control_is_given_the_same_labels(monkeypatch):
    rows = []
    monkeypatch.setattr(probes, "few_label_credits", lambda given, drawn: rows.append(drawn) or torch.ones(2, 3))
    protocol = probes.Protocol(3, "tenth", (4,), 5)
    for apart in (1.0, 5.0):
        protocol.probe(task(blobs(apart=apart, seed=int(apart))), "features", Context(seed=2))
    assert torch.equal(*rows)


def test_probes_that_are_kept_are_those_of_the_same_examples_and_labels(tmp_path):
    protocol, given = probes.Protocol(3, "tenth", (1, 4), 3), task(blobs(apart=1.0))
    first = protocol.kept(given, "pixels", Context(cache=tmp_path))
    with patch.object(probes.Protocol, "probe", side_effect=AssertionError("they were kept")):
        again = protocol.kept(given, "pixels", Context(cache=tmp_path))
    assert torch.equal(first.linear.log_prob, again.linear.log_prob) and first.linear.held == again.linear.held
    assert again.few.keys() == {1, 4} and torch.equal(first.few[4], again.few[4])
    other = Task(given.train, given.y, given.test, 2 - given.test_y, given.classes)
    assert not torch.equal(protocol.kept(other, "pixels", Context(cache=tmp_path)).linear.credits, first.linear.credits)
    assert not torch.equal(protocol.kept(given, "pixels", Context(seed=1, cache=tmp_path)).few[1], first.few[1])


def test_an_interval_of_few_labels_is_wider_where_draws_differ():
    sheets = [Sheet(generator(0, "intervals")) for _ in range(2)]
    same = torch.bernoulli(torch.full((1, 200), 0.5), generator=generator(0, "credits")).repeat(10, 1)
    apart = torch.cat([torch.zeros(5, 200), torch.ones(5, 200)])
    for sheet, credits in zip(sheets, (same, apart), strict=True):
        sheet.drawn("few_label_accuracy", credits, {"labels": 1})
    assert sheets[1].scores[0].stderr > 3 * sheets[0].scores[0].stderr
    assert sheets[0].scores[0].parameters["draw_sd"] == 0.0


def test_a_grid_that_may_grow_no_more_says_that_its_end_is_best(monkeypatch):
    monkeypatch.setattr(linear_module, "EXTENSIONS", 0)
    monkeypatch.setattr(linear_module, "grid", lambda count: torch.logspace(-6, -5, count, dtype=F64))
    found = linear_probe(task(blobs(apart=1.0)), 3, "tenth", generator(0, "linear"))
    assert found.at_edge and checks.convergence([found])[0].value == "flag"


def test_the_learning_rate_of_fine_tuning_is_not_chosen_on_the_test_split(data):
    """With its labels turned round, what the tuned network says of the test split is what it was."""
    model, context = Coarse(), Context()
    standard, given = task_of(data, *(features_of(model, data, split, context) for split in ("train", "test")))
    linear, test = linear_probe(given, 6, "tenth", context.rng("linear", device="cpu")), data.split("test")
    turned = replace(data, splits={**data.splits, "test": Split(test.x, 9 - test.y, test.ids)})
    asked = [tuning.fine_tuned(model, each, standard, linear, 5, context) for each in (data, turned)]
    assert asked[0].rate == asked[1].rate
    with patch.object(tuning, "RATES", (asked[0].rate,)):
        assert torch.equal(tuning.fine_tuned(model, data, standard, linear, 5, context).credits, asked[0].credits)


@pytest.mark.parametrize(("scale", "offset"), [(1e4, 0.0), (1e-4, 0.0), (1.0, 100.0)])
def test_fine_tuning_does_not_depend_on_the_scale_of_features(data, scale, offset):
    class Scaled(Coarse):
        def encode(self, x):
            return scale * super().encode(x) + offset

    def tuned(model):
        context = Context()
        standard, given = task_of(data, *(features_of(model, data, split, context) for split in ("train", "test")))
        linear = linear_probe(given, 6, "tenth", context.rng("linear", device="cpu"))
        return tuning.fine_tuned(model, data, standard, linear, 50, context)

    assert abs(float((tuned(Scaled()).credits - tuned(Coarse()).credits).mean())) < 0.02


def test_a_class_that_dominates_is_no_sign_of_shuffled_labels_that_were_learned():
    """Four in five examples are of one class: a probe that knows nothing is right in two of three at least."""
    rng, y = torch.Generator().manual_seed(0), (torch.arange(600) % 5 == 0).long()
    x = torch.randn(600, 4, generator=rng, dtype=F64) + 3 * y[:, None]
    test, _, expected = shuffled_probes(Task(x[:300], y[:300], x[300:], y[300:], 2), 1.0, 20, generator(0, "shuffled"))
    assert float(test.mean()) > 0.6 and checks.shuffled(test, expected)[0].value == "pass"
