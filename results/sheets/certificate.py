"""A certificate: one page that says what a model claims, how each claim was tested, and what came out."""

from __future__ import annotations

import base64
import json
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from torchstone.results.reading.grades import CERTIFICATE, grade, promises_none
from torchstone.results.reading.labels import flat
from torchstone.results.record import UNHELD, Record, RecordError, number
from torchstone.results.text.escape import markdown_text
from torchstone.results.text.numbers import ABSENT, plain, small
from torchstone.results.text.pages import template

__all__ = ["Form", "certificate"]

WIDTH = 100  # columns of a terminal that the Markdown page fits

# What no audit of the answers of a model can see, however long it asks.
UNSEEN = (
    "A model that was trained on the test examples, or on more data than it says, gives true densities of what it has "
    "learned; the numbers are right and the comparison is not.",
    "A mistake of normalisation that only appears in many dimensions: sums are taken over small instances of the same "
    "code, and at full size over the points that were tried.",
    "A sampler that is right in each value given all others, and weighs whole samples wrongly by a little.",
    "Samples that are rare or slightly altered copies of training examples.",
    "A model that recognises an audit and behaves while it lasts.",
)
GRADES = {
    "A": "proved, at a small size or by a counter-example",
    "B": "tested at the stated level",
    "C": "held wherever it was tried",
    "D": "declared, not verified",
}
_SAID = {
    "fail": "failed", "flag": "flagged", "inconclusive": "inconclusive", "pass": "passed",
    "not-applicable": "not applicable",
}  # fmt: skip
_SIGNS = {"fail": "✗", "flag": "!", "inconclusive": "?", "pass": "✓", "not-applicable": "–"}


class Form(StrEnum):
    """What a certificate can be written as."""

    MARKDOWN = "markdown"
    HTML = "html"
    JSON = "json"


def certificate(record: Record, figures: Mapping[str, bytes], form: Form | str = Form.MARKDOWN) -> str:
    """The certificate that an audit's ``record`` gives.

    Markdown fits a hundred columns; HTML is one file, with the pictures inside; JSON has every digit.

    Args:
        record: of the suite ``audit``, completed.
        figures: its pictures by name, as PNG; only HTML shows them.
        form: markdown, html or json.

    Raises:
        RecordError: it is the record of another suite, or of an audit that was skipped or failed.
        ValueError: there is no such form.
    """
    if record.suite != CERTIFICATE or record.status.value != "completed":
        raise RecordError(
            f"record {record.id[:12]} is {record.status.value} and of the suite {record.suite!r}: a certificate needs "
            f"a completed one of {CERTIFICATE!r}"
        )
    return _WRITERS[Form(form)](_page(record), figures)


@dataclass(frozen=True, slots=True)
class _Audit:
    """One audit as it is shown."""

    name: str
    claim: str
    verdict: str
    letter: str
    evidence: str
    witness: str
    power: str

    @property
    def said(self) -> str:
        """The verdict in words."""
        return _SAID.get(self.verdict, self.verdict)

    @property
    def unheld(self) -> bool:
        """Whether an error kept it from any verdict."""
        return self.verdict == "inconclusive" and self.witness.startswith(UNHELD)

    @property
    def sign(self) -> str:
        """The verdict as a sign."""
        return _SIGNS.get(self.verdict, "?")

    @property
    def graded(self) -> str:
        """The grade in words; nothing where there was nothing to grade."""
        return "" if self.verdict in ("not-applicable", "inconclusive") else self.letter


@dataclass(frozen=True, slots=True)
class _Page:
    """All that a certificate says."""

    title: str
    summary: str
    facts: Mapping[str, str]
    audits: tuple[_Audit, ...]
    record: Mapping[str, Any]
    grade: str

    @property
    def ranked(self) -> Sequence[_Audit]:
        """What needs attention first; the order of the certificate otherwise."""
        order = list(_SAID)
        return sorted(self.audits, key=lambda each: order.index(each.verdict) if each.verdict in order else 0)


def _page(record: Record) -> _Page:
    content = record.to_dict()
    audits = tuple(_audit(each) for each in content["audits"])
    return _Page(
        title=f"{record.model} on {record.dataset}",
        summary=_summary(audits, record),
        facts=_facts(record),
        audits=audits,
        record=content,
        grade=grade(content["audits"]),
    )


def _audit(entry: Mapping[str, Any]) -> _Audit:
    texts = {name: str(entry.get(name) or "") for name in ("audit", "claim", "verdict", "grade", "witness", "power")}
    return _Audit(
        texts["audit"], texts["claim"], texts["verdict"], texts["grade"], _evidence(entry), texts["witness"],
        texts["power"],
    )  # fmt: skip


def _evidence(entry: Mapping[str, Any]) -> str:
    """The p-value and its level, or else the statistic."""
    p_value, level, statistic = (_number(entry.get(name)) for name in ("p_value", "level", "statistic"))
    if p_value is not None:
        return f"p = {small(p_value)}" + ("" if level is None else f", level {small(level)}")
    return "" if statistic is None or entry.get("verdict") == "not-applicable" else f"statistic {plain(statistic)}"


def _number(value: Any) -> float | None:
    found = None if value is None else number(value)
    return None if found is None or math.isnan(found) else found


