"""Pictures of latent-variable models: arrows point to the truth, unused latents are grey, grids are in order."""

import math

import numpy as np
import pytest
import torch
from matplotlib.text import Annotation, Text

from torchstone.suites.pictures.bounds import (
    Point,
    Rung,
    bound_ladder,
    latent_kl,
    rate_distortion,
    reconstructions,
    traversals,
)

LADDER = [Rung("ELBO", -97.3, 0.6, "lower"), Rung("IWAE, K = 10", -95.5, None, "lower"), Rung("top", -90, 0.1, "upper")]
SIMULATED = [Rung("AIS", -88.2, 0.7, "simulated lower"), Rung("BDMC", -87.9, 0.7, "simulated upper")]


def words(figure) -> str:
    figure.canvas.draw()
    return " | ".join(text.get_text() for text in figure.findobj(Text) if text.get_text())


def arrows(axes) -> list[float]:
    """Which way the arrows point, by their rungs from above."""
    axes.figure.canvas.draw()
    found = [each for each in axes.texts if isinstance(each, Annotation) and each.arrow_patch is not None]
    return [
        float(np.sign(each.arrow_patch.get_window_extent().x1 - axes.transData.transform(each.xyann)[0] - 5))
        for each in sorted(found, key=lambda each: each.xyann[1])
    ]


# The ladder


