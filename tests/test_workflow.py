"""The example workflow of GitHub Actions does what it says: its commands are run, in order, in a project of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

WORKFLOW = Path(__file__).parent.parent / "examples" / "github-actions.yml"
MODEL = '''
"""A model whose every level is as likely as it was in training, or, with waste, less so."""

import torch

from torchstone.models import Space
from torchstone.models.exact.independent import Independent


class Wasteful(Independent):
    """Gives away ``waste`` nats of every example."""

    def log_prob(self, x, y=None):
        return super().log_prob(x, y) - {waste}


def build(space: Space) -> Wasteful:
    return Wasteful(space)
'''


def steps() -> list[dict[str, str]]:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    return job["steps"]


def environment(folder: Path) -> dict[str, str]:
    """That of the workflow, with few optimiser steps, and the installed commands of this interpreter."""
    stated = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["env"]
    assert "BUDGET" in stated
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    summary = {"GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "PATH": path}
    return {**os.environ, **stated, "BUDGET": "smoke", **summary}


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """As GitHub runs a step: bash that ends at the first failure."""
    return subprocess.run(
        ["bash", "-e", "-c", command], cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=300
    )


def run_all(folder: Path, waste: float) -> dict[str, int]:
    """The exit code of each step that has a command, by name; those after a failure only where they always run."""
    (folder / "model.py").write_text(MODEL.format(waste=waste), encoding="utf-8")
    codes: dict[str, int] = {}
    for step in steps():
        if "run" not in step or "pip install" in step["run"]:
            continue
        if any(codes.values()) and step.get("if") != "always()":
            continue
        ended = run(step["run"], folder)
        assert "Traceback" not in ended.stderr, ended.stderr
        codes[step["name"]] = ended.returncode
    return codes


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model and the baseline that the head of the workflow says how to make."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "model.py").write_text(MODEL.format(waste=0.0), encoding="utf-8")
    (line,) = [line for line in WORKFLOW.read_text(encoding="utf-8").splitlines() if "--results baseline" in line]
    command = line.lstrip("# ") + " budget=$BUDGET"
    ended = run(command, folder)
    assert ended.returncode == 0, ended.stderr
    return folder


def test_one_step_installs_and_the_rest_are_commands_of_torchstone():
    commands = [step["run"] for step in steps() if "run" in step]
    assert sum("pip install" in command for command in commands) == 1
    assert all(command.startswith("bench ") for command in commands if "pip install" not in command)


@pytest.mark.slow
def test_a_model_that_is_as_it_was_passes_every_step(project):
    assert set(run_all(project, 0.0).values()) == {0}
    assert "passed" in (project / "summary.md").read_text(encoding="utf-8")
    assert ElementTree.parse(project / "torchstone.xml").getroot().tag == "testsuites"
    assert (project / "page" / "index.html").is_file()


@pytest.mark.slow
def test_a_model_that_became_worse_is_stopped_at_the_gate_and_the_reports_are_still_made(project):
    codes = run_all(project, 4.0)
    assert codes["Measure"] == 0 and codes["Gate"] == 1 and codes["Page"] == 0
    assert ElementTree.parse(project / "torchstone.xml").getroot().find(".//failure") is not None
    records = [json.loads(path.read_text(encoding="utf-8")) for path in (project / "bench-results").glob("*.json")]
    assert {record["status"] for record in records} == {"completed"}
