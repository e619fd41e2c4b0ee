"""What a block of a table is about, in a line of words made from its contract."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from torchstone.results.reading.measurements import Measurement

__all__ = ["captions"]

_KINDS = {"exact": "exact", "lower_bound": "lower bounds", "upper_bound": "upper bounds", "estimate": "estimates"}
_ESTIMATORS = {
    "exact": "",
    "elbo": "ELBO",
    "iwae": "importance-weighted bound",
    "importance-weighted": "importance-weighted bound",
}
# Said by other words of the caption.
_SAID = frozenset({
    "augmentation", "conditional", "data", "dataset", "dequantisation", "dims", "estimator", "examples", "extra_data",
    "extractor_code", "extractor_weights", "feature_dims", "importance_samples", "kind", "quantity", "reference_hash",
    "resize", "split", "support",
})  # fmt: skip


def captions(groups: Sequence[Sequence[Measurement]]) -> list[str]:
    """A caption for each block; no two are equal."""
    short = [_caption(group) for group in groups]
    repeated = {text for text, times in Counter(short).items() if times > 1}
    long = [
        f"{text} · {_particulars(group)}" if text in repeated else text
        for text, group in zip(short, groups, strict=True)
    ]
    return [
        f"{text} · {long[:place].count(text) + 1}" if long.count(text) > 1 else text for place, text in enumerate(long)
    ]


def _caption(group: Sequence[Measurement]) -> str:
    contract, first = json.loads(group[0].contract), group[0]
    kinds = sorted({value.kind.value for value in first.values.values()})
    words = [
        f"{first.suite} on {first.dataset}{_extent(contract)}",
        _KINDS[kinds[0]] if len(kinds) == 1 else "kinds by sign",
        _estimator(contract),
        _unless(contract, "dequantisation", "none", "{} dequantisation"),
        {True: "conditional", False: "unconditional"}.get(contract.get("conditional"), ""),
        "trained with augmentation" if contract.get("augmentation") else "",
        "trained on extra data" if contract.get("extra_data") else "",
        *(f"{key} {value}" for key, value in contract.items() if key not in _SAID and value is not None),
    ]
    return " · ".join(word for word in words if word)


def _extent(contract: dict[str, Any]) -> str:
    support = str(contract.get("support", ""))
    words = [
        str(contract.get("split", "")),
        f"{contract['examples']} examples" if "examples" in contract else "",
        f"{contract['dims']} dims" if "dims" in contract else "",
        f"{support.removeprefix('discrete-')} levels" if support.startswith("discrete-") else support,
    ]
    said = ", ".join(word for word in words if word)
    return f" ({said})" if said else ""


def _estimator(contract: dict[str, Any]) -> str:
    name = str(contract.get("estimator", "exact"))
    words = _ESTIMATORS.get(name, name)
    draws = contract.get("importance_samples")
    return f"{words}, K = {draws}".removeprefix(", ") if draws is not None else words


def _unless(contract: dict[str, Any], key: str, usual: str, words: str) -> str:
    value = contract.get(key, usual)
    return "" if value == usual else words.format(value)


def _particulars(group: Sequence[Measurement]) -> str:
    """What captions leave out until two of them are equal."""
    first = group[0]
    data = str(json.loads(first.contract).get("data", ""))[:8]
    headline = next(iter(first.values.values()))
    words = [
        f"version {first.suite_version}",
        f"data {data}" if data else "",
        f"{next(iter(first.values))} in {headline.unit}",
    ]
    own = {
        f"{key} {value}"
        for each in first.values.values()
        for key, value in json.loads(str(each.contract)).items()
        if key not in json.loads(first.contract)
    }
    return " · ".join([word for word in words if word] + sorted(own))
