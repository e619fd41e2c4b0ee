"""What sets the rows of one model apart: the settings in which they differ."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from torchstone.results.reading.measurements import Measurement

__all__ = ["Variant", "flat", "labels", "variant"]

# Suite, dataset, model, its settings apart from the seed, its code: the seeds of one variant are one row.
Variant = tuple[str, str, str, str, str]


def variant(each: Measurement) -> Variant:
    """What a row of a table stands for."""
    return each.suite, each.dataset, each.model, _without_seed(each.settings), each.code or ""


def labels(found: Sequence[Measurement]) -> dict[Variant, str]:
    """A label for each variant: the settings that differ among the variants of its model, as ``name=value``.

    A budget stands for the sizes that follow from it.
    """
    groups: dict[tuple[str, ...], dict[Variant, dict[str, Any]]] = {}
    for each in {variant(each): each for each in found}.values():
        settings = json.loads(_without_seed(each.settings)) | ({"code": each.code[:7]} if each.code else {})
        groups.setdefault((each.suite, each.dataset, each.model), {})[variant(each)] = settings
    return {each: label for group in groups.values() for each, label in _told_apart(group).items()}


def _told_apart(group: Mapping[Variant, Mapping[str, Any]]) -> dict[Variant, str]:
    keys = sorted({key for settings in group.values() for key in settings})
    telling = [key for key in keys if len({json.dumps(each.get(key)) for each in group.values()}) > 1]
    telling = [key for key in telling if not _follows_budget(key, group.values())]
    names = {key: _short(key, telling) for key in telling}
    return {
        each: ", ".join(f"{names[key]}={_word(settings[key])}" for key in telling if key in settings)
        for each, settings in group.items()
    }


def _follows_budget(key: str, group: Collection[Mapping[str, Any]]) -> bool:
    """Whether ``key`` is a size that a budget sets, steps or draws, and has one value for each budget."""
    if key != "steps" and not key.startswith("suite."):
        return False
    pairs = {(json.dumps(each.get("budget")), json.dumps(each.get(key))) for each in group}
    return len(pairs) == len({budget for budget, _ in pairs})


def _short(key: str, others: Sequence[str]) -> str:
    """The last part of a dotted name, where no other ends in it."""
    last = key.rsplit(".", 1)[-1]
    return last if sum(other.rsplit(".", 1)[-1] == last for other in others) == 1 else key


@lru_cache(maxsize=1024)  # most records share their settings
def _without_seed(text: str) -> str:
    """Settings under dotted names, as JSON, without the seed."""
    settings = flat(json.loads(text))
    return json.dumps({key: value for key, value in settings.items() if key.rsplit(".", 1)[-1] != "seed"})


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
