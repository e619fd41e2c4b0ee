"""The seeds of a model taken together, and which of two sets of models belong to each other."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import final

from torchstone.results.reading.labels import flat, labels, variant
from torchstone.results.reading.measurements import Measurement, Value
from torchstone.results.reading.spread import complete, spread
from torchstone.results.record import canonical
from torchstone.results.store import age

__all__ = ["Group", "Merged", "asked", "groups", "matched"]

# Settings that make no other model: where it runs, how it was found, what its weights are, which seed.
_INCIDENTAL = frozenset({"batch_size", "data_spec", "device", "model_spec", "seed", "state", "steps"})


@final
@dataclass(frozen=True, slots=True)
class Merged:
    """One metric of a group, over its seeds.

    Attributes:
        value: the mean over the seeds.
        stderr: over examples; the seeds share them, so it is averaged and not reduced. None where one has none.
        estimator_stderr: the estimator's own, of the mean over the seeds.
        seed_sd: standard deviation over training seeds; None for a single one.
        means: the value of each seed.
        first: that of the first seed, for all that they share.
    """

    value: float
    stderr: float | None
    estimator_stderr: float | None
    seed_sd: float | None
    means: tuple[float, ...]
    first: Value


@final
@dataclass(frozen=True, slots=True)
class Group:
    """The latest records of one model with one choice of settings: a measurement for each seed, all of one code.

    ``label`` is what sets it apart from other groups of its model, and ``older`` counts the records of the same
    settings that newer ones replace; ``left_out`` are seeds that `only` took away.
    """

    suite: str
    suite_version: int
    dataset: str
    model: str
    label: str
    contract: str
    members: tuple[Measurement, ...]
    older: int
    left_out: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Model and label."""
        return f"{self.model} {self.label}".strip()

    @property
    def seeds(self) -> tuple[int, ...]:
        """The training seeds, in order."""
        return tuple(each.seed for each in self.members)

    @property
    def key(self) -> tuple[str, str, str]:
        """What a group of another store must share to be the same model: suite, dataset and name."""
        return self.suite, self.dataset, self.model

    def only(self, seeds: Collection[int]) -> Group:
        """The same with those ``seeds`` alone."""
        kept = tuple(each for each in self.members if each.seed in seeds)
        return replace(self, members=kept, left_out=tuple(seed for seed in self.seeds if seed not in seeds))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of its values, the headline first."""
        return tuple(dict.fromkeys(name for each in self.members for name in each.values))

    def merged(self, metric: str) -> Merged | None:
        """One metric over the seeds; None where one of them lacks it, or has it under another contract."""
        values = [each.values[metric] for each in self.members if metric in each.values]
        if len(values) < len(self.members) or len({value.signature for value in values}) > 1:
            return None
        means = tuple(value.value for value in values)
        errors, own = complete(value.stderr for value in values), complete(value.estimator_stderr for value in values)
        return Merged(
            value=math.fsum(means) / len(means) if all(map(math.isfinite, means)) else sum(means) / len(means),
            stderr=None if errors is None else sum(errors) / len(errors),
            estimator_stderr=None if own is None else math.hypot(*own) / len(own),
            seed_sd=spread(means),
            means=means,
            first=values[0],
        )


def groups(found: Iterable[Measurement]) -> list[Group]:
    """The groups of measurements, by suite, dataset and model.

    Of one choice of settings the newest record counts, with those of other seeds that have its code, suite version and
    contract; of several such with one seed the newest.
    """
    settings: dict[tuple[str, ...], list[Measurement]] = {}
    for each in found:
        settings.setdefault((each.suite, each.dataset, each.model, asked(each.settings)), []).append(each)
    chosen = [(_latest(members), len(members)) for _, members in sorted(settings.items(), key=lambda item: item[0])]
    naming = labels([members[0] for members, _ in chosen])
    return [_group(members, naming[variant(members[0])], there - len(members)) for members, there in chosen]


def matched(
    first: Sequence[Group], second: Sequence[Group]
) -> tuple[list[tuple[Group, Group]], list[Group], list[Group]]:
    """The pairs of groups that are the same model, and what is left on either side.

    Same settings are matched first. Where one group is then left on each side of the same name, suite and dataset, its
    settings were changed, and it is matched too. Of a pair that has seeds in common only those count: another seed is
    another model, and would be taken for a change.
    """
    pairs: list[tuple[Group, Group]] = []
    left: dict[tuple[str, str, str], tuple[list[Group], list[Group]]] = {}
    known = {(*each.key, asked(each.members[0].settings)): each for each in second}
    for each in first:
        same = known.pop((*each.key, asked(each.members[0].settings)), None)
        if same is not None:
            pairs.append((each, same))
        else:
            left.setdefault(each.key, ([], []))[0].append(each)
    for each in known.values():
        left.setdefault(each.key, ([], []))[1].append(each)
    alone: tuple[list[Group], list[Group]] = [], []
    for mine, theirs in left.values():
        if len(mine) == len(theirs) == 1:
            pairs.append((mine[0], theirs[0]))
        else:
            alone[0].extend(mine)
            alone[1].extend(theirs)
    ordered = sorted(pairs, key=lambda pair: (pair[0].key, pair[0].label))
    return [_on_shared_seeds(*pair) for pair in ordered], *alone


def _on_shared_seeds(first: Group, second: Group) -> tuple[Group, Group]:
    shared = set(first.seeds) & set(second.seeds)
    return (first.only(shared), second.only(shared)) if shared else (first, second)


@lru_cache(maxsize=4096)  # most records share their settings
def asked(settings: str) -> str:
    """What a record's ``settings`` ask for, as canonical JSON, without what makes no other model."""
    found = flat(json.loads(settings))
    return canonical({key: value for key, value in found.items() if not _incidental(key)}).decode()


def _incidental(key: str) -> bool:
    return key in _INCIDENTAL or key.endswith(".seed")


def _latest(members: Sequence[Measurement]) -> list[Measurement]:
    """The newest of each seed, in the order of the seeds, among those made as the newest of all was."""
    ordered = sorted(members, key=lambda each: (age(each.started), each.record))
    newest = ordered[-1]
    alike = [each for each in ordered if _made(each) == _made(newest)]
    by_seed = {each.seed: each for each in alike}
    return [by_seed[seed] for seed in sorted(by_seed)]


def _made(each: Measurement) -> tuple[str | None, int, str]:
    return each.code, each.suite_version, each.contract


def _group(members: Sequence[Measurement], label: str, older: int) -> Group:
    first = members[0]
    return Group(
        first.suite, first.suite_version, first.dataset, first.model, label, first.contract, tuple(members), older
    )
