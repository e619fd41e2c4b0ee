"""A certificate says what was claimed, how it was tested and what came out, on one page and in three formats."""

from __future__ import annotations

import base64
import json
import math
from html.parser import HTMLParser

import pytest

from torchstone.results import RecordError, Status
from torchstone.results.reading.grades import BACKING
from torchstone.results.record import NO_DENSITY
from torchstone.results.sheets.certificate import UNSEEN, WIDTH, Form, certificate

PNG = b"\x89PNG\r\n\x1a\n and so on"
HOSTILE = "x|y`<script>alert(1)</script>\n\x1b[31m&_$%#{}~^\\[z]"


@pytest.fixture
def audited(certify, verdict):
    return certify(
        verdict("enumeration", "pass", "A", statistic=0.9999998, power="A bit of this is long. " * 8),
        verdict("super-unity", "fail", "A", statistic=math.inf),
        verdict("entropy floors", "pass", "B", p_value=0.31, level=1e-4, statistic=-2.1),
        verdict("conditional PIT", "flag", "B", p_value=2e-6, level=1e-4),
        verdict("importance mass", "not-applicable", "D"),
        verdict("bound ordering", "inconclusive", "D"),
        figures={"entropy-floors": "0" * 64},
        model="vae",
        seed=3,
    )


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


def test_markdown_is_one_page_that_fits_a_terminal(audited):
    text = certificate(audited, {})
    assert max(map(len, text.splitlines())) <= WIDTH
    assert len(text.splitlines()) < 66
    assert text.startswith("# Audit certificate: vae on digits\n")
    words = " ".join(text.split())
    for each in (
        "**The model failed 1 audit. Of 6 audits: 1 failed, 1 flagged, 1 inconclusive, 2 passed, 1 not applicable.**",
        "- model: vae (explicit-exact), seed 3",
        "- weights: wwwwwwwwwwwwwwww",
        "- code: cccccccccccccccc",
        "- level: 0.001: the chance of failing an honest model",
        "torchstone 0.1.0, audit 1, torch 2.6.0",
        audited.id,
        *UNSEEN,
    ):
        assert each in words, each


