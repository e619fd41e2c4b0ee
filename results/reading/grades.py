"""How far the numbers of a model are backed: the grade of its latest certificate, for tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from torchstone.results.record import NO_DENSITY, canonical
from torchstone.results.store import age

__all__ = [
    "BACKING",
    "CERTIFICATE",
    "UNAUDITED",
    "Certified",
    "audited",
    "certified",
    "grade",
    "promises_none",
    "standing",
    "worst",
]

CERTIFICATE = "audit"  # the suite whose records are certificates
UNAUDITED = "unaudited"

# The audits whose claim is that a density is one, or a bound what it bounds: on these the numbers rest.
BACKING = frozenset({
    "enumeration", "super-unity", "entropy floors", "importance mass", "bound ordering", "known source",
})  # fmt: skip

_WORST_FIRST = ("fail", UNAUDITED, "D", "C", "B", "A")


class Certified(NamedTuple):
    """All that two records must share for the certificate of one to speak of the other: model, data and both contents.

    Settings belong to it: a temperature moves every number and no weight.
    """

    model: str
    dataset: str
    data: str
    weights: str
    code: str
    settings: bytes


def grade(audits: Sequence[Mapping[str, Any]]) -> str:
    """The grade of a certificate in a word: ``fail``, or the best grade of what was passed, and how much was flagged.

    >>> passed = {"audit": "enumeration", "verdict": "pass", "grade": "A"}
    >>> grade([passed, {"audit": "purity", "verdict": "flag", "grade": "C"}])
    'A, 1 flag'
    """
    verdicts = [audit.get("verdict") for audit in audits]
    if "fail" in verdicts:
        return "fail"
    passed = {
        audit.get("grade") for audit in audits if audit.get("verdict") == "pass" and audit.get("audit") in BACKING
    }
    best = next((letter for letter in "ABC" if letter in passed), "D")
    flags = verdicts.count("flag")
    return best + (f", {flags} flag{'' if flags == 1 else 's'}" if flags else "")


def promises_none(audits: Sequence[Mapping[str, Any]]) -> bool:
    """Whether nothing backs a density because none is promised: no audit of one applies, and one of them says why.

    That none applies is not enough: a density may be promised of data for which there is no such audit.
    """
    backing = [audit for audit in audits if audit.get("audit") in BACKING]
    return all(audit.get("verdict") == "not-applicable" for audit in backing) and any(
        audit.get("witness") == NO_DENSITY for audit in backing
    )


def worst(grades: Iterable[str]) -> str:
    """The grade of several certificates taken together, such as those of the seeds of one row."""
    return min(grades, key=standing)


def certified(
    model: str, dataset: str, settings: Mapping[str, Any] | str, fingerprints: Mapping[str, str | None]
) -> Certified | None:
    """What a certificate of a record would speak of; None where its content is not known.

    Args:
        model: its name.
        dataset: its name.
        settings: of the record, or their JSON.
        fingerprints: of the record.
    """
    data, weights, code = (fingerprints.get(name) for name in ("data", "weights", "code"))
    if not (isinstance(data, str) and isinstance(weights, str) and isinstance(code, str)):
        return None
    text = settings if isinstance(settings, str) else canonical(settings).decode()
    return Certified(model, dataset, data, weights, code, _of_model(text))


def audited(certificates: Iterable[tuple[Certified | None, str, str, str]]) -> dict[Certified | None, str]:
    """The grade of the newest certificate of each model.

    Args:
        certificates: of each what it speaks of, when it was started, its record, and its grade.
    """
    ordered = sorted((age(started), record, key, text) for key, started, record, text in certificates if key)
    return {key: text for _, _, key, text in ordered}


@lru_cache(maxsize=1024)  # most records share their settings
def _of_model(settings: str) -> bytes:
    """The settings of a model, and the state of one that has no name, of a record's settings."""
    found = json.loads(settings)
    return canonical({key: found.get(key) for key in ("model", "state")})


def standing(text: str) -> tuple[int, int]:
    """Where a grade stands among all, the worst first: its letter, and then how few audits were flagged."""
    word, _, flags = text.partition(", ")
    return _WORST_FIRST.index(word), -int(flags.split()[0]) if flags else 0