def _summary(audits: Sequence[_Audit], record: Record) -> str:
    if not audits:
        return "No audit was held."
    said = ["could not be held" if each.unheld else each.said for each in audits]
    counts = {word: said.count(word) for word in (*_SAID.values(), "could not be held")}
    words = ", ".join(f"{times} {word}" for word, times in counts.items() if times)
    letter = grade(record.audits).partition(",")[0]
    backed = (
        "the model promises no density"
        if promises_none(record.audits)
        else f"the numbers stand on grade {letter}, {GRADES.get(letter)}"
    )
    passed = f"No audit was failed; {backed}"
    lost = counts[_SAID["fail"]]
    result = f"The model failed {lost} audit{'s' if lost > 1 else ''}" if lost else passed
    return f"{result}. Of {len(audits)} audits: {words}."


def _facts(record: Record) -> dict[str, str]:
    environment, prints = record.environment, record.fingerprints
    alpha = record.contract.get("alpha")
    found = {
        "model": f"{record.model} ({record.family}), seed {record.seed}",
        "data": f"{record.dataset}, {_short(prints.get('data'))}",
        "weights": _short(prints.get("weights")),
        "code": _short(prints.get("code")),
        "settings": ", ".join(f"{name}={_word(value)}" for name, value in flat(_mapping(record, "model")).items()),
        **_origin(record),
        "level": "" if alpha is None else f"{alpha}: the chance of failing an honest model, over all tests together",
        "versions": f"torchstone {environment.torchstone}, audit {record.suite_version}, "
        + ", ".join(f"{name} {environment.versions[name]}" for name in ("torch",) if name in environment.versions),
        "device": f"{environment.device} ({environment.device_name}), {environment.dtype}",
        "held": f"{record.started}, in {record.seconds:.3g} s",
        "record": record.id,
    }
    return {name: text for name, text in found.items() if text}


def _mapping(record: Record, name: str) -> Mapping[str, Any]:
    found = record.settings.get(name)
    return found if isinstance(found, Mapping) else {}


def _origin(record: Record) -> dict[str, str]:
    """Where the weights are from: the checkpoint, or else what fitting them was allowed."""
    checkpoint, budget = (record.settings.get(name) for name in ("checkpoint", "budget"))
    if checkpoint is not None:
        return {"checkpoint": str(checkpoint)}
    return {"budget": "" if budget is None else f"{budget} optimiser steps" if isinstance(budget, int) else str(budget)}


def _word(value: Any) -> str:
    """A setting as it is typed."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _short(fingerprint: str | None) -> str:
    return "unknown" if fingerprint is None else fingerprint[:16]


def _markdown(page: _Page, figures: Mapping[str, bytes]) -> str:
    parts = [
        f"# Audit certificate: {markdown_text(page.title)}",
        _fold(f"**{markdown_text(page.summary)}**"),
        "\n".join(_fold(f"- {name}: {markdown_text(text)}", "  ") for name, text in page.facts.items()),
        _grid(page.audits),
        "## What was seen",
        "\n".join(_seen(page.ranked)),
        "## What the grades mean",
        _fold("; ".join(f"{letter} {words}" for letter, words in GRADES.items()) + "."),
        "## What no audit of answers can see",
        "\n".join(_fold(f"- {each}", "  ") for each in UNSEEN),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _grid(audits: Sequence[_Audit]) -> str:
    from tabulate import tabulate

    if not audits:
        return ""
    heads = ["verdict", "audit", "grade", "evidence"]
    rows = [[each.said, markdown_text(each.name), each.graded, each.evidence or ABSENT] for each in audits]
    return tabulate(rows, heads, tablefmt="pipe", disable_numparse=True, colalign=("left",) * 4)


def _seen(audits: Sequence[_Audit]) -> Iterator[str]:
    for each in audits:
        words = f"- **{markdown_text(each.name)}**, {each.said}. "
        if each.verdict != "not-applicable":
            words += f"*{markdown_text(each.claim)}* "
        yield _fold(words + " ".join(markdown_text(text) for text in (each.witness, each.power) if text), "  ")


def _fold(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def _html(page: _Page, figures: Mapping[str, bytes]) -> str:
    pictures = [_picture(name, png, page.audits) for name, png in figures.items()]
    return template("certificate.html").render(page=page, pictures=pictures, grades=GRADES, unseen=UNSEEN)


def _picture(name: str, png: bytes, audits: Sequence[_Audit]) -> dict[str, str]:
    """A picture inside a page, with the name of the audit that it is of and what was seen there as its words."""
    own = next((each for each in audits if _plain(each.name) == _plain(name)), None)
    return {
        "name": _plain(name) if own is None else own.name,
        "words": "" if own is None else own.witness,
        "source": f"data:image/png;base64,{base64.b64encode(png).decode()}",
    }


def _plain(name: str) -> str:
    return name.lower().replace("-", " ").replace("_", " ")


def _json(page: _Page, figures: Mapping[str, bytes]) -> str:
    record = page.record
    shared = ("model", "family", "dataset", "seed", "contract", "fingerprints", "environment", "started", "seconds")
    content = {
        "record": record["id"],
        "grade": page.grade,
        "summary": page.summary,
        **{name: record[name] for name in shared},
        "verdicts": {verdict: sum(each.verdict == verdict for each in page.audits) for verdict in _SAID},
        "audits": record["audits"],
        "figures": record["figures"],
        "unseen": UNSEEN,
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


_WRITERS: Mapping[Form, Callable[[_Page, Mapping[str, bytes]], str]] = {
    Form.MARKDOWN: _markdown,
    Form.HTML: _html,
    Form.JSON: _json,
}