def test_every_audit_has_its_line_and_its_words(audited):
    text = certificate(audited, {})
    grid = [[word.strip() for word in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert grid[2:] == [
        ["passed", "enumeration", "A", "statistic 1"],
        ["failed", "super-unity", "A", "statistic inf"],
        ["passed", "entropy floors", "B", "p = 0.31, level 0.0001"],
        ["flagged", "conditional PIT", "B", "p = 2e-06, level 0.0001"],
        ["not applicable", "importance mass", "", "–"],
        ["inconclusive", "bound ordering", "", "–"],
    ]
    words = " ".join(text.split())
    assert "- **enumeration**, passed. *It is so: enumeration.* This was seen of enumeration. A bit" in words
    assert "- **importance mass**, not applicable. This was seen of importance mass." in words
    places = [words.index(f"- **{name}**") for name in ("super-unity", "conditional PIT", "bound ordering")]
    assert places == sorted(places)  # what needs attention comes first


@pytest.mark.parametrize(
    ("entries", "summary"),
    [
        (
            [("enumeration", "pass", "A")],
            "No audit was failed; the numbers stand on grade A, proved, at a small size or by a counter-example.",
        ),
        ([("purity", "pass", "C")], "No audit was failed; the numbers stand on grade D, declared, not verified."),
        ([("purity", "fail", "C"), ("support", "fail", "C")], "The model failed 2 audits."),
        ([], "No audit was held."),
    ],
)
def test_the_summary_says_what_the_numbers_stand_on(certify, verdict, entries, summary):
    record = certify(*(verdict(*entry) for entry in entries))
    for form in Form:
        assert summary in " ".join(certificate(record, {}, form).split())


def test_a_model_that_promises_no_density_has_no_grade_of_one(certify, verdict):
    said = [verdict(name, "not-applicable", "D", witness=NO_DENSITY) for name in sorted(BACKING)]
    for form in Form:
        text = " ".join(certificate(certify(*said, verdict("purity")), {}, form).split())
        assert "No audit was failed; the model promises no density. Of 7 audits: 1 passed, 6 not applicable." in text


def test_audits_that_could_not_be_held_are_counted_apart(certify, verdict):
    witness = "It could not be held, MemoryError was raised: no message"
    unheld = [verdict(name, "inconclusive", "D", witness=witness) for name in ("enumeration", "support")]
    text = " ".join(certificate(certify(*unheld, verdict("purity", "inconclusive", "D")), {}).split())
    assert "Of 3 audits: 1 inconclusive, 2 could not be held." in text


@pytest.mark.parametrize(
    ("settings", "there", "absent"),
    [
        ({"model": {"components": 8, "widths": [4, 2], "name": None}, "budget": "quick", "checkpoint": None},
         ("- settings: components=8, widths=[4, 2], name=none", "- budget: quick"), ("- checkpoint",)),
        ({"model": {}, "budget": 50, "checkpoint": None}, ("- budget: 50 optimiser steps",), ("- settings",)),
        ({"model": {}, "budget": "quick", "checkpoint": "mine.safetensors"},
         ("- checkpoint: mine.safetensors",), ("- settings", "- budget")),
        ({}, (), ("- settings", "- budget", "- checkpoint")),
    ],
)  # fmt: skip
def test_the_header_says_how_the_model_was_made(certify, settings, there, absent):
    text = certificate(certify(settings=settings), {}).replace("\\", "")
    assert all(words in text for words in there), text
    assert not any(words in text for words in absent), text


def test_html_is_one_file_with_its_pictures_and_a_text_for_each(audited):
    page = Page(certificate(audited, {"entropy-floors": PNG}, "html"))
    assert not page.open
    tags = [tag for tag, _ in page.tags]
    assert "script" not in tags and "link" not in tags
    assert all("href" not in attributes for _, attributes in page.tags)
    (picture,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert picture["src"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert picture["alt"] == "entropy floors. This was seen of entropy floors."
    assert dict(page.tags)["html"] == {"lang": "en"}
    assert "h1" in tags and "main" in tags
    assert [attributes["class"] for tag, attributes in page.tags if tag == "li" and attributes] == [
        "pass", "fail", "pass", "flag", "not-applicable", "inconclusive",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["conditional_pit", "conditional-PIT", "conditional PIT"])
def test_a_picture_is_called_as_its_audit_is(audited, name):
    tags = Page(certificate(audited, {name: PNG, "some_other": PNG}, "html")).tags
    texts = [attributes["alt"] for tag, attributes in tags if tag == "img"]
    assert texts == ["conditional PIT. This was seen of conditional PIT.", "some other"]


def test_html_is_for_light_and_dark_and_for_a_phone(audited):
    text = certificate(audited, {}, Form.HTML)
    for words in ("prefers-color-scheme: dark", "width=device-width", "@media (max-width"):
        assert words in text


def test_a_verdict_can_be_read_without_colour(audited):
    words = " ".join(Page(certificate(audited, {}, "html")).text.split())
    for each in ("✓ passed enumeration", "✗ failed super-unity", "! flagged conditional PIT", "? inconclusive"):
        assert each in words
    assert "p = 0.31, level 0.0001" in words


def test_json_is_strict_and_has_every_digit(audited):
    content = json.loads(certificate(audited, {}, "json"), parse_constant=pytest.fail)
    assert content["grade"] == "fail" and content["record"] == audited.id
    assert content["verdicts"] == {"fail": 1, "flag": 1, "inconclusive": 1, "pass": 2, "not-applicable": 1}
    assert content["audits"][0]["statistic"] == 0.9999998
    assert content["audits"][1]["statistic"] == "Infinity"
    assert content["fingerprints"]["weights"] == "w" * 64
    assert content["unseen"] == list(UNSEEN)


def test_what_an_adapter_says_of_itself_is_data(certify, verdict):
    record = certify(verdict(HOSTILE, "flag", "C", witness=HOSTILE, power=HOSTILE), model=HOSTILE, dataset=HOSTILE)
    for form in Form:
        text = certificate(record, {HOSTILE: PNG}, form)
        assert "\x1b" not in text
    page = Page(certificate(record, {HOSTILE: PNG}, "html"))
    assert "script" not in [tag for tag, _ in page.tags]
    text = certificate(record, {})
    assert "<script>" not in text.replace(r"\<script>", "")
    assert max(map(len, text.splitlines())) <= WIDTH + len(HOSTILE)


def test_only_a_completed_audit_has_a_certificate(make, certify):
    with pytest.raises(RecordError, match="of the suite 'density': a certificate needs a completed one of 'audit'"):
        certificate(make(), {})
    with pytest.raises(RecordError, match="is skipped"):
        certificate(certify(status=Status.SKIPPED), {})
    with pytest.raises(ValueError, match="'pdf' is not a valid Form"):
        certificate(certify(), {}, "pdf")
