from __future__ import annotations

import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchstone.suites.data import DataError
from torchstone.suites.data.splitting import select, split_by_content, tenths


def rows(x: torch.Tensor, ids: torch.Tensor) -> set[bytes]:
    return {row.numpy().tobytes() for row in x[ids]}


@given(st.lists(st.integers(0, 40), min_size=10, max_size=80))
def test_splits_cover_everything_once_and_share_no_content(values: list[int]) -> None:
    x = torch.tensor(values, dtype=torch.uint8)[:, None]
    try:
        parts = split_by_content(x, tenths(len(x)))
    except DataError:  # so many duplicates that a split is left without an example
        assert len(set(values)) < len(values)
        return
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(len(x)))
    train, validation, test = (rows(x, ids) for ids in parts.values())
    assert not train & validation and not train & test and not validation & test


@given(st.permutations(range(30)))
def test_the_order_of_the_examples_does_not_matter(order: list[int]) -> None:
    x = torch.arange(30, dtype=torch.uint8)[:, None]
    there, here = split_by_content(x, tenths(30)), split_by_content(x[order], tenths(30))
    assert all(rows(x, there[name]) == rows(x[order], here[name]) for name in there)


def test_the_order_is_that_of_sha256() -> None:
    x = torch.arange(20, dtype=torch.uint8)[:, None]
    parts = split_by_content(x, {"a": 12, "b": 8})
    expected = sorted(range(20), key=lambda i: hashlib.sha256(bytes([i])).digest())
    assert parts["a"].tolist() == expected[:12] and parts["b"].tolist() == expected[12:]
    assert parts["a"].dtype == torch.int64


def test_a_cut_moves_past_duplicates() -> None:
    x = torch.tensor([0] * 6 + list(range(1, 15)), dtype=torch.uint8)[:, None]
    rank = sorted(range(15), key=lambda i: hashlib.sha256(bytes([i])).digest()).index(0)
    parts = split_by_content(x, {"a": rank + 2, "b": 18 - rank})  # the cut falls into the six zeros
    assert set(range(6)) <= set(parts["a"].tolist())
    assert len(parts["a"]) == rank + 6


def test_a_split_without_examples_is_an_error() -> None:
    with pytest.raises(
        DataError, match=r"^20 examples, of which 1 are different, leave nothing for validation and test:"
    ):
        split_by_content(torch.zeros(20, 3), tenths(20))
    with pytest.raises(DataError, match="give at least 10 different examples"):
        split_by_content(torch.arange(9)[:, None], tenths(9))


def test_sizes_must_add_up() -> None:
    with pytest.raises(ValueError, match="sizes add up to 3, and there are 4 examples"):
        split_by_content(torch.arange(4)[:, None], {"a": 1, "b": 2})


@given(st.integers(10, 10**7))
def test_tenths_add_up(total: int) -> None:
    sizes = tenths(total)
    assert sum(sizes.values()) == total
    assert sizes["validation"] == sizes["test"] == total // 10


def test_select_takes_labels_along() -> None:
    x, y = torch.arange(20)[:, None], torch.arange(20) * 2
    splits = select(x, y, split_by_content(x, tenths(20)))
    assert all(torch.equal(split.y, 2 * split.ids) for split in splits.values() if split.y is not None)
    assert select(x, None, {"a": torch.tensor([3])})["a"].y is None
