"""Pictures of densities of data and outliers."""

import math

import pytest
import torch

from torchstone.suites.pictures.outliers import Histogram, auroc_grid, complexity_scatter, log_prob_histograms

INSIDE = torch.linspace(-1.5, -1.0, 20)
SETS = [Histogram("noise", torch.linspace(-4.0, -3.0, 10), 1.0), Histogram("lost", torch.full((4,), -math.inf), 0.75)]


def titles(drawn):
    return [(axes.get_title(loc="left") or axes.get_title()) for axes in drawn.axes if axes.get_visible()]


def test_each_set_has_a_panel_with_the_data_and_the_band():
    drawn = log_prob_histograms.__wrapped__(INSIDE, SETS, (-1.25, 0.2))
    assert titles(drawn) == ["noise\nAUROC 1.000", "lost\nAUROC 0.750, 4 not finite"]
    first = drawn.axes[0]
    band = first.patches[0]
    assert band.get_x() == pytest.approx(-1.45) and band.get_width() == pytest.approx(0.4)
    data, outliers = (patch.get_data().values for patch in first.patches[1:])
    assert data.sum() == pytest.approx(1.0) and outliers.sum() == pytest.approx(1.0)
    assert drawn.get_supxlabel() == "log-density, nats per dimension"


def test_the_line_of_equal_bits_is_drawn_through_density_against_code_length():
    pairs = {"noise": (torch.tensor([3.0, 5.0]), torch.tensor([-3.0, -4.0]))}
    drawn = complexity_scatter.__wrapped__((torch.linspace(1.0, 2.0, 20), INSIDE), pairs)
    line = drawn.axes[0].lines[-1].get_xydata()
    assert line.flatten().tolist() == pytest.approx([1.0, -math.log(2), 5.0, -5 * math.log(2)])


def test_every_area_is_written():
    drawn = auroc_grid.__wrapped__(torch.tensor([[0.07, 1.0]]), ["constant"], ["neg_log_prob", "typicality"])
    assert [text.get_text() for text in drawn.axes[0].texts] == ["0.070", "1.000"]
    assert [label.get_text() for label in drawn.axes[0].get_xticklabels()] == ["neg\nlog\nprob", "typicality"]


def test_they_are_png():
    for picture in (
        log_prob_histograms(INSIDE, SETS, None),
        log_prob_histograms(torch.tensor([math.nan]), SETS[1:], None),
        complexity_scatter((INSIDE, INSIDE), {"same": (INSIDE, INSIDE)}),
        auroc_grid(torch.tensor([[0.5]]), ["a"], ["b"]),
    ):
        assert picture.startswith(b"\x89PNG")


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="no set of outliers"):
        log_prob_histograms(INSIDE, [], None)
    with pytest.raises(ValueError, match="for 2 sets and 1 scores"):
        auroc_grid(torch.tensor([[0.5]]), ["a", "b"], ["c"])
