"""The plug-in for pytest: light to load, and a gate inside of a test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from torchstone.harness import check, run
from torchstone.results import Store

pytest_plugins = ["pytester"]

MODEL = """
    import torch
    from torchstone.models import ExplicitExact, Space
    from torchstone.suites.data.embedded import digits

    class Uniform(ExplicitExact, torch.nn.Module):
        \"\"\"As much of every level as of every other, and ``waste`` nats to spare.\"\"\"

        def __init__(self, waste=0.0):
            super().__init__()
            self.space, self.waste = digits().space, waste

        def log_prob(self, x, y=None):
            lost = x.double().flatten(1).mean(1) * self.waste / 8 if self.waste else 0.0
            return -(torch.log(torch.tensor(17.0, dtype=torch.float64)) * 64).expand(len(x)) - lost
"""
TEST = """
    from model import Uniform

    def test_density(torchstone):
        gate = torchstone.check(Uniform({waste}), suite="density"{arguments})
        assert gate is None or not gate.failed
"""


@pytest.fixture(scope="module", autouse=True)
def everything_is_loaded(tmp_path_factory):
    """pytester forgets what a run inside this process imported, and NumPy cannot be imported twice."""
    folder = tmp_path_factory.mktemp("loaded")
    run("independent", budget=1, results=folder / "results", progress=False)
    shutil.copytree(folder / "results", folder / "baseline")
    check(folder / "baseline", results=folder / "results").text("markdown")


@pytest.fixture
def project(pytester: pytest.Pytester):
    """``project(waste=…, arguments=…)`` runs the tests of a project with a model, in this process."""
    pytester.makepyfile(model=MODEL)

    def run(*options: str, waste: float = 0.0, arguments: str = ', baseline="baseline"', warnings: str = "error"):
        pytester.makepyfile(test_model=TEST.format(waste=waste, arguments=arguments))
        return pytester.runpytest_inprocess("-q", "-W", warnings, *options)

    return run


def test_a_baseline_is_written_kept_and_held(project, pytester):
    written = project("--torchstone-update")
    written.assert_outcomes(passed=1)
    written.stdout.fnmatch_lines(["torchstone: 1 record written into the baseline *baseline"])
    (record,) = Store(pytester.path / "baseline").records()
    assert record.model == "Uniform"
    project().assert_outcomes(passed=1)
    assert len(list(Store(pytester.path / "baseline").records())) == 1


def test_a_model_that_became_worse_fails_with_the_table_of_the_gate(project):
    project("--torchstone-update")
    worse = project(waste=2.0)
    worse.assert_outcomes(failed=1)
    worse.stdout.fnmatch_lines(["*bits_per_dim*"])
    text = worse.stdout.str()
    assert "| " in text and "failed" in text and "Traceback" not in text and "testing.py" not in text


def test_a_margin_allows_what_it_allows(project):
    project("--torchstone-update")
    margins = ', baseline="baseline", margins={"bits_per_dim": 1.0, "nll": 44.0}'
    project(waste=2.0, arguments=margins).assert_outcomes(passed=1)


INCONCLUSIVE = ', baseline="baseline", margins={"bits_per_dim": MARGIN, "nll": MARGIN * 44.36}'


@pytest.fixture
def inconclusive(project):
    """Arguments of a check whose margin is the degradation itself: it can be neither cleared nor failed."""
    project("--torchstone-update")
    from torchstone.suites.data.embedded import digits

    x = digits().split("test").x.double().flatten(1).mean(1)
    margin = float(x.mean() * 2.0 / 8 / 64 / 0.6931471805599453)
    return INCONCLUSIVE.replace("MARGIN", repr(margin))


def test_what_is_inconclusive_passes_with_a_warning_and_fails_where_the_check_is_strict(project, inconclusive):
    passed = project(waste=2.0, arguments=inconclusive, warnings="always")
    passed.assert_outcomes(passed=1, warnings=1)
    passed.stdout.fnmatch_lines(["*InconclusiveWarning*"])
    project(waste=2.0, arguments=f"{inconclusive}, strict=True").assert_outcomes(failed=1)


def test_strictness_and_the_baseline_can_be_configured(project, pytester, inconclusive):
    pytester.makeini("[pytest]\ntorchstone_baseline = baseline\ntorchstone_strict = true")
    arguments = inconclusive.replace(', baseline="baseline"', "")
    project(waste=2.0, arguments=arguments).assert_outcomes(failed=1)
    project(arguments="").assert_outcomes(passed=1)
    project(waste=2.0, arguments=f"{arguments}, strict=False", warnings="always").assert_outcomes(passed=1, warnings=1)


def test_the_baseline_of_the_command_line_counts_where_a_test_names_none(project, pytester):
    project("--torchstone-update", "--torchstone-baseline", "elsewhere", arguments="").assert_outcomes(passed=1)
    assert len(list(Store(pytester.path / "elsewhere").records())) == 1
    kept = ("--torchstone-baseline", "elsewhere", "--torchstone-results", "kept")
    project(*kept, arguments="").assert_outcomes(passed=1)
    assert len(list(Store(pytester.path / "kept").records())) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("", "No baseline: write torchstone.check(*"),
        (
            ', baseline="absent"',
            "baseline *absent: there is no such folder; write it with pytest --torchstone-update *",
        ),
        (', baseline="baseline", data="digit"', "*did you mean 'digits'*"),
        (', baseline="baseline", margins={"bit": 1}', "*bits_per_dim*"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(project, arguments, sentence):
    project("--torchstone-update")
    said = project(arguments=arguments)
    said.assert_outcomes(failed=1)
    said.stdout.fnmatch_lines([sentence])
    assert "Traceback" not in said.stdout.str() and "During handling" not in said.stdout.str()


def test_the_published_records_are_not_overwritten(project):
    said = project("--torchstone-update", arguments=', baseline="published"')
    said.stdout.fnmatch_lines(["*it ships with Torchstone and is not written by tests; name a folder."])


def test_a_model_that_crashes_or_is_skipped_is_not_cleared(project, pytester):
    project("--torchstone-update")
    said = project(waste="'much'")
    said.assert_outcomes(failed=1)
    said.stdout.fnmatch_lines(["*density of Uniform on digits, seed 0: failed: *"])
    skipped = project(arguments=', baseline="baseline", data="patches"')
    skipped.assert_outcomes(failed=1)


def test_timings_go_through_pytest_benchmark_and_its_storage(pytester):
    pytester.makepyfile(
        """
        import torch

        def test_speed(torchstone, benchmark):
            layer = torch.nn.Linear(4, 4)
            result = benchmark(torchstone.synchronised(layer), torch.ones(2, 4))
            assert result.is_inference() and result.shape == (2, 4)
        """
    )
    options = (
        "-q",
        "--benchmark-enable",
        "--benchmark-save=speed",
        "--benchmark-max-time=0.01",
        "--benchmark-storage=kept",
    )
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=1)
    assert list(Path(pytester.path).glob("kept/*/*_speed.json"))


def test_pytest_loads_nothing_heavy_for_it(pytester):
    pytester.makepyfile(
        """
        import sys

        HEAVY = {"torch", "numpy", "pandas", "pyarrow", "matplotlib", "jinja2", "pydantic"}

        def test_light(request):
            assert request.config.pluginmanager.has_plugin("torchstone")
            assert not HEAVY & set(sys.modules)
        """
    )
    pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-q").assert_outcomes(passed=1)


def test_the_fixture_and_the_options_are_explained(pytester):
    said = pytester.runpytest_inprocess("--help")
    said.stdout.fnmatch_lines(["*--torchstone-baseline=DIR*", "*--torchstone-update*", "*torchstone_strict*"])
    listed = pytester.runpytest_inprocess("--fixtures", "-q")
    listed.stdout.fnmatch_lines(["torchstone -- *", "    Measures models and holds them to a baseline*"])
