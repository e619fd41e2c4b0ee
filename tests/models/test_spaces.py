from __future__ import annotations

import pytest
import torch

from torchstone.models import Continuous, Discrete, ModelError, Space
from torchstone.models.spaces import continuous_support, labels, levels_of, narrowed, raster, relax

CPU = torch.device("cpu")


def test_raster_orders():
    assert raster((4,)).tolist() == [0, 1, 2, 3]
    assert raster((2, 2)).tolist() == [0, 1, 2, 3]
    assert raster((3, 1, 2)).tolist() == [0, 2, 4, 1, 3, 5]


def test_labels_index_a_single_class_where_there_are_none():
    plain, classed = Space((2,), Discrete(3)), Space((2,), Discrete(3), classes=4)
    assert labels(plain, torch.tensor([3, 3]), 2, CPU).tolist() == [0, 0]
    assert labels(classed, torch.tensor([3, 1]), 2, CPU).tolist() == [3, 1]
    with pytest.raises(ModelError, match="give it the label"):
        labels(classed, None, 2, CPU)
    with pytest.raises(ModelError, match=r"of shape \(2,\), not \(3,\)"):
        labels(classed, torch.zeros(3, dtype=torch.long), 2, CPU)


def test_narrowed_keeps_classes_only_where_conditional():
    space = Space((2,), Discrete(3), classes=4)
    assert narrowed(space, Continuous(), True) == Space((2,), Continuous(), 4)
    assert narrowed(space, Continuous(), False) == Space((2,), Continuous(), None)
    with pytest.raises(ModelError, match="set conditional=false"):
        narrowed(Space((2,), Discrete(3)), Discrete(3), True)


def test_supports():
    assert levels_of(Space((2,), Discrete(3)), "it") == 3
    with pytest.raises(ModelError, match="it applies to discrete data"):
        levels_of(Space((2,), Continuous()), "it")
    assert continuous_support(Space((2,), Discrete(3))) == (Continuous(0.0, 1.0), 3)
    assert continuous_support(Space((2,), Continuous(-1.0, 2.0))) == (Continuous(-1.0, 2.0), None)


def test_relax_dequantises_discrete_data_alone():
    x = torch.tensor([[0, 1, 2]])
    u = relax(x, Continuous(), 3, torch.float32)
    assert u.dtype == torch.float32 and torch.equal(Continuous().quantise(u, 3), x)
    assert torch.equal(relax(u, Continuous(), None, torch.float32), u)
