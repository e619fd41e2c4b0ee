"""timm's networks as encoders, with weights that the tests draw themselves."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from safetensors.torch import save_file
from torchvision.transforms.v2 import functional

from torchstone.harness.identity import state_digest
from torchstone.models import Continuous, Discrete, ModelError, Space, capabilities
from torchstone.models.checks import check_model
from torchstone.models.ecosystem.timm import timm_encoder
from torchstone.models.randomness import generator, seeded
from torchstone.models.training import reset

timm = pytest.importorskip("timm")

GREY, COLOUR = Space((8, 8), Discrete(17), 10), Space((3, 32, 32), Continuous(-1.0, 1.0))
NAMES = ("test_vit", "test_resnet", "test_convnext")
SIZE = 64


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def network(name: str, classes: int = 1000) -> torch.nn.Module:
    torch.manual_seed(7)
    return timm.create_model(name, num_classes=classes, **({"img_size": SIZE} if "vit" in name else {})).eval()


def saved(model: torch.nn.Module, path):
    save_file(model.state_dict(), path)
    return path


def drawn(name: str = "test_resnet", space: Space = GREY, seed: int = 0, **settings):
    with seeded(generator(seed, "initialisation")):
        return timm_encoder(name, space, pretrained=False, size=SIZE, **settings)


@pytest.mark.parametrize("space", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("name", NAMES)
def test_keeps_the_contract_and_gives_each_example_its_own_features(name, space):
    model = drawn(name, space)
    assert "features are vectors" in check_model(model) and capabilities(model) == ("Encoder", "Pretrained")
    assert model.space.classes is None
    x = torch.randint(17, (3, 8, 8)) if space is GREY else 2 * torch.rand((3, 3, 32, 32)) - 1
    model = model.double()
    together = model.encode(x)
    assert together.dtype == torch.float64 and torch.equal(together, model.encode(x))
    assert torch.cat([model.encode(each[None]) for each in x]).allclose(together, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("classes", [1000, 5, 0])
@pytest.mark.parametrize("name", NAMES)
def test_weights_of_a_file_give_the_features_that_timm_gives(name, classes, tmp_path):
    """Whatever classifier the weights come with; it is taken off once everything has been loaded."""
    other = network(name, classes)
    model = timm_encoder(name, GREY, weights=saved(other, tmp_path / "weights.safetensors"), size=SIZE)
    assert model.pretraining == f"weights of timm's {name}"
    assert timm_encoder(name, GREY, pretrained=False, size=SIZE).pretraining == ""
    images = model.images(torch.randint(17, (2, 8, 8)))
    expected = other.forward_head(other.forward_features(images), pre_logits=True)
    torch.testing.assert_close(model.network(images), expected)


def test_a_file_of_torch_is_read_too(tmp_path):
    other = network("test_resnet")
    torch.save({"state_dict": other.state_dict()}, tmp_path / "weights.pth")
    model = timm_encoder("test_resnet", GREY, weights=tmp_path / "weights.pth")
    torch.testing.assert_close(model.network.state_dict()["conv1.0.weight"], other.state_dict()["conv1.0.weight"])


def test_weights_in_the_cache_are_found_and_nothing_else_is(tmp_path):
    from huggingface_hub import constants

    folder = tmp_path / "hub" / "models--timm--test_resnet.r160_in1k"
    with pytest.raises(ModelError, match=r"The weights of test_resnet are not on this machine, and nothing is down"):
        timm_encoder("test_resnet", GREY)
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("a" * 40)
    (folder / "snapshots" / ("a" * 40)).mkdir(parents=True)
    other = network("test_resnet")
    saved(other, folder / "snapshots" / ("a" * 40) / "model.safetensors")
    assert str(tmp_path / "hub") == constants.HF_HUB_CACHE
    model = timm_encoder("test_resnet", GREY)
    torch.testing.assert_close(model.network.state_dict()["conv1.0.weight"], other.state_dict()["conv1.0.weight"])


def test_weights_that_fit_in_part_are_refused_with_the_keys(tmp_path):
    state = network("test_resnet").state_dict()
    less = {key: value for key, value in state.items() if key != "conv1.0.weight"}
    more = {**state, "extra.weight": torch.zeros(1)}
    for found, said in ((less, r"Missing key.*conv1\.0\.weight"), (more, r"Unexpected key.*extra\.weight")):
        save_file(found, tmp_path / "weights.safetensors")
        with pytest.raises(ModelError, match=rf"weights do not fit test_resnet, and are not loaded in part: .*{said}"):
            timm_encoder("test_resnet", GREY, weights=tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("test_resnt", "timm has no network 'test_resnt'; near it are .*test_resnet"),
        ("hf-hub:timm/test_resnet", "timm has no network 'hf-hub:timm/test_resnet'; near it are .*test_resnet"),
        ("test_resnet.other", "timm has no weights 'test_resnet.other' of that network; it has test_resnet.r160_in1k"),
    ],
)
def test_names_that_timm_does_not_have(name, said):
    with pytest.raises(ModelError, match=said):
        timm_encoder(name, GREY, pretrained=False)


def test_what_cannot_be_had_is_said(tmp_path, monkeypatch):
    for name, content in (("no.safetensors", None), ("bad.safetensors", b"{}"), ("bad.pth", b"\x80\x02code")):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=rf"model.weights=.*{name}: it cannot be read"):
            timm_encoder("test_resnet", GREY, weights=tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="it holds no state dictionary"):
        timm_encoder("test_resnet", GREY, weights=tmp_path / "list.pth")
    with pytest.raises(ModelError, match="give one of them"):
        timm_encoder("test_resnet", GREY, weights=tmp_path / "list.pth", pretrained=False)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"timm is not installed: `pip install torchstone\[timm\]`"):
        timm_encoder("test_resnet", GREY)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (Space((5,), Discrete(4)), "timm takes images of shape"),
        (Space((2, 8, 8), Discrete(4)), "one or three channels, and these have 2"),
        (Space((8, 8), Continuous(-torch.inf, torch.inf)), "values are bounded, and these are not"),
    ],
)
def test_data_that_are_no_images_are_refused(space, said):
    with pytest.raises(ModelError, match=said):
        drawn(space=space)


def test_images_are_prepared_as_timm_says():
    """Levels over [0, 1], grey in three channels, resized, the centre cut out, mean and deviation taken out."""
    model, x = drawn(), torch.randint(17, (2, 8, 8), generator=generator(0, "x"))
    config = timm.data.resolve_model_data_config(model.network)
    side = int(SIZE / config["crop_pct"])
    grey = (x / 16)[:, None].repeat(1, 3, 1, 1)
    resized = functional.resize(
        grey, [side], functional.InterpolationMode(config["interpolation"]), antialias=True
    ).clamp(0, 1)
    mean, deviation = (torch.tensor(config[key])[:, None, None] for key in ("mean", "std"))
    expected = (functional.center_crop(resized, [SIZE]) - mean) / deviation
    torch.testing.assert_close(model.images(x), expected)
    whole = drawn(crop=False).images(torch.full((1, 8, 8), 16))
    torch.testing.assert_close(whole, ((1 - mean) / deviation).expand(1, 3, SIZE, SIZE))
    colour = drawn(space=COLOUR).images(torch.full((1, 3, 32, 32), -1.0))
    torch.testing.assert_close(colour, (-mean / deviation).expand(1, 3, SIZE, SIZE))


def test_preparation_agrees_with_timms_own_on_files():
    """timm resizes bytes and rounds: no pixel differs by more than two of the 256 levels."""
    from PIL import Image

    space = Space((3, 32, 32), Discrete(256))
    x = torch.randint(256, (3, 32, 32), generator=generator(0, "x"))
    model = drawn(space=space)
    config = timm.data.resolve_model_data_config(model.network)
    transform = timm.data.create_transform(**{**config, "input_size": (3, SIZE, SIZE)}, is_training=False)
    theirs = transform(Image.fromarray(x.permute(1, 2, 0).byte().numpy()))
    assert ((model.images(x[None])[0] - theirs) * model.deviation).abs().max() < 2 / 255


@pytest.mark.parametrize("name", NAMES)
def test_the_control_is_drawn_as_timm_draws(name):
    """Reset under a seed, a copy has what timm gives under some seed: here, that of its very last draw."""
    model, other = drawn(name), drawn(name, seed=1)
    control = copy.deepcopy(model)
    with seeded(generator(1, "control")):
        reset(control)
    again = copy.deepcopy(other)
    with seeded(generator(1, "control")):
        reset(again)
    ours, theirs, before = control.state_dict(), again.state_dict(), model.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    assert any(not torch.equal(value, before[key]) for key, value in ours.items())
    for key, value in ours.items():  # of timm's scale, not of torch's
        if value.ndim > 1 and value.is_floating_point():
            assert torch.isclose(value.std(), before[key].std(), rtol=0.35, atol=1e-4), key


def test_state_is_known_by_its_content():
    assert state_digest(drawn()) == state_digest(drawn()) is not None
    assert state_digest(drawn()) != state_digest(drawn(seed=1))
