"""What the tests of the harness share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from torchstone.harness.cli import main


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Said]:
    """The command ``bench`` in this process, in an empty working folder, with cells run inline."""

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Said:
        runs = arguments[:1] in (("run",), ("fit",), ("audit",)) and "--from" not in arguments
        inline = ["executor=inline"] if runs else []
        monkeypatch.setattr(sys, "argv", ["bench", *arguments[:1], *inline, *arguments[1:]])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def bench_process(tmp_path: Path) -> Callable[..., Said]:
    """The installed command ``bench``, in a process of its own."""

    def run(*arguments: str, timeout: float = 120) -> Said:
        command = [str(Path(sys.executable).parent / "bench"), *arguments]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=timeout)
        return Said(ended.returncode, ended.stdout, ended.stderr)

    return run


def one_sentence(said: Said, code: int = 2) -> str:
    """The message of a command that ended with ``code``: one line, no traceback."""
    assert said.code == code, said
    assert "Traceback" not in said.err and "Traceback" not in said.out
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, said.err
    return lines[0]


@pytest.fixture
def sentence() -> Callable[..., str]:
    return one_sentence
