"""The examples run, and make what they say."""

import runpy
from pathlib import Path

import pytest

from torchstone.harness import run
from torchstone.results import Store

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_beta_sweep_draws_its_plane(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "beta_sweep.py"))["main"]("smoke", "bernoulli", (0.1, 10.0))
    assert Path("rate-distortion.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.count("ELBO") == 2
    betas = {record.settings["model"]["beta"] for record in Store("bench-results").records()}
    assert betas == {0.1, 10.0}


def test_the_cost_of_sampling_is_fitted_and_extended(tmp_path, monkeypatch, capsys):
    """On tiny images: a sample of D values takes D evaluations, each of which costs at least in proportion to D."""
    monkeypatch.chdir(tmp_path)
    found = runpy.run_path(str(EXAMPLES / "sampling_cost.py"))["main"]("2,3,4", "rnn,pixelcnn", "1")
    assert Path("sampling-cost.png").read_bytes().startswith(b"\x89PNG")
    assert 1.9 < found["rnn"].arithmetic.exponent < 2.1 and 1.9 < found["pixelcnn"].arithmetic.exponent < 2.1
    said = capsys.readouterr().out
    assert said.count("1024×1024×3 by that law") == 4 and said.count("time grows as") == 2


def test_quality_is_drawn_against_cost_for_every_sampler_of_a_store(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    few = {"suite.samples": 100, "suite.steps": (1, 2)}
    for model in ("independent", "flow_matching"):
        run(model, suite="samples", data="digits", budget="smoke", settings=few)
    runpy.run_path(str(EXAMPLES / "quality_against_cost.py"))["main"]()
    assert Path("quality.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(capsys.readouterr().out.split()) == ["flow_matching", "independent,", "quality.png:"]
    with pytest.raises(SystemExit, match="has no samples of patches"):
        runpy.run_path(str(EXAMPLES / "quality_against_cost.py"))["main"](data="patches")
