"""Sets of outliers: what each of them is, that it is encoded as the data are, and that the run has no say in it."""

import math

import pytest
import torch
from torchstone_extension.data import dataset

from torchstone.models import Continuous, Discrete
from torchstone.models.randomness import generator
from torchstone.suites.data.embedded import digits, patches
from torchstone.suites.data.synthetic import ising
from torchstone.suites.outlying.sets import SETS, Unfit, outlier_set


def images(*shape, n=11, levels=7):
    x = torch.randint(0, levels, (n, *shape), generator=generator(0, "images")).to(torch.uint8)
    return dataset(x, levels)


def made(name, data):
    return outlier_set(name, data, "test").x


@pytest.fixture(scope="module")
def real():
    return {"digits": digits(), "patches": patches()}


@pytest.mark.parametrize("of", ["digits", "patches"])
@pytest.mark.parametrize("name", list(SETS))
def test_every_set_is_encoded_as_the_data_are(name, of, real):
    """As many, in the same space, of the same type: no set can be told by how it is stored."""
    test = real[of].split("test")
    x, support = made(name, real[of]), real[of].space.support
    assert x.shape == test.x.shape and x.dtype == test.x.dtype
    assert isinstance(support, Discrete) and 0 <= int(x.min()) and int(x.max()) < support.levels
    assert not torch.equal(x, test.x)


def test_constant_images_take_every_level_equally_often():
    x = made("constant", images(3, 4, n=22))
    assert bool((x.flatten(1) == x[:, :1, :1].flatten(1)).all())
    assert torch.bincount(x[:, 0, 0].long(), minlength=7).tolist() == [4, 3, 3, 3, 3, 3, 3]
    assert made("constant", images(3, 4, n=1)).unique().tolist() == [0]


def test_shuffled_pixels_keep_their_channels_together():
    data = images(3, 4, 4)
    x, before = made("shuffled_pixels", data), data.split("test").x
    for mine, theirs in zip(x.flatten(2), before.flatten(2), strict=True):
        assert sorted(map(tuple, mine.T.tolist())) == sorted(map(tuple, theirs.T.tolist()))
    orders = made("shuffled_pixels", dataset(torch.arange(16).expand(9, 16).contiguous(), 16))
    assert len({tuple(row) for row in orders.tolist()}) == 9


def test_inverted_and_rotated_come_back():
    data = images(4, 4)
    x = data.split("test").x
    assert torch.equal(6 - made("inverted", data), x)
    assert torch.equal(made("rotated", data).rot90(-1, (-2, -1)), x)
    assert made("rotated", dataset(torch.tensor([[[0, 1], [2, 3]]]), 4)).tolist() == [[[1, 3], [0, 2]]]


def test_midpoints_are_of_two_different_examples():
    x = torch.arange(0, 40, 4).view(10, 1).expand(10, 3).contiguous()
    between = made("interpolated", dataset(x, 37))
    others = 2 * between - x
    assert sorted(others[:, 0].tolist()) == x[:, 0].tolist() and bool((others != x).all())


def test_shifts_go_in_four_directions_and_repeat_the_edge():
    x = torch.arange(9).view(1, 3, 3).expand(4, 3, 3).contiguous()
    up, down, left, right = made("shifted", dataset(x, 9)).tolist()
    assert up == [[3, 4, 5], [6, 7, 8], [6, 7, 8]] and down == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]
    assert left == [[1, 2, 2], [4, 5, 5], [7, 8, 8]] and right == [[0, 0, 1], [3, 3, 4], [6, 6, 7]]


def test_images_of_another_dataset_are_cut_to_the_same_levels(real):
    grey = made("other_images", real["digits"])
    assert int(grey.min()) == 0 and int(grey.max()) == 16
    coloured = made("other_images", real["patches"])
    assert torch.equal(coloured[:, 0], coloured[:, 2]) and 15 < len(coloured.unique()) <= 17


def test_spins_are_dark_or_bright(real):
    assert made("spins", real["digits"]).unique().tolist() == [0, 16]
    with pytest.raises(Unfit, match="these data are spins themselves"):
        made("spins", ising(side=4))


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("rotated", (16,), r"it needs images, and an example has the shape \(16,\)"),
        ("rotated", (4, 6), "a quarter turn needs square images, and these are 4×6"),
        ("shifted", (16,), "it needs images"),
        ("spins", (16, 16), "at most 12 a side"),
        ("other_images", (4, 4), "of 8×8"),
        ("shuffled_pixels", (1,), "an example of one value has no order"),
    ],
)
def test_sets_that_make_no_sense_say_why(name, shape, reason):
    with pytest.raises(Unfit, match=reason):
        made(name, images(*shape))


def test_one_example_has_no_midpoint():
    with pytest.raises(Unfit, match="a midpoint needs two examples"):
        made("interpolated", images(4, 4, n=1))


def test_continuous_outliers_stay_within_the_range_of_the_training_data():
    x = torch.randn(50, 2, generator=generator(0, "x"), dtype=torch.float64)
    data = dataset(x, None, support=Continuous(-math.inf, math.inf))
    for name in ("constant", "noise", "inverted", "interpolated", "shuffled_pixels"):
        found = made(name, data)
        assert found.dtype == x.dtype and float(found.min()) >= float(x.min()) and float(found.max()) <= float(x.max())
    assert float(made("inverted", data).sum()) == pytest.approx(float((x.min() + x.max() - x).sum()))


def test_a_set_has_one_fingerprint_that_tells_it_from_others():
    data = images(4, 4)
    prints = [outlier_set(name, data, "test").fingerprint for name in ("noise", "noise", "constant")]
    assert prints[0] == prints[1] != prints[2] and len(prints[0]) == 12
