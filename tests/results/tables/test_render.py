from __future__ import annotations

import csv
import io
import json
import math
from html.parser import HTMLParser

import pandas as pd
import pytest

from torchstone.results import Kind, Score, Status
from torchstone.results.reading.frame import frame_of
from torchstone.results.tables.render import WIDTH, Format, render
from torchstone.results.tables.table import table

MODELS = ["independent", "mixture", "linear_gaussian", "rnn", "transformer", "pixelcnn", "flow", "vae"]
HOSTILE = "x|y`<script>alert(1)</script>\n\x1b[31m&_$%#{}~^\\[z]"


def full(value: float, seed: int) -> tuple[Score, ...]:
    parameters = {"estimator_stderr": 0.0123 + seed / 100, "replicates": 10}
    return tuple(
        Score(metric, value * factor, unit, Kind.UPPER_BOUND, False, 0.012 * factor, None, 297, parameters)
        for metric, unit, factor in [
            ("nll", "nats/example", 44.361),
            ("bits_per_dim", "bits/dim", 1.0),
            ("excess_bits_per_dim", "bits/dim", 0.1),
        ]
    )


@pytest.fixture
def records(make):
    return [
        make(
            model=model,
            seed=seed,
            scores=full(1.8 + place / 10 + seed / 100, seed),
            family=f"explicit-{'exact' if place else 'approximate'}",
        )
        for place, model in enumerate(MODELS)
        for seed in range(3)
    ]


def test_markdown_fits_a_terminal(records):
    lines = render(frame_of(records), "markdown").splitlines()
    grid = [line for line in lines if line.startswith("|")]
    assert max(map(len, grid)) <= WIDTH
    parts = sum(line.startswith("|:--") for line in grid)
    assert parts > 1  # what does not fit goes on below
    assert all(sum(model in line for line in grid) == parts for model in MODELS)


def test_markdown_reads_as_it_should(make):
    text = render(frame_of([make(bits=1.9, model="a"), make(bits=1.8, model="b")]))
    assert text == (
        "**density on digits (test, 297 examples, 64 dims, 17 levels) · exact · unconditional**  \n"
        "nll in nats/example, bits_per_dim in bits/dim: lower is better; all explicit-exact; seed 0\n\n"
        "| model   |        nll |   bits_per_dim | audit     |\n"
        "|:--------|-----------:|---------------:|:----------|\n"
        "| b       | 79.8 ± 0.5 |  1.800 ± 0.012 | unaudited |\n"
        "| a       | 84.3 ± 0.5 |  1.900 ± 0.012 | unaudited |\n"
    )


def test_a_bound_has_its_sign(make):
    assert "| ≤ 1.900 ± 0.012 |" in render(frame_of([make(bits=1.9, kind=Kind.UPPER_BOUND)]))


def test_lines_stand_below(make):
    text = render(frame_of([make(), make(model="gan", status=Status.SKIPPED, reason="It has no density.", scores=())]))
    assert text.splitlines()[-1] == "- skipped: density of gan on digits, seed 0: It has no density."


def test_csv_has_every_digit(records):
    parsed = list(csv.DictReader(io.StringIO(render(frame_of(records), "csv"))))
    assert len(parsed) == 3 * len(records)
    assert {float(row["value"]) for row in parsed} == {score.value for record in records for score in record.scores}


def test_csv_of_infinity(make):
    parsed = pd.read_csv(io.StringIO(render(frame_of([make(bits=math.inf)]), "csv")))
    assert parsed["value"].tolist() == [math.inf, math.inf]


def test_json_is_strict(make):
    text = render(frame_of([make(bits=math.inf), make(scores=())]), "json")
    parsed = json.loads(text, parse_constant=pytest.fail)
    (block,) = parsed["blocks"]
    assert block["contract"]["dims"] == 64
    assert block["columns"][0] == {"name": "nll", "unit": "nats/example", "kind": "exact", "higher_is_better": False}
    assert block["rows"][0]["cells"]["nll"]["value"] == "Infinity"
    assert block["rows"][0]["seeds"] == [0]
    assert len(parsed["absent"]) == 1


class Reader(HTMLParser):
    """The tags of a page, and the text of its table cells."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data):
        if self.cells and self.get_starttag_text() == "<td>":
            self.cells[-1] += data.strip("\n ")


def hostile(make):
    finite = make(model=HOSTILE, reason=HOSTILE)
    infinite = make(model=HOSTILE + "2", bits=math.inf)
    return [finite, infinite, make(model=HOSTILE, dataset=HOSTILE, status=Status.FAILED, reason=HOSTILE, scores=())]


def test_html_escapes_names(make):
    text = render(frame_of(hostile(make)), "html")
    reader = Reader()
    reader.feed(text)
    assert "script" not in reader.tags
    assert "\x1b" not in text
    assert HOSTILE.replace("\n", "\\n").replace("\x1b", "\\x1b") in reader.cells


def test_html_does_not_cut_long_names(make):
    name = "m" * 300
    assert name in render(frame_of([make(model=name)]), "html")


def test_latex_escapes_names(make):
    text = render(frame_of(hostile(make)), "latex")
    assert r"\toprule" in text
    body = text.replace(r"\\" + "\n", "\n")
    for character in "&%$#_{}":
        assert "\\" + character in body
    assert "<" not in text
    assert "\\\\\n[" not in text  # it would be read as the option of the line's end
    assert "\x1b" not in text
    rows = [line for line in text.splitlines() if line.startswith("x\\textbar")]
    assert rows
    assert all(line.count("&") - line.count(r"\&") == 3 for line in rows)


def test_latex_of_signs(make):
    text = render(frame_of([make(kind=Kind.UPPER_BOUND)]), "latex")
    assert r"$\leq$ 1.900 $\pm$ 0.012" in text
    assert r"bits\_per\_dim" in text


def test_markdown_escapes_names(make):
    text = render(frame_of(hostile(make)), "markdown")
    assert "\x1b" not in text
    assert r"x\|y\`\<script>" in text
    rows = [line for line in text.splitlines() if line.startswith("| x")]
    assert {line.replace(r"\|", "").count("|") for line in rows} == {3, 4}  # the audit stands below


@pytest.mark.parametrize("format", Format)
def test_nothing_at_all(format):
    assert isinstance(render(frame_of([]), format), str)


@pytest.mark.parametrize("format", Format)
def test_a_table_renders_as_its_frame_does(records, format):
    assert render(table(frame_of(records)), format) == render(frame_of(records), format.value)


def test_an_unknown_format():
    with pytest.raises(ValueError, match="'pdf' is not a valid Format"):
        render(frame_of([]), "pdf")
