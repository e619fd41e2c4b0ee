"""What a gate found, written for people, for programs, and for continuous integration."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any
from xml.etree import ElementTree

from torchstone.results.gate.findings import Absent, Finding, Gate, Verdict
from torchstone.results.record import Kind
from torchstone.results.tables.render import strict_number
from torchstone.results.text.escape import markdown_text
from torchstone.results.text.grids import Grid, Shown, markdown
from torchstone.results.text.numbers import ABSENT, plain, printable, quantity, shortened, small

__all__ = ["Form", "headline", "written"]

SENTENCE = 400  # characters of a sentence that a page shows; JSON and JUnit have all


class Form(StrEnum):
    """What a gate can be written as: ``summary`` is Markdown for the page of a CI job, failures first."""

    MARKDOWN = "markdown"
    JSON = "json"
    JUNIT = "junit"
    SUMMARY = "summary"


def written(gate: Gate, form: Form | str, *, strict: bool = False) -> str:
    """``gate`` in one form; ``strict`` makes a failure of what is inconclusive. ValueError where there is no such."""
    return _WRITERS[Form(form)](gate, strict)


def headline(gate: Gate, *, strict: bool = False) -> str:
    """The outcome in one line: how many of each, the level, and whether the gate says no."""
    counts = Counter(each.verdict for each in gate.findings)
    words = [f"{counts[verdict]} {verdict.value}" for verdict in (Verdict.FAILED, *_CALMER) if counts[verdict]]
    words += [f"{len(gate.absent)} not compared"] if gate.absent else []
    tested = sum(each.p_value is not None for each in gate.findings)
    outcome = "failed" if gate.says_no(strict=strict) else "passed, not all cleared" if gate.inconclusive else "passed"
    return f"{outcome}: {', '.join(words)}; alpha {plain(gate.alpha)}, by Holm over {tested} metrics"


_CALMER = (Verdict.INCONCLUSIVE, Verdict.PASSED)


def _markdown(gate: Gate, strict: bool) -> str:
    told = [*map(_absence, gate.absent), *gate.notes, *([LEGEND] if gate.findings else [])]
    return f"**{headline(gate, strict=strict)}**\n\n{_tables(gate.findings)}{_bullets(told)}"


def _summary(gate: Gate, strict: bool) -> str:
    """The page of a CI job: what needs a look is open, the rest is folded away."""
    look = [each for each in gate.findings if each.verdict is not Verdict.PASSED]
    passed = [each for each in gate.findings if each.verdict is Verdict.PASSED]
    absent = [_absence(each) for each in gate.absent]
    parts = [f"### Torchstone: {headline(gate, strict=strict)}", _tables(look)]
    parts += [_folded(f"{len(passed)} passed", _tables(passed))] if passed else []
    parts += [_folded(f"{len(absent)} not compared", _bullets(absent))] if absent else []
    return "\n\n".join([*(part for part in parts if part), _bullets((*gate.notes, LEGEND, *gate.problems))])


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n</details>"


def _tables(findings: Sequence[Finding]) -> str:
    """A table for each model; nothing where there is none."""
    models: dict[str, list[Finding]] = {}
    for each in findings:
        models.setdefault(_title(each), []).append(each)
    grids = [Grid(title, _facts(held), _columns(held), _sentences(held)) for title, held in models.items()]
    return f"{markdown(grids, [], '')}\n" if grids else ""


LEGEND = (
    "Worse by: above zero is worse, ± its standard error. p: of being worse by the margin at most, adjusted by Holm "
    "for all metrics."
)


def _facts(findings: Sequence[Finding]) -> str:
    """How the metrics of one model were compared."""
    old, new = findings[0].seeds
    words = [f"seeds: {old} in the baseline, {new} in the candidate"]
    paired = {each.n for each in findings if each.paired}
    words += [f"paired over {n} examples" for n in paired if len(paired) == 1 and all(f.paired for f in findings)]
    return "; ".join(words)


def _title(each: Finding) -> str:
    return f"{shortened(each.suite)} of {_name(each)} on {shortened(each.dataset)}"


def _name(each: Finding | Absent) -> str:
    return f"{shortened(each.model)} {shortened(each.label)}".strip()


def _columns(findings: Sequence[Finding]) -> list[Shown]:
    texts = {
        "metric": [shortened(each.metric) for each in findings],
        "verdict": [_SAID[each.verdict][0] for each in findings],
        "baseline": [_value(each.baseline, each.kind) for each in findings],
        "candidate": [_value(each.candidate, each.kind) for each in findings],
        "worse by": [_difference(each) for each in findings],
        "margin": [small(each.margin) for each in findings],
        "p": [small(each.p_adjusted) for each in findings],
    }
    return [Shown(name, held, name, words=name in ("metric", "verdict")) for name, held in texts.items()]


# How a verdict is written, and whether its reason is worth a line.
_SAID = {
    Verdict.FAILED: ("FAILED", True),
    Verdict.PASSED: ("passed", False),
    Verdict.INCONCLUSIVE: ("inconclusive", True),
}


def _value(value: float, kind: Kind) -> str:
    return ABSENT if math.isnan(value) else quantity(value, None, kind)


def _difference(each: Finding) -> str:
    if math.isnan(each.degradation):
        return ABSENT
    error = None if each.stderr is None else math.hypot(each.stderr, each.seed_stderr or 0.0)
    return "0" if each.degradation == error == 0 else quantity(each.degradation, error, Kind.EXACT)


def _sentences(findings: Sequence[Finding]) -> list[str]:
    """Reasons of what did not simply pass, and how it was compared where that was not example by example.

    Metrics of which the same is to be said share a line.
    """
    said: dict[str, list[str]] = {}
    for each in findings:
        words = [*([each.reason] if _SAID[each.verdict][1] else []), *each.notes]
        if words:
            said.setdefault(" ".join(words), []).append(shortened(each.metric))
    return [shortened(f"{', '.join(metrics)}: {text}", SENTENCE) for text, metrics in said.items()]


def _absence(each: Absent) -> str:
    what = shortened(each.metric) if each.metric else "all metrics"
    where = f"{_name(each)} on {shortened(each.dataset)} ({shortened(each.suite)})"
    return f"not compared: {what} of {where}: {each.reason}"


def _bullets(lines: Sequence[str]) -> str:
    return "".join(f"- {markdown_text(shortened(line, SENTENCE))}\n" for line in lines)


def _json(gate: Gate, strict: bool) -> str:
    content = {
        "verdict": "failed" if gate.says_no(strict=strict) else "passed",
        "strict": strict,
        "alpha": gate.alpha,
        "findings": [_plain(dataclasses.asdict(each)) for each in gate.findings],
        "not_compared": [_plain(dataclasses.asdict(each)) for each in gate.absent],
        "notes": list(gate.notes),
        "problems": list(gate.problems),
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: strict_number(value) if isinstance(value, float) else value for name, value in fields.items()}


def _junit(gate: Gate, strict: bool) -> str:
    """JUnit XML: a test for each metric; what was not compared is skipped."""
    failing = (Verdict.FAILED, Verdict.INCONCLUSIVE) if strict else (Verdict.FAILED,)
    failures = sum(each.verdict in failing for each in gate.findings)
    skipped = sum(each.verdict is Verdict.INCONCLUSIVE for each in gate.findings if not strict) + len(gate.absent)
    counts = {"tests": len(gate.findings) + len(gate.absent), "failures": failures, "errors": 0, "skipped": skipped}
    attributes = {"name": "torchstone", **{name: str(count) for name, count in counts.items()}}
    root = ElementTree.Element("testsuites", attributes)
    suite = ElementTree.SubElement(root, "testsuite", attributes)
    for each in gate.findings:
        case = _case(suite, each, each.metric)
        if each.verdict in failing:
            _said(case, "failure", each)
        elif each.verdict is Verdict.INCONCLUSIVE:
            _said(case, "skipped", each)
    for missing in gate.absent:
        case = _case(suite, missing, missing.metric or "all metrics")
        ElementTree.SubElement(case, "skipped", {"message": printable(f"not compared: {missing.reason}")})
    output = ElementTree.SubElement(suite, "system-out")
    output.text = "\n".join(printable(line) for line in (headline(gate, strict=strict), *gate.notes, *gate.problems))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, each: Finding | Absent, metric: str) -> ElementTree.Element:
    name = f"{each.suite}.{each.dataset}.{f'{each.model} {each.label}'.strip()}"
    return ElementTree.SubElement(suite, "testcase", {"classname": printable(name), "name": printable(metric)})


def _said(case: ElementTree.Element, tag: str, each: Finding) -> None:
    element = ElementTree.SubElement(case, tag, {"message": printable(f"{each.verdict.value}: {each.reason}")})
    if tag == "failure":
        element.set("type", each.verdict.value)
        facts = [
            f"baseline {plain(each.baseline)}, candidate {plain(each.candidate)} {each.unit}",
            f"worse by {_difference(each)}, margin {small(each.margin)}, p {small(each.p_adjusted)}",
            *each.notes,
        ]
        element.text = "\n".join(printable(fact) for fact in facts)


_WRITERS: Mapping[Form, Callable[[Gate, bool], str]] = {
    Form.MARKDOWN: _markdown,
    Form.JSON: _json,
    Form.JUNIT: _junit,
    Form.SUMMARY: _summary,
}
