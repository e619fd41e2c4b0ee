"""Extractors say what their features depend on, take weights that are there, and nothing that is not tensors."""

import pickle

import pytest
import torch

from torchstone.models import Continuous, Discrete, Space
from torchstone.models.randomness import generator
from torchstone.suites.context import Context
from torchstone.suites.data.embedded import digits
from torchstone.suites.features import fidelity
from torchstone.suites.features.cache import extract
from torchstone.suites.features.choice import chosen
from torchstone.suites.features.digits import HASH, SHAPE, WEIGHTS, DigitsExtractor
from torchstone.suites.features.extractor import Extractor, ExtractorError, Features
from torchstone.suites.features.fidelity import DinoExtractor, InceptionExtractor, as_bytes
from torchstone.suites.features.projection import ProjectionExtractor
from torchstone.suites.features.weights import file_hash

CPU = torch.device("cpu")
COLOUR = Space((3, 32, 32), Discrete(256))


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    """A file in the form of torch-fidelity's, with random weights."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    kept: dict[str, torch.Tensor] = {}

    class Blank(FeatureExtractorInceptionV3):
        def load_state_dict(self, state):
            kept.update(self.state_dict())

    torch.save({}, path)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        Blank("inception", ["2048"], feature_extractor_weights_path=str(path))
    torch.save(kept, path)
    return path


def test_inception_is_torch_fidelitys_with_the_hash_of_its_weights(inception):
    extractor = InceptionExtractor(inception)
    x = torch.randint(256, (2, 3, 32, 32), generator=generator(0, "x"))
    found = extractor(x, COLOUR, CPU)
    assert found.values.shape == (2, 2048) and found.logits.shape == (2, 1008)
    peer = extractor.network(x.to(torch.uint8))
    assert torch.equal(found.values, peer[0]) and torch.equal(found.logits, peer[1])
    assert extractor.facts["extractor_weights"] == file_hash(inception)
    assert "299" in extractor.facts["resize"]


def test_weights_are_looked_for_in_the_cache_and_never_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", pytest.fail)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ExtractorError) as error:
        chosen("inception", None, COLOUR)
    assert str(tmp_path / "checkpoints" / fidelity.INCEPTION) in str(error.value) and "suite.weights=PATH" in str(
        error.value
    )
    with pytest.raises(ExtractorError, match="there is no code of it at"):
        chosen("dinov2", None, COLOUR)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(ExtractorError, match="holds no weights of this network"):
        InceptionExtractor(path)


@pytest.mark.parametrize("content", [b"", b"rubbish", pickle.dumps(print)])
def test_a_file_that_is_not_tensors_is_never_unpickled(tmp_path, content):
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    with pytest.raises(ExtractorError, match="cannot be read as tensors"):
        InceptionExtractor(path)


HUB = """
import torch


def dinov2_vitl14(pretrained=True):
    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(3, 1024)
            self.load_state_dict(torch.load(WEIGHTS, weights_only=True))

        def forward(self, x):
            return self.linear(x.mean((2, 3)))

    return Network()
"""


@pytest.fixture
def hub(tmp_path):
    """Torch hub's cache, with a small network in place of the real one."""
    code, weights = tmp_path / fidelity.DINO_FOLDER, tmp_path / "checkpoints" / fidelity.DINO_WEIGHTS
    code.mkdir()
    weights.parent.mkdir()
    (code / "hubconf.py").write_text(HUB.replace("WEIGHTS", repr(str(weights))))
    torch.save(torch.nn.Linear(3, 1024).state_dict() | {}, weights)
    torch.save({f"linear.{name}": value for name, value in torch.nn.Linear(3, 1024).state_dict().items()}, weights)
    return tmp_path


def test_dinov2_is_torch_fidelitys_from_a_hub_that_is_there(hub):
    before = torch.hub.get_dir()
    extractor = DinoExtractor(hub)
    found = extractor(torch.zeros(2, 3, 32, 32, dtype=torch.long), COLOUR, CPU)
    assert found.values.shape == (2, 1024) and found.logits is None
    assert torch.hub.get_dir() == before
    facts = extractor.facts
    (hub / fidelity.DINO_FOLDER / "more.py").write_text("x = 1\n")
    assert extractor.facts["extractor_code"] != facts["extractor_code"]


