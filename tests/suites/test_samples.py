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
from torchstone.suites.features.extractor import ExtractorError
from torchstone.suites.metrics.frechet import fid
from torchstone.suites.metrics.kernel import kernel_distance
from torchstone.suites.metrics.neighbours import neighbourhoods
from torchstone.suites.samples import Samples
from torchstone.suites.sampling.checks import CLAIMS

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
    assert score(found, "memorisation", distance="features").value == pytest.approx(0.5, abs=4 * 0.024)


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
    y = torch.cat(asked)
    frequencies = torch.bincount(NEW.data.split("train").y, minlength=10) / 600
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
