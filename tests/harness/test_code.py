"""The digest of a model's code moves with whatever the model runs, and with nothing else."""

import importlib
import sys

import pytest

from torchstone.harness import code
from torchstone.harness.code import code_digest

SHARED = """
import math

SCALE = 1.0
__all__ = ["scale", "shift"]


def _twice(x):
    return 2 * x


def scale(x):
    return SCALE * _twice(x)


def shift(x):
    return x + math.pi


class Promise:
    def kept(self):
        return True
"""
MODEL = "from digest_shared import Promise, scale\nclass M(Promise):\n    def f(self):\n        return scale(1)\n"


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """Of the model M, once its modules have been written anew; they count as Torchstone's own."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(code, "OWN", "digest_")

    def made(shared=SHARED, model=MODEL):
        for name, text in {"digest_shared": shared, "digest_model": model}.items():
            (tmp_path / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        m = importlib.import_module("digest_model").M
        found = code_digest(m, m())
        assert found is not None
        return found

    return made


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SCALE * ", "SCALE + "),
        ("SCALE = 1.0", "SCALE = 2.0"),
        ("2 * x", "3 * x"),
        ("return True", "return False"),
        ("class Promise:", "SCALE += 1\n\n\nclass Promise:"),
        ("def scale(x)", "@staticmethod\ndef scale(x)"),
        ("class Promise:", "for name in ():\n    print(name)\n\n\nclass Promise:"),
    ],
)
def test_it_moves_with_what_is_used(digest, before, after):
    assert digest(SHARED.replace(before, after)) != digest()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x + math.pi", "x - math.pi"),
        ("import math", "\nimport math"),
        ('"scale", ', ""),
        ("class Promise:", "class Other(int):\n    pass\n\n\nclass Promise:"),
    ],
)
def test_it_stays_with_what_is_not(digest, before, after):
    assert digest(SHARED.replace(before, after)) == digest()


def test_another_origin_of_a_name_is_another_code(digest):
    assert digest(model=MODEL.replace("Promise, scale", "Promise, shift as scale")) != digest()


def test_of_modules_of_others_everything_counts(digest, monkeypatch):
    monkeypatch.setattr(code, "OWN", "torchstone.")
    assert digest(SHARED.replace("x + math.pi", "x - math.pi")) != digest()


def test_a_file_that_changed_under_a_running_model_has_no_digest(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "changed_model.py").write_text("class M:\n    pass\n")
    m = importlib.import_module("changed_model").M
    assert code_digest(m, m()) is not None
    (tmp_path / "changed_model.py").write_text("class M:\n    x = 1\n")
    assert code_digest(m, m()) is None


def test_code_without_source_has_no_digest():
    namespace = {"__name__": "nowhere_to_be_found"}
    exec("class M:\n    pass\n", namespace)
    assert code_digest(namespace["M"], namespace["M"]()) is None
