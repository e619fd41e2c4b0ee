"""What the command line needs of every data factory."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path

import pytest

from torchstone.suites.data import Dataset, embedded, local, synthetic, vision

FACTORIES: list[Callable[..., Dataset]] = [
    embedded.digits,
    embedded.patches,
    synthetic.bernoulli,
    synthetic.ising,
    synthetic.linear_gaussian,
    synthetic.markov,
    synthetic.mixture,
    vision.celeba,
    vision.cifar10,
    vision.cifar100,
    vision.fashion_mnist,
    vision.mnist,
    vision.svhn,
    local.folder,
    local.npz,
    local.text,
]


@pytest.mark.parametrize("factory", FACTORIES, ids=lambda f: f.__name__)
def test_settings_have_types_and_defaults(factory: Callable[..., Dataset]) -> None:
    hints = typing.get_type_hints(factory, include_extras=True)
    assert hints["return"] is Dataset
    for i, parameter in enumerate(inspect.signature(factory).parameters.values()):
        path = i == 0 and parameter.name == "path"
        assert parameter.name in hints and (parameter.default is inspect.Parameter.empty) == path
        assert not path or hints["path"] is Path


def test_importing_the_data_imports_no_slow_library() -> None:
    modules = "torchstone.suites.data." + ", torchstone.suites.data.".join(("embedded", "synthetic", "vision", "local"))
    code = f"import sys, {modules}; print({{'torchvision', 'sklearn', 'PIL'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
