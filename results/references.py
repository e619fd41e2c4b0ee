"""Numbers that others have published, as data with their provenance. None of them was measured here."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any, final

from torchstone.results.record import Kind, RecordError, Scalar
from torchstone.results.text.escape import markdown_text

__all__ = ["NOTICE", "TAGS", "Reference", "ReferenceBlock", "blocks", "markdown", "parse", "references"]

FILE = "references.csv"

TAGS: Mapping[str, str] = {
    "P": "read in the primary source's own repository",
    "S": "read in a secondary copy: notes, a translation or a README of somebody else, or a thread",
    "S+P": "read in a secondary copy, and in part in the primary source's own repository",
}

NOTICE = (
    "None of these numbers was measured or reproduced by Torchstone: they are quoted as published, each with the place "
    "where it was read, and are never ranked with measured ones."
)

_KINDS = {"=": Kind.EXACT, "<=": Kind.UPPER_BOUND, "~": Kind.ESTIMATE}
# The unit of each metric, and whether more of it is better.
_METRICS = {
    "bits_per_dim": ("bits/dim", False),
    "nll": ("nats/example", False),
    "fid": ("squared distance", False),
    "precision": ("fraction", True),
    "recall": ("fraction", True),
    "linear_probe_accuracy": ("%", True),
    "knn_accuracy": ("%", True),
}
_YES_OR_NO = {"yes": True, "no": False, "": None}
_CONTRACT = (
    "metric", "unit", "dataset", "variant", "split", "examples", "kind", "dequantisation", "estimator", "conditional",
    "augmentation",
)  # fmt: skip


@final
@dataclass(frozen=True, slots=True)
class Reference:
    """One published number, what it is a number of, and where it was read.

    Attributes:
        model: as its authors call it, with what sets the variant apart.
        metric: as in records.
        printed: the number as it was published, digits and all, in ``unit``.
        kind: exact, an upper bound, or an estimate, said of the printed quantity.
        unit: bits/dim, nats/example, %, …
        dataset: as its authors call it.
        variant: of the dataset: levels, binarisation, download, features.
        split: test or validation; empty where the place that was read does not say.
        examples: in the split, or, of a FID, the samples; None where it is not said.
        dequantisation: none, uniform or variational; empty where it is not said or there is no such thing.
        estimator: K, T, solver and the like in words; empty where it is not said.
        conditional: whether labels were given; None where it is not said.
        augmentation: whether extra augmentation was trained on; None where it is not said.
        source: where it was read: ``repository @ commit : file``, or which secondary copy.
        tag: how near that is to the authors; a key of `TAGS`.
        note: what else to know before comparing with it.
    """

    model: str
    metric: str
    printed: str
    kind: Kind
    unit: str
    dataset: str
    variant: str
    split: str
    examples: int | None
    dequantisation: str
    estimator: str
    conditional: bool | None
    augmentation: bool | None
    source: str
    tag: str
    note: str = ""

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise RecordError(f"reference {self.model!r}: {problem}")

    @property
    def value(self) -> float:
        """The number, in ``unit``."""
        return float(self.printed)

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the metric is better."""
        return _METRICS[self.metric][1]

    @property
    def contract(self) -> dict[str, Scalar]:
        """What two references share that stand in one block; what is not said is None or empty, and not guessed."""
        return {name: getattr(self, name) for name in _CONTRACT}

    @property
    def text(self) -> str:
        """The number with the sign of its kind, such as ``≤ 3.40``."""
        return f"{self.kind.sign} {self.printed}".strip()


@final
@dataclass(frozen=True, slots=True)
class ReferenceBlock:
    """References with one contract, the best value first; no rank is claimed."""

    caption: str
    contract: Mapping[str, Scalar]
    rows: tuple[Reference, ...]


@cache
def references() -> tuple[Reference, ...]:
    """All published numbers that are shipped, in the order of their file.

    Raises:
        RecordError: the file was damaged; the message names the line.
    """
    return parse((files("torchstone.results") / FILE).read_text(encoding="utf-8"))


def parse(text: str) -> tuple[Reference, ...]:
    """The references of a CSV file with a column for each field of `Reference`.

    Raises:
        RecordError: a column is missing or unknown, a line has too few or too many fields, a value is not what its
            column holds, or a number is given twice under one contract; the message names the line.
    """
    rows = csv.DictReader(io.StringIO(text), strict=True)
    known = [field.name for field in fields(Reference)]
    if rows.fieldnames is None or list(rows.fieldnames) != known:
        raise RecordError(f"{FILE}: its columns are {rows.fieldnames}; they must be {', '.join(known)}")
    found: dict[tuple[Any, ...], Reference] = {}
    for row in rows:
        try:
            reference = _reference(row)
        except (KeyError, TypeError, ValueError, RecordError) as error:
            raise RecordError(f"{FILE}, line {rows.line_num}: {error}") from error
        key = (reference.model, reference.source, *reference.contract.values())
        if key in found:
            raise RecordError(f"{FILE}, line {rows.line_num}: {reference.model!r} is there under this contract already")
        found[key] = reference
    return tuple(found.values())


