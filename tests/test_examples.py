"""The examples run, and make what they say."""

import runpy
from pathlib import Path

from torchstone.results import Store

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_beta_sweep_draws_its_plane(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "beta_sweep.py"))["main"]("smoke", "bernoulli", (0.1, 10.0))
    assert Path("rate-distortion.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.count("ELBO") == 2
    betas = {record.settings["model"]["beta"] for record in Store("bench-results").records()}
    assert betas == {0.1, 10.0}
