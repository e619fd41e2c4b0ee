"""The heat-map of bits: sums and means where they should be, and nothing lost in silence."""

import math

import numpy as np
import pytest
import torch
from matplotlib.text import Text

from torchstone.suites.pictures.bits import SHOWN, bits_per_position


def words(figure) -> str:
    figure.canvas.draw()
    return " | ".join(text.get_text() for text in figure.findobj(Text) if text.get_text())


def draws(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_mean_and_a_few_examples():
    x, bits = torch.randint(17, (30, 8, 8)), draws(30, 8, 8)
    figure = bits_per_position.__wrapped__(x, bits)
    left, right, *_ = figure.axes
    text = words(figure)
    assert f"{float(bits.mean()):.3f} bits/dim" in text and "bits per pixel\nmean of 30" in text
    assert np.asarray(left.images[0].get_array()).shape == (8, 8, 3)
    assert [label.get_text() for label in right.get_yticklabels()] == ["data", "bits"]
    assert np.asarray(right.images[0].get_array()).shape[1] == SHOWN * 9 - 1
    assert "red" not in text


def test_channels_of_a_pixel_are_added():
    figure = bits_per_position.__wrapped__(torch.randint(256, (6, 3, 4, 4)), torch.full((6, 3, 4, 4), 2.0))
    assert "bits per pixel (3 channels added)" in words(figure) and "2.000 bits/dim" in words(figure)
    assert figure.axes[2].get_xlim() == (0.0, 6.0)  # the scale of the mean


def test_a_position_that_is_brighter_costs_more():
    bits = torch.zeros(10, 4, 4)
    bits[:, 1, 2], bits[:, 3, 3] = 4.0, 2.0
    heat = np.asarray(bits_per_position.__wrapped__(torch.zeros(10, 4, 4), bits).axes[0].images[0].get_array()).sum(-1)
    assert heat[1, 2] > heat[3, 3] > heat[0, 0]


def test_events_that_are_no_images_are_rows():
    figure = bits_per_position.__wrapped__(torch.randint(3, (6, 16)), draws(6, 16))
    assert np.asarray(figure.axes[0].images[0].get_array()).shape == (1, 16, 3)


@pytest.mark.parametrize("lost", [math.inf, math.nan])
def test_what_is_not_finite_is_red_and_counted(lost):
    bits = draws(6, 4, 4)
    bits[0, 1, 2] = lost
    figure = bits_per_position.__wrapped__(torch.zeros(6, 4, 4), bits)
    assert "red: not finite, 1 of 96 in all" in words(figure)
    heat = np.asarray(figure.axes[0].images[0].get_array())
    assert heat[1, 2] == pytest.approx([0xC4 / 255, 0x4E / 255, 0], abs=1e-6)


def test_shapes_that_differ():
    with pytest.raises(ValueError, match=r"x has shape \(2, 4\) and bits \(3, 4\)"):
        bits_per_position(torch.zeros(2, 4), torch.zeros(3, 4))
    with pytest.raises(ValueError, match="not empty"):
        bits_per_position(torch.zeros(0, 4), torch.zeros(0, 4))
