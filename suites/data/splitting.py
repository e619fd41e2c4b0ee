"""Fixed splits that depend on the content of the examples and on nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from torchstone.models.model import Split
from torchstone.suites.data.dataset import DataError

__all__ = ["select", "split_by_content", "tenths"]


def split_by_content(x: Tensor, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """Cut examples into disjoint splits in the order of the sha256 of their bytes.

    Identical examples are neighbours in that order; a cut that would separate them moves past them, so that no
    content is in two splits. No random number is involved: the splits are the same in all versions of all libraries.

    Args:
        x: the examples, ``(N, *event)``.
        sizes: how many examples each split takes, in this order, ``N`` in total.

    Returns:
        For each name in ``sizes`` the int64 indices into ``x``, in the order of the hash.
    """
    if sum(sizes.values()) != len(x):
        raise ValueError(f"sizes add up to {sum(sizes.values())}, and there are {len(x)} examples; make them equal.")
    digests = _digests(x)
    order = sorted(range(len(digests)), key=lambda i: (digests[i], i))
    ranked = [digests[i] for i in order]
    parts, start, stop = {}, 0, 0
    for name, size in sizes.items():
        stop += size
        end = max(start, _past_ties(ranked, stop))
        parts[name] = torch.tensor(order[start:end], dtype=torch.int64)
        start = end
    empty = [name for name, ids in parts.items() if len(ids) == 0]
    if empty:
        raise DataError(
            f"{len(x)} examples, of which {len(set(digests))} are different, leave nothing for {' and '.join(empty)}: "
            f"give at least 10 different examples."
        )
    return parts


def tenths(total: int) -> dict[str, int]:
    """Sizes of the usual splits: a tenth for validation, a tenth for the test, rounded down; the rest for training.

    >>> tenths(25)
    {'train': 21, 'validation': 2, 'test': 2}
    """
    tenth = total // 10
    return {"train": total - 2 * tenth, "validation": tenth, "test": tenth}


def select(x: Tensor, y: Tensor | None, parts: Mapping[str, Tensor]) -> dict[str, Split]:
    """The splits that take the examples ``parts[name]`` of ``x`` and ``y``; these indices become their ids."""
    return {name: Split(x[ids], None if y is None else y[ids], ids) for name, ids in parts.items()}


def _digests(x: Tensor) -> list[bytes]:
    rows = x.contiguous().reshape(len(x), -1).numpy()
    return [hashlib.sha256(row.tobytes()).digest() for row in rows]


def _past_ties(ranked: Sequence[bytes], cut: int) -> int:
    """The first cut from ``cut`` on that does not separate equal neighbours."""
    while 0 < cut < len(ranked) and ranked[cut] == ranked[cut - 1]:
        cut += 1
    return cut
