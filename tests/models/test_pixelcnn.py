from __future__ import annotations

import pytest
import torch

from torchstone.models import Continuous, Discrete, ModelError, Space
from torchstone.models.exact.pixelcnn import MaskedRow, PixelCNN

SPACE = Space((3, 2, 2), Discrete(4), classes=2)
SMALL = {"width": 4, "depth": 3, "batch": 8}


def build(space: Space = SPACE, conditional: bool = False) -> PixelCNN:
    return PixelCNN(space, conditional=conditional, **SMALL)


def test_sums_to_one(check_sums_to_one):
    check_sums_to_one(PixelCNN.tiny().double())


@pytest.mark.parametrize("shape", [(4, 4), (1, 3, 3), (3, 2, 2)])
def test_causal(check_causal, shape):
    check_causal(build(Space(shape, Discrete(4))).double())


def test_causal_with_labels(check_causal):
    check_causal(build(conditional=True).double(), torch.tensor([1]))


def test_sampler(check_sampler):
    check_sampler(PixelCNN.tiny())


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
    with pytest.raises(ModelError, match="pixelcnn applies to discrete data"):
        build(Space((2, 2), Continuous()))


def test_refuses_sequences():
    with pytest.raises(ModelError, match="pixelcnn applies to images"):
        build(Space((5,), Discrete(2)))


def test_the_field_has_no_blind_spot(check_causal):
    """Every pixel of a 6×6 image hears of every one before it, those above on its right included."""
    check_causal(PixelCNN(Space((6, 6), Discrete(3)), width=4, depth=6).double())


@pytest.mark.parametrize("name", ["left", "last", "layers.0.horizontal", "layers.0.mix"])
def test_every_mask_matters(check_causal, name):
    """A hole in any one of the masks is found."""
    model = build().double()
    layer = model.get_submodule(name)
    assert isinstance(layer, MaskedRow)
    assert (layer.mask == 0).any()
    layer.mask.fill_(1)
    with pytest.raises(AssertionError, match="reaches itself or one before it"):
        check_causal(model)


def test_a_mask_that_hides_too_much_is_found(check_causal):
    model = build().double()
    model.left.mask[..., -1] = 0
    with pytest.raises(AssertionError, match="every later position"):
        check_causal(model)
