from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits, load_sample_images

from torchstone.models.model import Discrete, Space
from torchstone.suites.data.embedded import digits, patches


def test_digits_are_the_digits(check_dataset) -> None:
    data = digits()
    check_dataset(data)
    assert data.space == Space((8, 8), Discrete(17), 10)
    assert [len(split) for split in data.splits.values()] == [1300, 200, 297]
    stored = load_digits()
    for split in data.splits.values():
        assert split.x.dtype == torch.uint8
        assert np.array_equal(split.x.numpy(), stored.images[split.ids])
        assert np.array_equal(split.y, stored.target[split.ids])
        assert len(split.y.unique()) == 10


def test_digits_do_not_change() -> None:
    assert digits().fingerprint == "4f724962ba41fa80e4a1d97e4427d480f4990d8cc809f46294b80babdb04ae8a"


def test_patches_lie_where_their_ids_say(check_dataset) -> None:
    data = patches()
    check_dataset(data)
    assert data.space == Space((3, 8, 8), Discrete(256))
    assert [len(split) for split in data.splits.values()] == [5088, 848, 1272]
    images = load_sample_images().images
    for split in data.splits.values():
        assert split.x.dtype == torch.uint8
        for patch, i in zip(split.x[::97], split.ids[::97].tolist(), strict=True):
            image, row, column = i // (53 * 80), i // 80 % 53, i % 80
            cell = images[image][8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            assert np.array_equal(patch.permute(1, 2, 0), cell)


def test_patches_of_different_splits_do_not_touch() -> None:
    columns = {name: {i % 80 for i in split.ids.tolist()} for name, split in patches().splits.items()}
    for name, own in columns.items():
        others = set().union(*(other for key, other in columns.items() if key != name))
        assert not others & {column + shift for column in own for shift in (-1, 0, 1)}