def blocks(found: Iterable[Reference]) -> tuple[ReferenceBlock, ...]:
    """The references grouped by contract, in the order in which the contracts first come."""
    groups: dict[tuple[Scalar, ...], list[Reference]] = {}
    for each in found:
        groups.setdefault(tuple(each.contract.values()), []).append(each)
    return tuple(
        ReferenceBlock(_caption(group[0]), group[0].contract, tuple(sorted(group, key=_best_first)))
        for group in groups.values()
    )


def markdown(found: Sequence[Reference]) -> str:
    """The references as Markdown, a table for each contract, with tags and sources; it begins with the notice."""
    tags = "; ".join(f"{tag}: {meaning}" for tag, meaning in TAGS.items() if any(each.tag == tag for each in found))
    parts = [NOTICE, *([f"Tags: {tags}."] if tags else [])]
    for block in blocks(found):
        lines = [f"**{markdown_text(block.caption)}**", "", _row(_HEADINGS), "| :-- | --: | :-- | :-- | :-- |"]
        lines += [_row((row.model, row.text, row.tag, row.source, row.note or "–")) for row in block.rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


_HEADINGS = ("model", "published", "tag", "read in", "note")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(markdown_text(cell) for cell in cells)} |"


def _reference(row: Mapping[str, Any]) -> Reference:
    if None in row or None in row.values():
        raise ValueError("it has too many or too few fields")
    return Reference(
        **{
            **row,
            "kind": _one_of(row["kind"], _KINDS),
            "examples": int(row["examples"]) if row["examples"] else None,
            "conditional": _one_of(row["conditional"], _YES_OR_NO),
            "augmentation": _one_of(row["augmentation"], _YES_OR_NO),
        }
    )


def _one_of(text: str, known: Mapping[str, Any]) -> Any:
    if text not in known:
        raise ValueError(f"{text!r} is none of {', '.join(map(repr, known))}")
    return known[text]


def _problem(each: Reference) -> str:
    """What is wrong with a reference, in half a sentence; empty where nothing is."""
    for name in ("model", "dataset", "source"):
        if not getattr(each, name).strip():
            return f"it has no {name}"
    if each.metric not in _METRICS:
        return f"its metric {each.metric!r} is none of {', '.join(_METRICS)}"
    if each.unit != _METRICS[each.metric][0]:
        return f"its unit {each.unit!r} is not {_METRICS[each.metric][0]!r}, that of {each.metric}"
    if not re.fullmatch(r"-?\d+(\.\d+)?", each.printed):
        return f"its number {each.printed!r} is not one in decimal digits"
    if each.tag not in TAGS:
        return f"its tag {each.tag!r} is none of {', '.join(TAGS)}"
    if "P" in each.tag and not ("/" in each.source and " @ " in each.source and " : " in each.source):
        return f"its tag {each.tag} needs a source of the form repository @ commit : file, and it has {each.source!r}"
    if each.examples is not None and each.examples < 1:
        return f"its examples are {each.examples}"
    return ""


def _best_first(each: Reference) -> tuple[float, str]:
    return -each.value if each.higher_is_better else each.value, each.model


_SAID_OF_KINDS = {Kind.EXACT: "exact", Kind.UPPER_BOUND: "upper bounds", Kind.ESTIMATE: "estimates"}


def _caption(each: Reference) -> str:
    count = None if each.examples is None else f"{each.examples} {'samples' if each.metric == 'fid' else 'examples'}"
    of_data = ", ".join(word for word in (each.variant, each.split, count) if word)
    words = [
        f"{each.metric} ({each.unit}) on {each.dataset}" + (f" ({of_data})" if of_data else ""),
        _SAID_OF_KINDS[each.kind],
        {"": "", "none": "no dequantisation"}.get(each.dequantisation, f"{each.dequantisation} dequantisation"),
        each.estimator if each.estimator != "exact" else "",
        {True: "conditional", False: "unconditional", None: ""}[each.conditional],
        {True: "extra augmentation", False: "no extra augmentation", None: ""}[each.augmentation],
    ]
    return " · ".join(word for word in words if word)
