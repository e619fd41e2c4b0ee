"""What the tests of the data room share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from torchstone.suites.data import Dataset


def _rows(x: Tensor) -> set[bytes]:
    return {row.numpy().tobytes() for row in x}


@pytest.fixture
def check_dataset() -> Callable[[Dataset, bool], None]:
    """Checks what every dataset promises; ``content`` says that no example may be in two splits."""

    def check(data: Dataset, content: bool = True) -> None:
        assert list(data.splits) == ["train", "validation", "test"]
        ids: set[int] = set()
        for split in data.splits.values():
            assert len(split) > 0
            assert tuple(split.x.shape[1:]) == data.space.event_shape
            assert split.ids.dtype == torch.int64 and split.ids.shape == (len(split),)
            assert len(set(split.ids.tolist())) == len(split)
            assert not ids & set(split.ids.tolist())
            ids |= set(split.ids.tolist())
            assert (split.y is None) == (data.space.classes is None)
            if split.y is not None:
                assert (
                    split.y.dtype == torch.int64 and 0 <= int(split.y.min()) <= int(split.y.max()) < data.space.classes
                )
        if content:
            train, validation, test = (_rows(split.x) for split in data.splits.values())
            assert not train & validation and not train & test and not validation & test
        assert data.licence

    return check
