"""Encoders by name: what follows the colon, what `all` means, and fits that are kept."""

from __future__ import annotations

import inspect

import pytest
import torch

from torchstone.harness.errors import InputError
from torchstone.harness.fitting import fit, fitted
from torchstone.harness.loading import build_model
from torchstone.harness.planning import plan
from torchstone.harness.plugins import Component, component
from torchstone.harness.request import request
from torchstone.harness.settings import resolve
from torchstone.models import Continuous, Encoder, Space
from torchstone.suites.data.embedded import digits

SMALL = {
    "pca": {},
    "kmeans": {},
    "rotation": {"width": 8},
    "jigsaw": {"width": 8},
    "inpainting": {"width": 8},
    "transformer_features": {"width": 8},
    "diffusion_features": {"width": 8},
}


def named(spec: str, **settings):
    found = component("models", spec)
    return build_model(found, tuple(resolve(found, settings).items()), digits(), 0)


@pytest.mark.parametrize("name", SMALL)
def test_what_was_fitted_is_found_again(name, tmp_path):
    model, data = named(name, **SMALL[name]), digits()
    assert not fitted(model, "key", tmp_path, lambda: fit(model, data, 2, 0, print_nothing), lambda: fresh(name))
    again = fresh(name)
    assert fitted(again, "key", tmp_path, lambda: pytest.fail("it was kept"), lambda: fresh(name))
    x, _ = data.split("test").batch(0, 20)
    assert torch.equal(model.encode(x), again.encode(x)) and not torch.equal(fresh(name).encode(x), again.encode(x))


def fresh(name: str):
    return named(name, **SMALL[name])


def print_nothing(*arguments) -> None:
    """Report progress to nobody."""


@pytest.mark.parametrize("name", ["pixels", "random"])
def test_the_controls_are_had_by_name(name):
    assert isinstance(named(name), Encoder)


def test_a_name_follows_the_colon_and_is_no_setting():
    pytest.importorskip("timm")
    found = component("models", "timm:test_resnet")
    assert (found.name, found.path, found.following(), found.family()) == ("timm", "test_resnet", "name", "encoder")
    assert set(found.settings()) == {"weights", "pretrained", "size", "crop"}
    model = named("timm:test_resnet", pretrained="false", size="32")
    assert isinstance(model, Encoder) and model.encode(torch.randint(17, (2, 8, 8))).shape == (2, 96)


def test_a_name_that_has_a_default_is_a_setting():
    def factory(space: Space, name: str = "mine"):
        return None

    found = Component("models", "file.py:factory", "factory", factory)
    assert found.following() is None and set(found.settings()) == {"name"}
    assert inspect.signature(factory).parameters["name"].default == "mine"


@pytest.mark.parametrize("spec", ["timm", "timm:"])
def test_a_name_that_is_missing_is_asked_for(spec):
    with pytest.raises(InputError, match=f"model={spec}: it needs a name; write model=timm:NAME"):
        named(spec)


def test_all_models_are_those_that_need_nothing_after_a_colon(tmp_path):
    asked = request({"suite": "density", "model": "all", "data": "digits"}, {})
    cells = plan(asked, tmp_path, False, (), print_nothing).cells
    assert set(SMALL) | {"pixels", "random"} <= {cell.model for cell in cells}
    assert not {"timm", "samples"} & {cell.model for cell in cells}


def test_a_network_that_timm_does_not_have_ends_the_run_before_it_begins(tmp_path):
    pytest.importorskip("timm")
    asked = request({"suite": "density", "model": "timm:test_resnt", "data": "digits"}, {})
    with pytest.raises(InputError, match=r"model=timm:test_resnt: timm has no network 'test_resnt'; near it are"):
        plan(asked, tmp_path, False, (), print_nothing)


def test_a_square_task_is_refused_for_what_is_no_square():
    from torchstone.models import ModelError

    with pytest.raises(ModelError, match="takes images of shape"):
        component("models", "rotation").factory(Space((4,), Continuous(0.0, 1.0)))
