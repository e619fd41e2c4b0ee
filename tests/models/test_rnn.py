from __future__ import annotations

import pytest
import torch

from torchstone.models import Continuous, Discrete, ModelError, Space
from torchstone.models.exact.rnn import RNN

SPACE = Space((3, 2, 2), Discrete(4), classes=2)
SMALL = {"width": 8, "batch": 8}


def build(space: Space = SPACE, conditional: bool = False) -> RNN:
    return RNN(space, conditional=conditional, **SMALL)


def test_sums_to_one(check_sums_to_one):
    check_sums_to_one(RNN.tiny().double())


@pytest.mark.parametrize("shape", [(5,), (3, 3), (3, 2, 2)])
def test_causal(check_causal, shape):
    check_causal(build(Space(shape, Discrete(4))).double())


def test_causal_with_labels(check_causal):
    check_causal(build(conditional=True).double(), torch.tensor([1]))


def test_sampler(check_sampler):
    check_sampler(RNN.tiny())


def test_gradients(check_gradients):
    model = build(conditional=True)
    x = torch.arange(24).view(2, 3, 2, 2) % 4
    check_gradients(model, -model.log_prob(x, torch.tensor([0, 1])).sum())


def test_fit_is_deterministic_and_kept(check_fit, make_split):
    train = make_split(SPACE, 50)
    x, y = train.batch(0, 5)
    check_fit(lambda: build(conditional=True), lambda model: model.log_prob(x, y), train)


def test_conditional(check_conditional):
    x = torch.zeros((1, 3, 2, 2), dtype=torch.long)
    check_conditional(build, lambda model, y: model.log_prob(x, y), SPACE)


def test_labels_matter():
    model, x = build(conditional=True), torch.zeros((2, 3, 2, 2), dtype=torch.long)
    first, second = model.log_prob(x, torch.tensor([0, 1]))
    assert first != second


def test_samples_take_labels():
    x = build(conditional=True).sample(3, torch.tensor([0, 1, 1]), rng=torch.Generator().manual_seed(0))
    assert x.shape == (3, 3, 2, 2) and x.dtype == torch.int64 and x.min() >= 0 and x.max() < 4


def test_colours_come_pixel_by_pixel():
    """Of a 3×2×2 image, the flat position of channel c, row h, column w is 4 c + 2 h + w."""
    assert build().order.tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


def test_refuses_continuous_data():
    with pytest.raises(ModelError, match="rnn applies to discrete data"):
        build(Space((2, 2), Continuous()))
