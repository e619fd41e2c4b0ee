"""What the README shows is so."""

import re
from pathlib import Path

import pytest
import torch

from torchstone.harness import run
from torchstone.models import Discrete, Space
from torchstone.models.checks import check_model
from torchstone.suites.audit import AUDITS, Auditing

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_its_model_is_one_and_runs(tmp_path, monkeypatch):
    """The class of the README passes every check, and is measured from a file as it says."""
    monkeypatch.chdir(tmp_path)
    (source,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "class Mine" in block]
    Path("mine.py").write_text(source)
    (record,), _ = run("mine.py:Mine", budget="smoke", settings={"model.temperature": 0.8}, progress=False)
    assert abs(record.score("bits_per_dim").value - 4.087462841250339) < 1e-5  # noise, whatever the temperature
    assert record.contract["conditional"] is False
    namespace: dict[str, type] = {}
    exec(source, namespace)
    torch.manual_seed(0)
    assert "order is a permutation of the event" in check_model(namespace["Mine"](Space((8, 8), Discrete(17), 10)))


def test_its_certificate_is_of_the_present_audits():
    (shown,) = re.findall(r"```text\n(# Audit certificate.*?)```", README, re.DOTALL)
    names = re.findall(r"^\| (?:passed|not applicable) +\| ([A-Za-z -]+?) +\|", shown, re.MULTILINE)
    assert names == [audit.name for audit in AUDITS]
    assert f"Of {len(AUDITS)} audits" in shown.replace("\n", " ") and f"audit {Auditing.version}," in shown


def test_it_has_no_gaps():
    assert not re.findall(r"\b[A-Z]+_TABLE\b", README)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_what_a_page_points_to_is_there(page):
    """Pictures and pages that it names; and no word is left where a number is to be put in."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", text) + re.findall(r'src="([^"]+)"', text):
        assert (page.parent / target).exists(), target
    assert not re.findall(r"\b[A-Z]{5,}(?:RATIO|TABLE|NUMBER)\b|TODO|TBD", text)
