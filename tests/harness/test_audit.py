"""The command ``bench audit``: what it prints and keeps, its exit codes, and the grade it leaves in tables."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from torchstone.harness import certify
from torchstone.models import ModelError
from torchstone.results import Store
from torchstone.results.reading.grades import BACKING
from torchstone.suites import audit as suite
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict

ALL = suite.AUDITS
QUICK = ("model=independent", "budget=smoke")
PNG = b"\x89PNG\r\n\x1a\n and so on"


class Passed(Audit):
    name = "enumeration"
    claim = "The probabilities of all states add up to no more than one."

    def audit(self, subject):
        return Finding(Verdict.PASS, Grade.PROVED, "They add up to 1.", 1.0, pictures={"enumeration": PNG})


class Flagged(Audit):
    name = "purity"
    claim = "Asking changes nothing."

    def audit(self, subject):
        return Finding(Verdict.FLAG, Grade.INVARIANT, "It drew from the global generator.")


class Failed(Audit):
    name = "causality"
    claim = "No conditional depends on a later value."

    def audit(self, subject):
        raise ModelError("order is no permutation.")


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(suite, "AUDITS", (Passed(), Flagged()))


@pytest.fixture
def failing(monkeypatch):
    monkeypatch.setattr(suite, "AUDITS", (Passed(), Failed()))


def pages() -> list[Path]:
    return sorted(Path("bench-results/certificates").glob("*"))


def test_the_certificate_is_printed_and_its_page_with_pictures_is_kept(bench):
    said = bench("audit", *QUICK)
    assert said.code == 0
    assert said.out.startswith("# Audit certificate: independent on digits\n")
    assert "stand on grade A, proved" in said.out and "| flagged" in said.out
    (record,) = Store("bench-results").records()
    (page,) = pages()
    assert page.name == f"independent-digits-{record.id[:12]}.html"
    assert f"is in {page}" in said.err and str(page) not in said.out
    text = page.read_text(encoding="utf-8")
    assert "data:image/png;base64," in text and 'alt="enumeration. They add up to 1."' in text
    assert record.suite == "audit" and [audit["verdict"] for audit in record.audits] == ["pass", "flag"]


def test_what_was_audited_before_is_found_and_fresh_audits_anew(bench):
    first, second = bench("audit", *QUICK), bench("audit", *QUICK)
    assert "found in the store" in second.err and first.out == second.out and len(pages()) == 1
    assert "found" not in bench("audit", *QUICK, "--fresh").err


def test_a_failed_audit_ends_with_1(bench, failing):
    said = bench("audit", *QUICK)
    assert said.code == 1
    words = " ".join(said.out.split())
    assert "The model failed 1 audit" in words and "The contract is broken: order is no permutation." in words
    assert bench("audit", *QUICK).code == 1  # also when it is found
    assert bench("run", "suite=audit", *QUICK).code == 1


@pytest.mark.parametrize("form", ["html", "json", "markdown"])
def test_it_is_printed_in_the_form_that_was_asked_for(bench, form):
    beginning = {"html": "<!doctype html>", "json": "{", "markdown": "# Audit"}[form]
    assert bench("audit", *QUICK, "--format", form).out.startswith(beginning)


@pytest.mark.parametrize("ending", ["html", "json", "md"])
def test_it_is_written_in_the_form_of_the_file(bench, ending):
    said = bench("audit", *QUICK, "--output", f"mine.{ending}")
    assert said.code == 0 and said.out == ""
    text = Path(f"mine.{ending}").read_text(encoding="utf-8")
    assert text.startswith({"html": "<!doctype html>", "json": "{", "md": "# Audit"}[ending])


def test_several_models_have_a_certificate_each(bench):
    said = bench("audit", "model=independent,mixture", "budget=smoke", "data=markov")
    assert said.code == 0
    assert said.out.count("# Audit certificate: ") == 2 and len(pages()) == 2


def test_several_in_json_are_one_list(bench):
    said = bench("audit", "model=independent,mixture", "budget=smoke", "data=markov", "--format", "json")
    assert [each["model"] for each in json.loads(said.out)] == ["independent", "mixture"]


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"another")])
def test_a_picture_of_another_suite_that_is_lost_stops_no_certificate(bench, harm):
    bench("audit", *QUICK)
    (record,) = Store("bench-results").records()
    other = replace(record, suite="density", identity="another", audits=(), arrays={})
    store = Store("bench-results")
    kept = store.write(other, figures={"scatter": PNG})
    bench("audit", *QUICK)
    assert 'alt="scatter"' in pages()[0].read_text(encoding="utf-8")
    harm(store.folder / f"{kept.id}.scatter.png")
    said = bench("audit", *QUICK)
    text = pages()[0].read_text(encoding="utf-8")
    assert said.code == 0 and 'alt="scatter"' not in text and 'alt="enumeration.' in text


def test_what_can_be_printed_is_printed_before_the_pages_are_kept(bench):
    bench("audit", *QUICK)
    next(Path("bench-results").glob("*.png")).unlink()
    said = bench("audit", *QUICK)
    assert said.code == 2 and said.out.startswith("# Audit") and "the picture cannot be read" in said.err


def test_the_store_is_read_once_for_all_pages(bench, monkeypatch):
    reads = []
    read = Store.records
    monkeypatch.setattr(certify.Store, "records", lambda store: reads.append(store) or read(store))
    asked = ("model=independent,mixture", "budget=smoke", "data=markov")
    bench("audit", *asked)
    records = list(read(Store("bench-results")))
    reads.clear()
    certificates = certify.Certificates(records, Path("bench-results"))
    assert len(list(certificates.keep())) == 2 and certificates.text("html", together=False)
    assert len(reads) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("model=all", "--output", "mine.json"), "one file holds one certificate"),
        (("seed=0,1", "--output", "mine.md"), "one file holds one certificate"),
        (("model=all", "--format", "html"), "a page holds one certificate and several are asked for"),
        (("--output", "none/mine.md"), "there is no folder none"),
        (("--output", "mine.md"), "mine.md: this is a folder"),
        (("--output", "", "--format", "json"), "this is a folder"),
        (("--output", ""), "its ending is none of"),
    ],
)
def test_what_could_not_be_written_is_refused_before_any_audit(bench, sentence, tmp_path, arguments, words):
    (tmp_path / "mine.md").mkdir()
    asked = QUICK[1:] if "model=all" in arguments else QUICK
    assert words in sentence(bench("audit", *asked, *arguments))
    assert not Path("bench-results").exists()


def test_the_ending_of_a_file_is_read_in_either_case(bench):
    bench("audit", *QUICK, "--output", "mine.JSON")
    assert json.loads(Path("mine.JSON").read_text(encoding="utf-8"))["model"] == "independent"


def test_help_says_how_it_ends(bench):
    words = " ".join(bench("audit", "--help").out.split())
    assert "1 where an audit was failed" in words and "3 where a cell failed" in words
    assert "Arguments of run, fit and audit" in bench("--help").out


def test_a_model_that_gives_no_density_promises_none(bench, monkeypatch):
    backing = tuple(audit for audit in ALL if audit.name in BACKING)
    monkeypatch.setattr(suite, "AUDITS", backing)
    said = bench("audit", "model=torchstone_extension.mutants:NoDensity", "budget=smoke")
    assert "the model promises no density" in " ".join(said.out.split())


def test_json_can_be_read(bench):
    content = json.loads(bench("audit", *QUICK, "--format", "json").out)
    assert content["model"] == "independent" and content["grade"] == "A, 1 flag"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "model= is missing; type for example bench audit model=transformer."),
        (("suite=density", "model=vae"), "suite=density: audit holds the audits and no other suite; leave it out."),
        (("model=transfomer",), "did you mean 'transformer'?"),
        (("model=independent", "suite.alpha=2"), "less than 1"),
        (("model=independent", "--output", "mine.txt"), "its ending is none of .md, .html, .json"),
        (("model=independent,mixture", "--output", "mine.json"), "one file holds one certificate"),
    ],
)
def test_bad_input_is_one_sentence(bench, sentence, arguments, words):
    assert words in sentence(bench("audit", *arguments))


def test_a_cell_that_fails_ends_with_3_and_one_that_is_skipped_with_its_reason(bench):
    said = bench("audit", "model=torchstone_extension.mutants:BadFit", "budget=smoke")
    assert said.code == 3 and said.out == "" and "the loss went up" in said.err
    said = bench("audit", "model=truth")
    assert said.code == 0 and said.out == "" and "skipped" in said.err and "try data=markov" in said.err
    assert pages() == []


def test_a_run_of_the_suite_prints_the_counts(bench):
    said = bench("run", "suite=audit", *QUICK)
    heads, _, row = (line for line in said.out.splitlines() if line.startswith("|"))
    assert [word.strip() for word in heads.strip("|").split("|")] == [
        "model", "failed", "flagged", "inconclusive", "passed",
    ]  # fmt: skip
    assert [word.strip() for word in row.strip("|").split("|")] == ["independent", "0", "1", "0", "1"]


def test_the_grade_stands_beside_every_number_of_the_same_model(bench):
    assert "| unaudited |" in bench("run", "suite=density", *QUICK).out
    bench("audit", *QUICK)
    for said in (bench("run", "suite=density", *QUICK), bench("report")):
        assert "| A, 1 flag |" in said.out and "unaudited" not in said.out
    assert "A, 1 flag" in bench("run", "suite=density", *QUICK, "seed=1").out  # other draws, and the same weights
    assert "unaudited" in bench("run", "suite=density", *QUICK, "model.conditional=true").out
    assert "unaudited" in bench("run", "suite=density", *QUICK, "data=patches").out
    (record,) = (each for each in Store("bench-results").records() if each.suite == "audit")
    assert "figures" in bench("show", record.id).out


def test_python_gives_the_grades_too(bench):
    from torchstone.harness import run

    bench("audit", *QUICK)
    _, frame = run("independent", budget="smoke", progress=False)
    assert set(frame["audit"]) == {"A, 1 flag"}


def test_help_is_one_screen_and_quick(bench_process):
    clock = time.perf_counter()
    said = bench_process("--help")
    assert time.perf_counter() - clock < 5  # on a machine that does other things; torch alone takes longer
    assert said.code == 0 and len(said.out.splitlines()) <= 30 and "audit" in said.out
