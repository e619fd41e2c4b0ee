"""The samples suite: known distances come out, copies do not hide, and bad samples cost one cell and a sentence."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torchstone_extension.catalogue import CATALOGUE, Outcome
from torchstone_extension.cheats import sampling as cheats
from torchstone_extension.data import dataset

from torchstone.models import Continuous, Discrete, Implicit, ImplicitIterative, ModelError, Sampler, Space
from torchstone.models.encoders.autoencoder import Autoencoder
from torchstone.models.randomness import generator
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import DataError
from torchstone.suites.features.extractor import ExtractorError, Features
from torchstone.suites.metrics.frechet import fid
from torchstone.suites.metrics.kernel import kernel_distance
from torchstone.suites.metrics.neighbours import neighbourhoods
from torchstone.suites.samples import Samples
from torchstone.suites.sampling.checks import CLAIMS
from torchstone.suites.sampling.distances import neighbour_errors

NEW = cheats.NewDigits()


@pytest.fixture(autouse=True)
def _no_picture(request, monkeypatch):
    if "pictures" not in request.node.name:
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *arguments, **more: None)


def measured(model, data=None, *, seed=0, cache=None, **settings):
    suite = Samples(**({"samples": 297} | settings))
    data = NEW.data if data is None else data
    assert suite.skip(model, data) is None
    return suite.evaluate(model, data, Context(seed=seed, cache=cache))


def score(found, metric, **parameters):
    (one,) = [s for s in found.scores if s.metric == metric and parameters.items() <= s.parameters.items()]
    return one


def verdicts(found):
    return {entry["audit"]: entry["verdict"] for entry in found.audits}


class Normals(Implicit):
    """Draws N(shift, 1) in each of four dimensions."""

    def __init__(self, shift=0.0):
        self.space, self.shift = Space((4,), Continuous(-math.inf, math.inf)), shift

    def sample(self, n, y=None, *, rng):
        return torch.randn(n, 4, generator=rng) + self.shift


def normal_data(n=400):
    x = torch.randn(3 * n, 4, generator=generator(0, "normals"))
    made = dataset(x, None, support=Continuous(-math.inf, math.inf))
    splits = {
        name: type(split)(x[i * n : (i + 1) * n], None, torch.arange(n))
        for i, (name, split) in enumerate(made.splits.items())
    }
    return type(made)("normals", made.space, splits, made.licence)


def test_new_digits_are_at_the_floor_and_pass_every_check():
    found = measured(NEW)
    headline = found.scores[0]
    assert headline.metric == "fid" and headline.n == 297
    assert abs(headline.value - headline.parameters["floor"]) < 4 * headline.stderr
    assert set(verdicts(found).values()) == {"pass"} and set(verdicts(found)) == set(CLAIMS)
    assert score(found, "kid").parameters["p_value"] > 0.01
    for metric in ("precision", "recall", "density", "coverage"):
        each = score(found, metric)
        assert abs(each.value - each.parameters["floor"]) < 0.1
    assert score(found, "memorisation", distance="features").value < 4 * 0.024


def test_the_numbers_are_those_of_the_features_of_the_samples_that_the_harness_drew():
    """A random projection of vectors, recomputed: scores are plain functions of what was drawn."""
    data, model = normal_data(), Normals(0.5)
    found = measured(model, data, samples=400, extractor="projection")
    context = Context()
    x = model.sample(400, rng=context.rng("samples", 0)).double()
    test = data.split("test").x[torch.randperm(400, generator=context.rng("reference/test"))].double()
    matrix = torch.randn(4, 4, generator=generator(0, "projection"), dtype=torch.float64) / 2
    a, b = (x @ matrix).float(), (test @ matrix).float()
    assert score(found, "fid").value == pytest.approx(fid(a, b), rel=1e-9)
    assert score(found, "kid").value == pytest.approx(kernel_distance(a, b).value, rel=1e-9)
    near = neighbourhoods(b.double(), a.double())
    assert score(found, "precision").value == pytest.approx(float(near.precision.double().mean()), rel=1e-9)
    assert score(found, "recall").value == pytest.approx(float(near.recall.double().mean()), rel=1e-9)
    assert "toy" in found.contract["extractor"] and found.contract["drawn"] == 400


def test_every_distance_is_at_equal_numbers_and_to_the_split_that_it_names():
    """Six hundred samples against 400 shuffled examples of each split, recomputed: sets, floors, second extractor."""
    data, model, context = normal_data(), Normals(0.5), Context()
    object.__setattr__(data, "splits", {**data.splits, "train": normal_data(1300).split("train")})
    found = measured(model, data, samples=600, extractor="projection")
    x = torch.cat([model.sample(n, rng=context.rng("samples", i)) for i, n in enumerate((500, 100))]).double()
    matrix = torch.randn(4, 4, generator=generator(0, "projection"), dtype=torch.float64) / 2

    def split(name):
        whole = data.split(name).x
        return (whole[torch.randperm(len(whole), generator=context.rng(f"reference/{name}"))].double() @ matrix).float()

    samples, test, train = (x @ matrix).float(), split("test"), split("train")
    floors = [train[i : i + 400] for i in (0, 400, 800)]
    assert score(found, "fid").value == pytest.approx(fid(samples[:400], test), rel=1e-9)
    assert score(found, "fid_train").value == pytest.approx(fid(samples, train[:600]), rel=1e-9)
    assert score(found, "kid").value == pytest.approx(kernel_distance(samples[:400], test).value, rel=1e-9)
    floor = sum(fid(each, test) for each in floors) / 3
    assert score(found, "fid").parameters["floor"] == pytest.approx(floor, rel=1e-6)
    floor = sum(kernel_distance(each, test).value for each in floors) / 3
    assert score(found, "kid").parameters["floor"] == pytest.approx(floor, rel=1e-6)
    near = neighbourhoods(test.double(), samples[:400].double())
    for metric, values in zip(near._fields, near, strict=True):
        assert score(found, metric).value == pytest.approx(float(values.double().mean()), rel=1e-9)
        floor = sum(float(neighbourhoods(test.double(), f.double())._asdict()[metric].double().mean()) for f in floors)
        assert score(found, metric).parameters["floor"] == pytest.approx(floor / 3, rel=1e-9)


def test_errors_of_neighbours_are_their_spread():
    """Of 40 pairs of 200 in four dimensions, shifted: for each of the four the mean error within 35 % of the spread."""
    found = []
    for seed in range(40):
        a, b = (
            torch.randn(200, 4, generator=generator(seed, name)) + shift for name, shift in (("a", 0.0), ("b", 0.5))
        )
        means = [float(each.double().mean()) for each in neighbourhoods(a.double(), b.double())]
        found.append((means, neighbour_errors(b, Features(a), generator(seed, "halves"))))
    spread = torch.tensor([means for means, _ in found]).std(0)
    stated = torch.tensor([errors for _, errors in found]).mean(0)
    assert ((stated / spread - 1).abs() < 0.35).all(), (stated, spread)


def test_real_numbers_are_copies_to_the_last_bit_only():
    data = normal_data()
    fresh = measured(Normals(), data, samples=400)
    assert score(fresh, "exact_copies").value == 0 and score(fresh, "duplicate_pairs").value == 0

    class Remembered(Normals):
        def sample(self, n, y=None, *, rng):
            return data.split("train").x[torch.randperm(400, generator=rng)[:n]]

    copied = measured(Remembered(), data, samples=400)
    assert score(copied, "exact_copies").value == 1
    assert verdicts(copied)["copies of the training split"] == "flag"


def test_honest_samples_of_few_states_are_no_copies():
    """Twelve bits: new draws hit both splits, and each other, as often as examples do; 3 seeds, level 0.001 a check."""

    class Bits(Implicit):
        space = Space((12,), Discrete(2))

        def sample(self, n, y=None, *, rng):
            return torch.randint(2, (n, 12), generator=rng)

    made = dataset(torch.zeros(60, 12).long(), 2)
    for seed in range(3):
        splits = {
            name: type(split)(torch.randint(2, (n, 12), generator=generator(seed, name)), None, torch.arange(n))
            for (name, split), n in zip(made.splits.items(), (100, 60, 1400), strict=True)
        }
        data = type(made)("bits", made.space, splits, made.licence)
        found = verdicts(measured(Bits(), data, samples=1000, seed=seed))
        for check in ("copies of the training split", "copies of the test split", "duplicates"):
            assert found[check] == "pass"


def test_a_check_that_was_not_made_does_not_pass():
    data = normal_data()
    object.__setattr__(data, "splits", {**data.splits, "train": normal_data(60).split("train")})
    assert verdicts(measured(Normals(), data, samples=400))["floor"] == "not-applicable"


def test_a_network_that_is_called_behind_the_count_is_named():
    class Hidden(Steps):
        def sample(self, n, y=None, *, rng, steps=None):
            return self.network.forward(torch.randn(n, 4, generator=rng))

    with pytest.raises(ModelError, match="called its network not once"):
        measured(Hidden(), normal_data(), samples=400)


def test_a_sampler_that_breaks_at_some_steps_costs_those_only():
    class Breaks(Steps):
        def sample(self, n, y=None, *, rng, steps=None):
            if steps == 2:
                raise ValueError("boom")
            return super().sample(n, y, rng=rng, steps=steps)

    found = measured(Breaks(), normal_data(), samples=400, steps=(1, 2, 4))
    assert [s.parameters["steps"] for s in found.scores if s.metric == "fid_at_steps"] == [1, 4]
    assert any("At 2 steps: boom" in words for words in found.warnings)


def test_farther_samples_are_farther_by_every_distance():
    data = normal_data()
    near, far = (measured(Normals(shift), data, samples=400) for shift in (0.2, 1.0))
    for metric in ("fid", "fid_train", "fid_infinity", "kid"):
        assert score(near, metric).value < score(far, metric).value
    assert score(near, "recall").value > score(far, "recall").value


@pytest.mark.parametrize("entry", [e for e in CATALOGUE if e.suite == "samples" and e.cheat], ids=lambda e: e.id)
def test_the_mistake_is_found_by_the_checks_that_the_table_names(entry):
    assert entry.outcome is Outcome.FLAG
    found = measured(entry.cheat())
    for name in entry.audits:
        assert verdicts(found)[name] == "flag", found.warnings
    assert found.warnings


def test_too_few_samples_and_those_of_another_shape_or_type_or_value_are_named():
    def drawn(change):
        class Changed(Implicit):
            space = NEW.space

            def sample(self, n, y=None, *, rng):
                return change(NEW.sample(n, rng=rng))

        return Changed()

    for change, words in {
        lambda x: x[1:]: "returned shape (296, 8, 8) where (297, 8, 8) is due",
        lambda x: x[:, None]: "where (297, 8, 8) is due",
        lambda x: x.tolist(): "returned a list",
        lambda x: x.float(): "on Discrete(levels=17); return integers",
        lambda x: x + 1: "values outside of Discrete(levels=17), such as 17",
        lambda x: x > 3: "torch.bool",
    }.items():
        with pytest.raises(ModelError) as error:
            measured(drawn(change))
        assert words in str(error.value)
    with pytest.raises(ModelError, match="returned shape"):
        measured(cheats.TooFew())


def test_samples_that_are_not_finite_have_no_distance():
    class Broken(Normals):
        def sample(self, n, y=None, *, rng):
            x = super().sample(n, y, rng=rng)
            x[3, 0] = math.nan
            return x

    with pytest.raises(ModelError, match="1 of 400 samples that are not finite"):
        measured(Broken(), normal_data(), samples=400)


def test_the_same_batch_under_two_seeds_is_named_and_one_image_again_and_again_is_not_forbidden():
    class Same(cheats.NewDigits):
        def sample(self, n, y=None, *, rng):
            return self.x[:n]

    with pytest.raises(ModelError, match="the same 100 distinct samples in the same order under two seeds"):
        measured(Same(), block=100)
    found = measured(cheats.OneDigit(), block=100)
    assert score(found, "duplicate_pairs").value == 297 * 296 / 2
    assert math.isfinite(score(found, "fid").value) and verdicts(found)["duplicates"] == "flag"


def test_continuous_samples_come_back_to_integers_through_the_floor():
    class Unit(Implicit):
        space = Space((8, 8), Continuous(0.0, 1.0))

        def sample(self, n, y=None, *, rng):
            return ((NEW.sample(n, rng=rng) + torch.rand(n, 8, 8, generator=rng)) / 17).float()

    assert measured(Unit(), samples=297).scores[0].value == pytest.approx(measured(NEW).scores[0].value, rel=1e-6)


def test_images_are_compared_as_they_are_drawn_and_a_sampler_that_resizes_them_pays_for_it():
    """No file is written and nothing resized between the sampler and the extractor, so nothing can be done there."""
    plain, resized = measured(NEW), measured(cheats.SmoothDigits())
    for metric in ("fid", "fid_second", "kid"):
        assert score(resized, metric).value > 1.5 * score(plain, metric).value


def test_labels_are_the_harnesses_in_the_proportions_of_the_training_split():
    asked = []

    class Labelled(Sampler):
        space = Space((8, 8), Discrete(17), classes=10)

        def sample(self, n, y=None, *, rng):
            asked.append(y)
            return NEW.sample(n, rng=rng)

    found = measured(Labelled(), block=100)
    y = torch.cat(asked)[:297]
    frequencies = torch.bincount(NEW.data.split("train").y, minlength=10) / 900
    assert (torch.bincount(y, minlength=10) - 297 * frequencies).abs().max() < 1
    assert found.contract["conditional"] is True
    assert 0.02 < score(found, "label_agreement").value < 0.2  # its digits are drawn whatever the label
    assert not torch.equal(y, y.sort().values)


class Steps(nn.Module, ImplicitIterative):
    """Walks from noise to a normal: at k steps its deviation is 1 - 2^-k."""

    def __init__(self):
        super().__init__()
        self.space = Space((4,), Continuous(-math.inf, math.inf))
        self.network = nn.Identity()

    def sample(self, n, y=None, *, rng, steps=None):
        if steps == 3:
            raise ModelError("three steps are not possible; take another number.")
        x = torch.randn(n, 4, generator=rng)
        deviation = 0.0
        for _ in range(steps or 8):
            deviation += (1 - deviation) / 2
            self.network(x)
        return x * deviation


def test_quality_is_shown_against_evaluations_of_the_network():
    found = measured(Steps(), normal_data(), samples=400, steps=(4, 1, 2, 3))
    rungs = [s for s in found.scores if s.metric == "fid_at_steps"]
    assert [s.parameters["steps"] for s in rungs] == [1, 2, 4]
    assert [s.parameters["evaluations"] for s in rungs] == [1, 2, 4]
    assert rungs[0].value > rungs[1].value > rungs[2].value
    assert any("At 3 steps: three steps are not possible" in words for words in found.warnings)


def test_numbers_depend_on_the_seed_and_on_neither_batch_nor_cache(tmp_path):
    first = measured(NEW, cache=tmp_path)
    kept = sorted(tmp_path.iterdir())
    assert kept and all(path.suffix == ".safetensors" for path in kept)
    again = measured(NEW, cache=tmp_path)
    assert [s.value for s in first.scores] == [s.value for s in again.scores]
    assert sorted(tmp_path.iterdir()) == kept
    kept[0].write_bytes(b"damaged")
    assert [s.value for s in measured(NEW, cache=tmp_path).scores] == [s.value for s in first.scores]
    assert measured(NEW, seed=1).scores[0].value != first.scores[0].value


def test_a_cache_is_of_content_and_never_of_names(tmp_path):
    data, other = normal_data(), normal_data(300)
    object.__setattr__(other, "name", data.name)
    measured(Normals(), data, samples=300, cache=tmp_path)
    fresh, cached = measured(Normals(), other, samples=300), measured(Normals(), other, samples=300, cache=tmp_path)
    assert [s.value for s in fresh.scores] == [s.value for s in cached.scores]


def save(path, **arrays):
    np.savez(path, **{name: array.numpy() for name, array in arrays.items()})
    return path


def test_a_reference_of_ones_own_takes_the_place_of_the_test_split(tmp_path):
    test = NEW.data.split("test").x
    own = measured(NEW, reference=save(tmp_path / "test.npz", x=test))
    assert own.scores[0].value == pytest.approx(measured(NEW).scores[0].value, rel=0.2)
    assert own.contract["reference"] == "test.npz" and len(own.contract["reference_hash"]) == 64


def test_moments_of_ones_own_give_a_frechet_distance_and_nothing_else(tmp_path):
    path = save(tmp_path / "moments.npz", mu=torch.zeros(4).double(), sigma=torch.eye(4).double())
    found = measured(Normals(), normal_data(), samples=400, reference=path)
    assert "kid" not in {s.metric for s in found.scores} and score(found, "fid").n == 400
    assert any("only moments are known" in words for words in found.warnings)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"mu": torch.zeros(4), "sigma": torch.eye(3)}, "sigma (3, 3)"),
        ({"mu": torch.full((4,), math.nan), "sigma": torch.eye(4)}, "must be finite"),
        ({"mu": torch.zeros(4), "sigma": -torch.eye(4)}, "variances below zero"),
        ({"mu": torch.zeros(7), "sigma": torch.eye(7)}, "it is of 7 features"),
        ({"features": torch.zeros(50, 7)}, "it is of 7 features"),
        ({"x": torch.zeros(5, 4)}, "holds 5 examples; give at least 20"),
        ({"features": torch.zeros(4)}, "finite (N, D)"),
        ({"features": torch.full((4, 4), math.nan)}, "finite (N, D)"),
        ({"x": torch.zeros(4, 5)}, "examples of shape (5,)"),
        ({"y": torch.zeros(4)}, "it must hold x"),
    ],
)
def test_a_reference_that_does_not_go_with_the_data_is_named(tmp_path, arrays, words):
    with pytest.raises(DataError) as error:
        measured(Normals(), normal_data(), samples=400, reference=save(tmp_path / "own.npz", **arrays))
    assert words in str(error.value)


def test_a_reference_that_is_no_archive_is_named(tmp_path):
    (tmp_path / "own.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        measured(NEW, reference=tmp_path / "own.npz")


def test_what_cannot_be_measured_is_skipped_with_a_reason():
    suite = Samples()
    assert "draws no samples" in suite.skip(Autoencoder(NEW.space), NEW.data)
    assert "no distance of fewer than 20" in suite.skip(NEW, dataset(torch.zeros(9, 8, 8).long(), 17))
    assert "is text" in suite.skip(NEW, dataset(torch.zeros(90, 64).long(), 256, text=True))
    assert "examples of shape" in suite.skip(Normals(), NEW.data)
    assert "without limits" in suite.skip(Normals(), dataset(torch.zeros(90, 4).long(), 17))


def test_an_extractor_whose_weights_are_missing_says_where_to_put_them(tmp_path):
    with pytest.raises(ExtractorError, match=r"there are no weights at .*nowhere.pth; fetch https"):
        measured(NEW, extractor="inception", weights=tmp_path / "nowhere.pth")
    with pytest.raises(ExtractorError, match="weights are named for"):
        measured(NEW, weights=tmp_path / "nowhere.pth")


def test_pictures_are_of_samples_beside_their_neighbours_and_of_distances():
    found = measured(NEW, samples=400, steps=())
    assert set(found.figures) == {"samples", "extrapolation"}
    assert all(png.startswith(b"\x89PNG") for png in found.figures.values())
    found = measured(Steps(), normal_data(), samples=400, steps=(1, 2))
    assert set(found.figures) == {"extrapolation", "steps"}