def test_arrows_point_to_where_the_truth_lies():
    figure = bound_ladder.__wrapped__(LADDER)
    (axes,) = figure.axes
    assert arrows(axes) == [1.0, 1.0, -1.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ELBO", "IWAE, K = 10", "top"]
    text = words(figure)
    for each in ("≥ -97.30 ± 0.6", "≥ -95.50", "≤ -90.00 ± 0.1", "nats/example", "on the test data"):
        assert each in text
    assert "simulated" not in text


def test_simulated_data_have_an_axis_of_their_own_of_the_same_scale():
    figure = bound_ladder.__wrapped__(LADDER + SIMULATED)
    ours, theirs = figure.axes
    assert math.isclose(np.ptp(ours.get_xlim()), np.ptp(theirs.get_xlim()))
    assert "on data simulated by the model" in words(figure)
    assert arrows(theirs) == [1.0, -1.0]


def test_an_exact_value_has_no_arrow_and_an_infinite_one_no_place():
    figure = bound_ladder.__wrapped__([Rung("exact", -90.0, 0.1, "exact"), Rung("ELBO", -math.inf, math.nan, "lower")])
    (axes,) = figure.axes
    assert arrows(axes) == []
    assert "= -90.00 ± 0.1" in words(figure) and "≥ -inf" in words(figure)


def test_one_rung_is_a_ladder_and_none_is_not():
    assert bound_ladder([Rung("ELBO", -97.3, None, "lower")])[:4] == b"\x89PNG"
    assert bound_ladder([Rung("ELBO", -math.inf, None, "lower")])[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="no rungs"):
        bound_ladder([])


# Rate and distortion


def test_lines_of_equal_elbo_have_slope_minus_one():
    points = [Point("β = 1", 18.0, 73.0), Point("β = 4", 6.0, 93.0)]
    figure = rate_distortion.__wrapped__(points)
    (axes,) = figure.axes
    figure.canvas.draw()
    diagonals = [line for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert len(diagonals) >= 3 and all(line.get_slope() == -1 for line in diagonals)
    text = words(figure)
    for each in ("β = 1", "β = 4", "rate: nats/example", "distortion: nats/example", "the largest, -91"):
        assert each in text
    (star,) = [line for line in axes.get_lines() if line.get_marker() == "*"]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (18.0, 73.0)


@pytest.mark.parametrize("point", [Point("one", 18.0, 79.0), Point("collapsed", 0.0, 97.0), Point("odd", 0.0, 0.0)])
def test_a_single_point_has_room_about_it(point):
    (axes,) = rate_distortion.__wrapped__([point]).axes
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left <= point.rate < right and bottom <= point.distortion < top
    with pytest.raises(ValueError, match="no points"):
        rate_distortion([])


# Latents


def test_latents_are_sorted_and_unused_ones_are_crosses():
    kl, variances = torch.tensor([0.004, 2.0, 0.5, 0.0]), torch.tensor([0.9, 1e-5, 0.5, 0.0])
    figure = latent_kl.__wrapped__(kl, variances)
    above, below = figure.axes
    assert [bar.get_height() for bar in above.patches] == [2.0, 0.5]
    assert [label.get_text() for label in above.get_xticklabels()] == ["1", "2", "0", "3"]
    (unused,) = [line for line in above.get_lines() if line.get_marker() == "X"]
    assert list(unused.get_xdata()) == [2, 3]
    (active,) = [line for line in below.get_lines() if line.get_marker() == "o"]
    assert list(active.get_ydata()) == pytest.approx([0.9, 0.5])
    text = words(figure)
    for each in ("2.504 nats/example", "used: 2", "unused, at most 0.01 nats: 2", "active: 2", "inactive: 2"):
        assert each in text
    assert "threshold 0.01" in text and below.get_yscale() == "log"


@pytest.mark.parametrize("latents", [1, 64, 300])
def test_collapsed_posteriors_and_many_latents_can_be_drawn(latents):
    assert latent_kl(torch.zeros(latents), torch.zeros(latents))[:4] == b"\x89PNG"
    ticks = latent_kl.__wrapped__(torch.rand(latents), torch.rand(latents)).axes[0].get_xticks()
    assert len(ticks) <= 20


def test_latents_of_two_sizes():
    with pytest.raises(ValueError, match=r"kl has shape \(2,\) and variances \(3,\)"):
        latent_kl(torch.zeros(2), torch.zeros(3))


# Grids of images


def sheet(figure) -> np.ndarray:
    (image,) = figure.axes[0].images
    return np.asarray(image.get_array())


def test_traversals_are_ordered_by_kl_and_unused_ones_grey():
    images = torch.arange(3.0)[:, None, None, None].expand(3, 5, 8, 8)
    figure = traversals.__wrapped__(images, torch.tensor([0.2, 3.0, 0.0]), dimensions=[7, 8, 9])
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["z8: 3.00 nats", "z7: 0.20 nats", "z9: 0 nats"]
    colours = [label.get_color() for label in axes.get_yticklabels()]
    assert colours[0] == colours[1] != colours[2]
    assert sheet(figure)[[0, 9, 18], 0, 0].tolist() == [0.5, 0.0, 1.0]  # eight rows and a white line each
    assert "from low to high" in words(figure)


def test_of_many_latents_those_that_carry_least_are_left_out():
    figure = traversals.__wrapped__(torch.rand(20, 3, 4, 4), torch.arange(20.0))
    assert len(figure.axes[0].get_yticks()) == 16 and "the 4 that carry least are left out" in words(figure)
    with pytest.raises(ValueError, match=r"kl \(2,\)"):
        traversals(torch.rand(3, 5, 8, 8), torch.zeros(2))


@pytest.mark.parametrize("event", [(8, 8), (1, 8, 8), (3, 8, 8), (16,)])
def test_reconstructions_stand_below_their_data_and_samples_below_those(event):
    x = torch.rand(4, *event)
    figure = reconstructions.__wrapped__(x, x * 0.5, torch.zeros(2, 4, *event))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["data", "reconstruction", "sample 1", "sample 2"]
    alone = reconstructions.__wrapped__(x, x * 0.5, torch.zeros(4, *event))
    assert [label.get_text() for label in alone.axes[0].get_yticklabels()] == names[:3]


def test_all_rows_share_the_scale_of_the_data():
    x = torch.tensor([0.0, 16.0]).reshape(1, 1, 2)
    figure = reconstructions.__wrapped__(x, x / 2, x * 4)
    assert sheet(figure)[[0, 2, 4], 1, 0].tolist() == [1.0, 0.5, 1.0]


def test_reconstructions_of_other_examples():
    with pytest.raises(ValueError, match=r"reconstructed \(3, 8, 8\)"):
        reconstructions(torch.rand(4, 8, 8), torch.rand(3, 8, 8), torch.rand(4, 8, 8))