def test_images_become_bytes_with_their_levels_spread_evenly():
    x = torch.tensor([[[0, 16], [8, 4]]])
    found = as_bytes(x, Space((2, 2), Discrete(17)))
    assert found.shape == (1, 3, 2, 2) and found.dtype == torch.uint8
    assert found[0, 2].tolist() == [[0, 255], [128, 64]]
    bytes_ = torch.arange(256).view(1, 1, 16, 16)
    assert torch.equal(as_bytes(bytes_, Space((1, 16, 16), Discrete(256)))[0, 0], bytes_[0, 0].to(torch.uint8))
    with pytest.raises(ExtractorError, match="take images"):
        as_bytes(torch.zeros(1, 5), Space((5,), Discrete(2)))


def test_the_classifier_of_digits_is_the_file_that_ships_and_knows_digits():
    extractor, data = DigitsExtractor(), digits()
    assert file_hash(WEIGHTS) == HASH == extractor.facts["extractor_weights"]
    x, y = data.split("test").batch(0, 297)
    found = extractor(x, SHAPE, CPU)
    assert (found.logits.argmax(1) == y).double().mean() > 0.97
    assert found.values.shape == (297, 32) and 0.5 < float(found.values.var(0).mean()) < 2
    with pytest.raises(ExtractorError, match="8×8 images with 17 levels"):
        extractor(torch.zeros(1, 4, 4).long(), Space((4, 4), Discrete(17)), CPU)


def test_another_file_in_its_place_is_refused(monkeypatch, tmp_path):
    from torchstone.suites.features import digits as module

    monkeypatch.setattr(module, "WEIGHTS", tmp_path / "digits.safetensors")
    with pytest.raises(ExtractorError, match="missing or not the file that ships"):
        DigitsExtractor()


def test_a_random_projection_is_the_same_everywhere_and_keeps_distances():
    space = Space((3, 32, 32), Discrete(256))
    x = torch.randint(256, (40, 3, 32, 32), generator=generator(0, "x"))
    first, second = (ProjectionExtractor(space)(x, space, CPU).values for _ in range(2))
    assert torch.equal(first, second) and first.shape == (40, 64)
    true = torch.pdist(x.flatten(1).double() / 255)
    assert (torch.pdist(first.double()) / true).mean() == pytest.approx(1, abs=0.1)
    assert ProjectionExtractor(Space((3,), Continuous())).features == 3


def test_the_extractor_suits_the_data_unless_told_otherwise(monkeypatch):
    from torchstone.suites.features import choice

    monkeypatch.setattr(choice, "InceptionExtractor", lambda weights: "inception")
    assert isinstance(chosen("auto", None, SHAPE), DigitsExtractor)
    assert chosen("auto", None, COLOUR) == "inception"
    assert chosen("auto", None, Space((3, 8, 8), Discrete(256))).toy
    assert chosen("auto", None, Space((28, 28), Discrete(256))).toy
    assert chosen("projection", None, SHAPE).toy


class Broken(Extractor):
    name = "broken"

    @property
    def facts(self):
        return {"extractor": self.name}

    def __call__(self, x, space, device):
        return Features(torch.full((len(x), 2), torch.nan))


def test_features_that_are_not_finite_are_named():
    with pytest.raises(ExtractorError, match="broken gives features of samples that are not finite"):
        extract(Broken(), torch.zeros(3, 8, 8).long(), SHAPE, Context(), "samples")


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path):
    (tmp_path / "file").write_text("in the way")
    x = digits().split("test").x[:9]
    found = extract(DigitsExtractor(), x, SHAPE, Context(cache=tmp_path / "file"), "samples")
    assert len(found) == 9


def test_the_documented_command_trains_as_good_a_classifier():
    from torchstone.harness.extractors import train

    classifier = train(700)
    x, y = digits().split("test").batch(0, 297)
    with torch.no_grad():
        assert (classifier.log_prob_label(x).argmax(1) == y).double().mean() > 0.96
