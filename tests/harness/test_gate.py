"""``bench compare`` and ``bench check``, and the same from Python: findings, exit codes and manners."""

import dataclasses
import importlib
import json
import os
import time
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from torchstone.harness import InputError, check, compare, run
from torchstone.models.exact.independent import Independent
from torchstone.models.model import Discrete, Space
from torchstone.results import Environment, Kind, Record, Score, Status, Store
from torchstone.results.gate.findings import Verdict
from torchstone.results.gate.margins import DESCRIPTIVE

CPU = Environment(
    torchstone="0.1.0", python="3.11.7", platform="Linux", versions={}, git_commit=None, git_dirty=None, device="cpu",
    device_name="cpu", threads=1, dtype="float32", deterministic=True, matmul_precision="highest", batch_size=256,
    batch_size_halvings=0,
)  # fmt: skip
N = 50


def written(folder, nats, *, model="vae", n=N, **changes) -> Record:
    """A record of plausible costs, worse by so many nats, kept in a folder with its per-example values."""
    values = np.random.default_rng(0).normal(90, 5, n) + nats + np.random.default_rng(1).normal(0, 0.1, n) * (nats != 0)
    stderr = float(values.std(ddof=1) / np.sqrt(n))
    score = Score("nll", float(values.mean()), "nats/example", Kind.EXACT, False, stderr, None, n)
    fields = {
        "identity": f"{model}-{nats}-{len(list(Path(folder).glob('*.json')))}", "suite": "density", "suite_version": 2,
        "model": model, "family": "explicit-exact", "dataset": "digits", "seed": 0, "settings": {},
        "contract": {"data": "d", "dims": 64, "kind": "exact"}, "status": Status.COMPLETED, "reason": "",
        "scores": (score,), "environment": CPU, "started": "2026-01-01T00:00:00+00:00", "seconds": 1.0,
        "fingerprints": {"code": "c"},
    }  # fmt: skip
    return Store(folder).write(Record(**(fields | changes)), {"id": np.arange(n), "nll": values})


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A baseline and the results of three models: one as it was, one worse, one new."""
    monkeypatch.chdir(tmp_path)
    written("baseline", 0.0, model="same")
    written("baseline", 0.0, model="worse")
    written("bench-results", 0.0, model="same")
    written("bench-results", 3.0, model="worse")
    written("bench-results", 0.0, model="new")
    return Path("baseline"), Path("bench-results")


# A real model, from fitting to verdict


class Worsened(Independent):
    """The same, but for so many bits per dimension."""

    def log_prob(self, x, y=None):
        return super().log_prob(x) - 0.05 * 64 * np.log(2)


def test_a_real_model_worsened_by_a_twentieth_of_a_bit_fails_and_the_unchanged_one_passes(tmp_path, monkeypatch, bench):
    monkeypatch.chdir(tmp_path)
    quiet = {"budget": "smoke", "progress": False}
    run("independent", results="baseline", **quiet)
    good, _ = run("independent", results="good", fresh=True, **quiet)
    found = check("baseline", results="good", records=good, margins={"bits_per_dim": 0.01})
    assert {each.verdict for each in found.findings} == {Verdict.PASSED} and not found.says_no(strict=True)
    assert {each.reason for each in found.findings} == {"Unchanged: every example has the same value."}

    def worsen(results):
        (path,) = Path("good/fits").glob("*.safetensors")
        model = Worsened(Space((8, 8), Discrete(17)))
        from safetensors.torch import load_file

        model.load_state_dict(load_file(path))
        (record,), _ = run(model, results=results, **quiet)
        store = Store(results)
        return store.write(dataclasses.replace(record, model="independent", settings={}), store.arrays(record))

    worse = worsen("bad")
    found = check("baseline", results="bad", records=[worse])
    assert {each.metric: each.verdict.value for each in found.findings} == {"nll": "failed", "bits_per_dim": "failed"}
    assert found.findings[1].degradation == pytest.approx(0.05, rel=1e-5)
    assert bench("check", "--baseline", "baseline", "--results", "bad", "--model", "independent").code == 1
    assert bench("check", "--baseline", "baseline", "--results", "good", "--strict").code == 0


def test_compare_of_two_real_models_by_name(bench):
    bench("run", "suite=density", "budget=smoke", "model=independent,mixture,linear_gaussian")
    said = bench("compare", "mixture", "independent")
    assert said.code == 0 and "density on digits · A: mixture · B: independent" in said.out
    assert "paired over 297 examples" in said.out
    bound = json.loads(bench("compare", "linear_gaussian", "independent", "--format", "json").out)["rows"]
    assert {row["outcome"] for row in bound} == {"undecided"} and all(row["paired"] for row in bound)


# What they print and where, and exit codes


def test_check_prints_the_table_and_says_no_where_a_model_is_worse(folders, bench):
    said = bench("check", "--baseline", "baseline")
    assert said.code == 1 and said.out.startswith("**failed: 1 failed, 1 passed, 1 not compared; alpha 0.01")
    assert "The baseline has no record of new on digits" in said.out and said.err == ""
    assert bench("check", "--baseline", "baseline", "--model", "same").code == 0
    assert bench("check", "--baseline", "baseline", "--margin", "nll=5").code == 0
    assert bench("check", "--baseline", "baseline", "--margin", "nll=10%").code == 0
    assert bench("check", "--baseline", "baseline", "--margin", "nll=1%").code == 1


def test_inconclusive_is_no_failure_unless_one_is_strict(folders, bench):
    written("baseline", 0.0, model="close")
    written("bench-results", 0.44, model="close")
    command = ("check", "--baseline", "baseline", "--model", "close")
    said = bench(*command)
    assert said.code == 0 and "passed, not all cleared: 1 inconclusive" in said.out
    assert bench(*command, "--strict").code == 1


@pytest.mark.parametrize("form", ["markdown", "json", "junit", "summary"])
def test_the_output_file_holds_what_would_have_been_printed(folders, bench, form):
    printed = bench("check", "--baseline", "baseline", "--format", form)
    said = bench("check", "--baseline", "baseline", "--format", form, "--output", "out.txt")
    assert said.code == printed.code == 1 and said.out == ""
    assert "failed: 1 failed" in said.err and "written to out.txt" in said.err
    assert Path("out.txt").read_text().strip() == printed.out.strip()


def test_the_ending_of_the_output_says_the_format(folders, bench):
    for name in ("gate.xml", "gate.json", "gate.md"):
        assert bench("check", "--baseline", "baseline", "--output", name).code == 1
    assert ElementTree.parse("gate.xml").getroot().tag == "testsuites"
    assert json.loads(Path("gate.json").read_text())["verdict"] == "failed"
    assert Path("gate.md").read_text().startswith("**failed")


def test_compare_takes_models_records_folders_and_the_beginning_of_an_id(folders, bench):
    _, results = folders
    ids = {record.model: record.id for record in Store(results).records()}
    for a, b in (
        ("worse", "same"),
        (ids["worse"], ids["same"][:12]),
        (str(results / f"{ids['worse']}.json"), "same"),
    ):
        said = bench("compare", a, b)
        assert said.code == 0 and "| nll      | worse     |" in said.out, said
    both = json.loads(bench("compare", "bench-results", "baseline", "--format", "json").out)["rows"]
    assert {row["a"]: row["outcome"] for row in both} == {"same": "tied", "worse": "worse"}
    one = json.loads(bench("compare", "worse", "baseline", "--format", "json").out)["rows"]
    assert [(row["a"], row["b"]) for row in one] == [("worse", "same"), ("worse", "worse")]


def test_compare_and_check_from_python_take_records_and_stores(folders):
    baseline, results = (Store(folder) for folder in folders)
    records = {record.model: record for record in results.records()}
    assert compare(records["worse"], records["same"]).rows[0].outcome == "worse"
    assert compare([records["worse"]], baseline).rows[0].outcome == "worse"
    assert not check(baseline, results=results, records=[records["same"]]).says_no()
    assert check(baseline, model=("same", "worse")).failed


# Bad input


def test_a_baseline_that_is_missing_or_empty(folders, bench, sentence):
    assert "no such folder" in sentence(bench("check", "--baseline", "nowhere"))
    Path("empty").mkdir()
    assert "no completed record can be read there" in sentence(bench("check", "--baseline", "empty"))
    Path("file").write_text("x")
    assert "no such folder" in sentence(bench("check", "--baseline", "file"))
    assert "--results" in sentence(bench("check", "--baseline", "baseline", "--results", "nowhere"))
    assert "--baseline" in bench("check").err and bench("check").code == 2


def test_a_baseline_that_is_the_results_themselves_clears_nothing(folders, bench, sentence):
    assert "nothing differs from itself" in sentence(bench("check", "--baseline", "./bench-results/"))


def test_edited_records_and_those_of_another_schema_are_named_and_passed_over(folders, bench, sentence):
    baseline, _ = folders
    paths = sorted(baseline.glob("*.json"))
    texts = [path.read_text() for path in paths]
    paths[0].write_text(texts[0].replace('"seed": 0', '"seed": 7'))
    said = bench("check", "--baseline", "baseline")
    assert said.code in (0, 1) and "it was edited or damaged" in said.err and paths[0].name in said.err
    paths[1].write_text(texts[1].replace('"schema": 1', '"schema": 99'))
    words = sentence(bench("check", "--baseline", "baseline"))
    assert "no completed record can be read there" in words and "edited or damaged" in words and "schema 99" in words
    for path in paths:
        path.write_text("not json")
    assert "not strict JSON" in sentence(bench("check", "--baseline", "baseline"))


def test_a_baseline_of_other_contracts_is_an_error_that_says_what_differs(folders, bench, sentence):
    written("other", 0.0, model="same", contract={"data": "e", "dims": 64, "kind": "exact"})
    words = sentence(bench("check", "--baseline", "other"))
    assert "nothing could be compared" in words and "data e and d" in words


def test_records_that_failed_are_no_baseline_and_no_number(folders, bench, sentence):
    written("lost", 0.0, model="same", status=Status.FAILED, reason="It ran out of memory.", scores=())
    assert "same: It ran out of memory" in sentence(bench("check", "--baseline", "lost"))
    assert "latest record is failed" in sentence(bench("compare", "same", "worse", "--results", "lost"))
    said = bench("check", "--baseline", "baseline", "--results", "lost", "--strict")
    assert said.code == 1 and "It failed: It ran out of memory." in said.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--margin", "nl=1"], "did you mean 'nll'?"),
        (["--margin", "nll"], "write METRIC=VALUE"),
        (["--margin", "=1"], "write METRIC=VALUE"),
        (["--margin", "nll=1", "--margin", "nll=2"], "already"),
        (["--margin", "nll=-1"], "at least 0"),
        (["--margin", "nll=a lot"], "should be a number"),
        (["--alpha", "0"], "not in the range 0<x<1"),
        (["--alpha", "1"], "not in the range 0<x<1"),
        (["--alpha", "nan"], "between 0 and 1"),
        (["--alpha", "x"], "not a valid float"),
        (["--model", "wrose"], "did you mean 'worse'?"),
        (["--output", "."], "this is a folder"),
        (["--output", os.devnull], "this is no plain file"),
        (["--output", "x" * 5000], "cannot be read or written: File name too long"),
        (["--results", "x" * 5000], "cannot be read or written: File name too long"),
        (["--margin", f"{'x' * 10_000}=1"], "x… there is no such metric"),
        (["--margin", "nll=\x1b[31m\n"], r"nll=\x1b[31m\n"),
        (["--baseline", ""], "--baseline is empty"),
        (["--output", "no/such/file.md"], "there is no folder no/such"),
        (["--output", "file.doc"], "its ending is none of .md, .json, .xml"),
        (["--format", "html"], "html"),
    ],
)
def test_what_is_typed_wrongly_is_said_in_a_sentence(folders, bench, sentence, options, words):
    said = sentence(bench("check", "--baseline", "baseline", *options))
    assert words in said and len(said) < 500
    assert sorted(path.name for path in Path().iterdir()) == ["baseline", "bench-results"]


@pytest.mark.parametrize("name", ["wrose", "0123", "../x", "\x1b[31m", "<b>", "x" * 5000, ""])
def test_compare_of_what_is_not_there_names_what_is(folders, bench, sentence, name):
    words = sentence(bench("compare", name, "same"))
    assert "\x1b" not in words
    assert name or words.startswith("bench: A is empty; give the name of a model")
    if name == "wrose":
        assert "no model of bench-results, no folder and no record" in words and "did you mean 'worse'?" in words


def test_nothing_in_common_is_said(folders, bench, sentence):
    for name in ("elsewhere", "nowhere"):
        written("other", 0.0, model=name, dataset="patches")
    assert "have no model in common" in sentence(bench("compare", "bench-results", "other"))
    assert "have no suite and dataset in common" in sentence(bench("compare", "same", "other"))


def test_check_from_python_raises_what_the_command_says(folders):
    with pytest.raises(InputError, match="did you mean 'nll'"):
        check("baseline", margins={"nl": 1})
    with pytest.raises(InputError, match="no completed record"):
        check("baseline", records=[])
    with pytest.raises(InputError, match="no such folder"):
        check("baseline", results="nowhere")


def test_the_published_records_are_found_or_their_absence_is_said(folders, bench):
    said = bench("compare", "same", "published")
    assert said.code in (0, 2) and "Traceback" not in said.err
    if said.code == 2:
        assert "published" in said.err


def test_the_metrics_that_no_gate_judges_by_itself_are_metrics_of_a_suite():
    """The suites are those of the project's own file, whatever is installed."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    known: set[str] = set()
    for value in project["entry-points"]["torchstone.suites"].values():
        module, _, name = value.partition(":")
        known |= set(getattr(importlib.import_module(module), name).metrics)
    assert known >= DESCRIPTIVE


@pytest.mark.slow
def test_ten_thousand_records_are_judged_in_seconds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = written("baseline", 0.0)
    written("bench-results", 0.0)
    for number in range(10_000):
        each = dataclasses.replace(
            record, identity=str(number), model=f"m{number % 500}", seed=number // 500, arrays={}
        )
        Path(f"baseline/{each.id}.json").write_text(each.to_json())
    clock = time.perf_counter()
    assert not check("baseline").says_no()
    seconds = time.perf_counter() - clock
    print(f"10,000 records: {seconds:.2f} s")
    assert seconds < 10
