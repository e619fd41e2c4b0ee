"""``suite=samples`` from the command line: models, folders of samples, and what is typed wrongly."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits


@pytest.fixture
def archive(tmp_path):
    images = load_digits().images.astype(np.uint8)
    np.savez(tmp_path / "mine.npz", x=images[:400])
    return "samples:mine.npz"


def test_samples_that_lie_in_a_file_are_scored_without_their_model(bench, archive):
    said = bench("run", "suite=samples", f"model={archive}", "suite.samples=400")
    assert said.code == 0, said.err
    assert "samples:mine.npz" in said.out and "floor: training examples" in said.out and "unaudited" in said.out
    assert "of 400 samples are training examples to the last bit" in said.err
    said = bench("audit", f"model={archive}")
    assert "was drawn elsewhere: there is no model to be audited" in said.out + said.err


def test_unreadable_samples_are_bad_input(bench, tmp_path, sentence):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no picture")
    assert "cannot be read as an image" in sentence(bench("run", "suite=samples", "model=samples:bad"))


def test_data_without_labels_are_named_and_no_setting_is(bench):
    said = bench("run", "suite=conditional", "model=independent", "data=bernoulli")
    assert said.code == 0 and "bernoulli has no labels" in said.out and "conditional=false" not in said.out


def test_too_few_are_skipped_and_say_how_many_there_are(bench, archive):
    said = bench("run", "suite=samples", f"model={archive}")
    assert said.code == 0 and "holds 400 samples and 2000 are asked for" in said.out + said.err


def test_a_table_has_floors_and_nulls_below_its_models(bench):
    said = bench("run", "suite=samples", "model=independent", "suite.samples=300")
    assert said.code == 0, said.err
    assert max(len(line) for line in said.out.splitlines() if line.startswith("|")) <= 100
    report = bench("report", "--format", "json")
    (block,) = json.loads(report.out)["blocks"]
    columns = {column["name"]: column for column in block["columns"]}
    assert columns["fid"]["floor"] < 2 and columns["coverage"]["null"] == pytest.approx(0.969, abs=0.001)
    assert columns["density"]["null"] == 1


def test_steps_are_a_list(bench):
    arguments = ("run", "suite=samples", "model=flow_matching", "budget=smoke", "suite.samples=100")
    said = bench(*arguments, "suite.steps=2,1")
    assert said.code == 0, said.err
    said = bench("report", "--columns", "fid_at_steps")
    assert "fid_at_steps steps=1" in said.out and "fid_at_steps steps=2" in said.out


def test_a_reference_that_changed_under_its_name_is_another_one(bench, tmp_path):
    arguments = ("run", "suite=samples", "model=independent", "suite.samples=300", "suite.reference=own.npz")
    for seed in (0, 1):
        x = np.random.default_rng(seed).integers(0, 17, (50, 8, 8), dtype=np.uint8)
        np.savez(tmp_path / "own.npz", x=x)
        said = bench(*arguments)
        assert said.code == 0 and "found in the store" not in said.err
    assert "found in the store" in bench(*arguments).err


def test_another_suites_settings_for_models_are_no_others(bench):
    """Each suite has default models of its own, and a model that is named stands for all."""
    said = bench("run", "suite=samples,density", "model=independent", "suite.samples=300")
    assert said.code == 0 and "samples on digits" in said.out and "density on digits" in said.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("model=samples",), "it needs a path; write model=samples:PATH"),
        (("model=samples:nowhere",), "there is no such file"),
        (("suite.extractor=inceptoin",), "suite.extractor=inceptoin"),
        (("suite.samples=3",), "suite.samples=3"),
        (("suite.steps=0",), "suite.steps=0"),
        (("suite.steps=1,x",), "suite.steps=1,x"),
    ],
)
def test_what_is_typed_wrongly_is_named(bench, arguments, words):
    model = () if arguments[0].startswith("model=") else ("model=independent",)
    said = bench("run", "suite=samples", *model, *arguments)
    assert words in said.out + said.err and "Traceback" not in said.err
    assert said.code in (0, 2)


def test_an_extractor_without_weights_fails_one_cell_and_says_where_to_put_them(bench, tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    said = bench("run", "suite=samples", "model=independent", "suite.extractor=inception", "suite.samples=20")
    assert said.code == 3 and "there are no weights at" in said.out + said.err


def test_all_models_are_those_that_need_no_path():
    from torchstone.harness.planning import plan
    from torchstone.harness.request import request

    asked = request({"suite": "samples", "model": "all", "data": "digits"}, {})
    found = {cell.model for cell in plan(asked, Path("results"), False, (), lambda what, done, total: None).cells}
    assert {"gan", "diffusion", "bayes", "vae"} <= found and "samples" not in found
