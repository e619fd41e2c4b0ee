from __future__ import annotations

import math

from torchstone.results import Kind, Score, Status
from torchstone.results.sheets.describe import describe


def test_a_record_fits_a_screen(make):
    score = Score(
        "nll",
        84.2,
        "nats/example",
        Kind.UPPER_BOUND,
        False,
        0.53,
        (83.2, 85.2),
        297,
        {"estimator_stderr": 0.018, "replicates": 10},
    )
    audits = ({"audit": "normalised", "verdict": "pass"}, {"audit": "causal", "verdict": "fail"})
    record = make(scores=(score,), audits=audits, arrays={"sha256": "0" * 64, "columns": ["id", "nll"], "rows": 297})
    text = describe(record)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert len(lines) <= 40
    assert record.id in lines[0]
    for words in (
        "density, version 1, of mixture (explicit-exact) on digits, seed 0",
        "≤ 84.2 ± 0.5 nats/example; 95 % [83.2, 85.2]; 297 examples",
        "standard error 0.018",
        "model.components 8",
        "1 fail, 1 pass (causal failed)",
        "297 in the Parquet file beside it: id, nll",
        "torch 2.6.0",
        "conditional no",
    ):
        assert words in " ".join(text.split()), words


def test_a_failure_says_why(make):
    text = describe(make(status=Status.FAILED, reason="It ran\x1b[31m out of memory.", scores=()))
    assert "status               failed: It ran\\x1b[31m out of memory." in text


def test_what_is_not_finite_is_counted(make):
    score = Score("nll", math.inf, "nats", Kind.EXACT, False, math.nan, None, 10, {"nonfinite": 3})
    assert "inf nats; 10 examples; lower is better; 3 examples not finite" in describe(make(scores=(score,)))


def test_what_chance_alone_makes_is_told(make):
    score = Score("ece", 0.05, "probability", Kind.EXACT, False, parameters={"null_mean": 0.037, "null_high": 0.054})
    words = " ".join(describe(make(scores=(score,))).split())
    assert "chance alone makes 0.037, and more than 0.054 once in 40 times" in words and "null_mean" not in words


def test_audits_and_figures_are_shown(certify, verdict):
    record = certify(
        verdict("enumeration", "pass", "A"),
        verdict("entropy floors", "fail", "B", p_value=1.5e-9, witness="It beats\x1b[31m the jitter."),
        verdict("known source", "not-applicable", "D"),
        figures={"enumeration": "0" * 64, "causality": "1" * 64},
    )
    words = " ".join(describe(record).split())
    for each in (
        "audits 1 fail, 1 not-applicable, 1 pass (entropy floors failed)",
        "enumeration pass, A; This was seen of enumeration.",
        "entropy floors fail, B; p 1.5e-09; It beats\\x1b[31m the jitter.",
        "known source not-applicable; This was seen of known source.",
        "figures PNG files beside it: enumeration, causality",
    ):
        assert each in words, each
