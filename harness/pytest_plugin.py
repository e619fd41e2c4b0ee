"""The plug-in for pytest: a fixture ``torchstone`` that holds a model to a baseline.

    def test_density(torchstone):
        torchstone.check(build(), suite="density", baseline="baseline")

pytest loads this module in every project where Torchstone is installed, so nothing heavy is imported before a test asks
for the fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torchstone.harness.testing import Torchstone

__all__ = ["pytest_addoption", "pytest_terminal_summary", "torchstone"]

UPDATED = pytest.StashKey[dict[str, int]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the command line, and those of the configuration file."""
    group = parser.getgroup("torchstone", "models held to a baseline")
    group.addoption(
        "--torchstone-baseline", metavar="DIR", help="baseline of torchstone.check, where a test names none"
    )
    group.addoption(
        "--torchstone-update", action="store_true", help="write what is measured into the baseline, and judge nothing"
    )
    group.addoption(
        "--torchstone-results", metavar="DIR", help="keep what is measured here; default: a temporary folder"
    )
    parser.addini("torchstone_baseline", "baseline of torchstone.check, relative to the root of the project")
    parser.addini("torchstone_strict", "whether what is inconclusive fails a test too", type="bool", default=False)


@pytest.fixture
def torchstone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Torchstone:
    """Measures models and holds them to a baseline; see `torchstone.harness.testing.Torchstone`."""
    from torchstone.harness.testing import Torchstone

    config = request.config
    named, own = config.getoption("torchstone_baseline"), config.getini("torchstone_baseline")
    baseline = config.invocation_params.dir / named if named else config.rootpath / own if own else None
    results = config.getoption("torchstone_results")
    return Torchstone(
        results=config.invocation_params.dir / results if results else tmp_path_factory.mktemp("torchstone"),
        baseline=baseline,
        root=config.rootpath,
        update=config.getoption("torchstone_update"),
        strict=config.getini("torchstone_strict"),
        updated=config.stash.setdefault(UPDATED, {}),
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which baselines were written."""
    for folder, count in terminalreporter.config.stash.get(UPDATED, {}).items():
        records = "1 record" if count == 1 else f"{count} records"
        terminalreporter.write_line(f"torchstone: {records} written into the baseline {folder}")
