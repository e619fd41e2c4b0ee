"""One record, readable on one screen."""

from __future__ import annotations

import dataclasses
import textwrap
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torchstone.results.reading.labels import flat
from torchstone.results.record import OUTCOMES, Record, Score, number
from torchstone.results.text.numbers import plain, printable, quantity, small

__all__ = ["describe"]

WIDTH = 100


def describe(record: Record) -> str:
    """What was measured, with which numbers, under which contract, and where: one line each, folded at 100 columns."""
    measured = f"{record.suite}, version {record.suite_version}, of {record.model} ({record.family})"
    environment = {f.name: getattr(record.environment, f.name) for f in dataclasses.fields(record.environment)}
    versions = environment.pop("versions")
    parts = [
        _part("record", record.id),
        _part("measured", f"{measured} on {record.dataset}, seed {record.seed}"),
        _part("status", ": ".join(word for word in (record.status.value, record.reason) if word)),
        *(_part(score.metric, _number(score)) for score in record.scores),
        _part("contract", _facts(record.contract)),
        _part("settings", _facts(flat(record.settings))),
        _part("fingerprints", _facts(record.fingerprints)),
        _part("identity", record.identity),
        _part("audits", _audits(record)),
        *(_part(str(audit.get("audit")), _audit(audit)) for audit in record.audits),
        _part("examples", _examples(record)),
        _part("figures", _figures(record)),
        _part("started", f"{record.started}, {record.seconds:.3g} seconds"),
        _part("environment", _facts(environment)),
        _part("versions", _facts(versions)),
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _part(name: str, text: str) -> str:
    """A name, and its text folded beside it; nothing where there is no text."""
    head = f"{printable(name):<20} "
    body = textwrap.wrap(printable(text), WIDTH - 21, break_on_hyphens=False)
    return head + ("\n" + " " * 21).join(body) if body else ""


def _number(score: Score) -> str:
    interval = f"95 % [{plain(score.ci95[0])}, {plain(score.ci95[1])}]" if score.ci95 else ""
    words = [
        f"{quantity(score.value, score.stderr, score.kind)} {score.unit}",
        interval,
        f"{score.n} examples" if score.n is not None else "",
        f"{'higher' if score.higher_is_better else 'lower'} is better",
        *_measured(score.parameters),
        _facts({key: value for key, value in score.parameters.items() if key not in OUTCOMES}),
        _facts(score.contract),
    ]
    return "; ".join(word for word in words if word)


def _measured(parameters: Mapping[str, Any]) -> list[str]:
    own, lost = parameters.get("estimator_stderr"), parameters.get("nonfinite")
    words = [] if own is None else [f"the estimator's own standard error {small(number(own))}"]
    beside = {"floor": "training examples have", "null": "the law of the data has"}
    words += [f"{what} {plain(number(parameters[name]))}" for name, what in beside.items() if name in parameters]
    if (chance := parameters.get("null_mean")) is not None:
        high = number(parameters["null_high"])
        words.append(f"chance alone makes {plain(number(chance))}, and more than {plain(high)} once in 40 times")
    return words + ([f"{lost} examples not finite"] if lost else [])


def _facts(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_word(value)}" for key, value in facts.items() if value is not None)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return plain(value) if isinstance(value, float) else str(value)


def _audits(record: Record) -> str:
    """How many ended how, and which were failed."""
    verdicts = Counter(str(audit.get("verdict")) for audit in record.audits)
    failed = [str(audit.get("audit")) for audit in record.audits if audit.get("verdict") == "fail"]
    words = [f"{times} {verdict}" for verdict, times in sorted(verdicts.items())]
    return ", ".join(words) + (f" ({', '.join(failed)} failed)" if failed else "")


def _audit(audit: Mapping[str, Any]) -> str:
    """The verdict of one, with its grade, and what was seen."""
    grade, p_value = audit.get("grade"), audit.get("p_value")
    judged = audit.get("verdict") not in ("not-applicable", "inconclusive")
    words = [
        str(audit.get("verdict")) + (f", {grade}" if judged and grade else ""),
        "" if p_value is None else f"p {number(p_value):.2g}",
        str(audit.get("witness") or ""),
    ]
    return "; ".join(word for word in words if word)


def _figures(record: Record) -> str:
    return f"PNG files beside it: {', '.join(record.figures)}" if record.figures else ""


def _examples(record: Record) -> str:
    if not record.arrays:
        return ""
    return f"{record.arrays.get('rows')} in the Parquet file beside it: {', '.join(record.arrays.get('columns', ()))}"
