"""What samples may hide from a distance: each as a verdict, which flags and never fails, and a word on what was seen.

A sampler that has learned too much, or the wrong thing, has good distances and no fault that could be proved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torchstone.suites.audits.audit import Grade, Verdict, entry

__all__ = ["CLAIMS", "entries"]

CLAIMS = {
    "copies of the training split": "No more samples are training examples than test examples are.",
    "copies of the test split": "No more samples are test examples than chance and the data explain.",
    "near copies": "Samples are no nearer to the training split than test examples are.",
    "duplicates": "Samples differ from each other as examples do.",
    "floor": "The distance to the test split is not below that of training examples.",
    "second extractor": "An extractor that nobody trains samplers on agrees.",
}
_OTHERWISE = {
    "copies of the training split": "As few as there are among test examples.",
    "copies of the test split": "As few as there are between the splits.",
    "near copies": "Their distances to the training split are those of test examples, or larger.",
    "duplicates": "As few pairs are equal as among test examples.",
    "floor": "It is at the floor or above it.",
    "second extractor": "By both, the distance is of one size beside its floor.",
}


def entries(seen: Mapping[str, Sequence[str]], untested: Mapping[str, str]) -> tuple[Mapping[str, Any], ...]:
    """An entry for each check.

    Args:
        seen: what was seen, in sentences, by the name of the check.
        untested: why a check could not be made, by its name.
    """
    found = []
    for name, claim in CLAIMS.items():
        if seen.get(name):
            verdict, grade, words = Verdict.FLAG, Grade.INVARIANT, " ".join(seen[name])
        elif name in untested:
            verdict, grade, words = Verdict.NOT_APPLICABLE, Grade.DECLARED, untested[name]
        else:
            verdict, grade, words = Verdict.PASS, Grade.INVARIANT, _OTHERWISE[name]
        found.append(entry(name, claim, verdict, grade, words))
    return tuple(found)
