"""Pictures of labels: what stands in them, and what is refused."""

import pytest
import torch
from matplotlib.text import Text

from torchstone.suites.metrics.calibration import reliability
from torchstone.suites.metrics.classification import accuracy_coverage
from torchstone.suites.pictures.conditional import (
    accuracy_against_coverage,
    class_samples,
    confusion_matrix,
    reliability_diagram,
)


def words(figure) -> str:
    figure.canvas.draw()
    return " | ".join(text.get_text() for text in figure.findobj(Text) if text.get_text())


def test_the_reliability_diagram_shows_every_bin_and_the_error():
    bins = reliability(torch.linspace(0.5, 1, 40), (torch.arange(40) % 2).double(), 4)
    figure = reliability_diagram.__wrapped__(bins)
    assert f"4 bins of 10 to 10 examples; error {bins.error:.3f}" in words(figure)
    (points,) = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert points.get_xdata().tolist() == pytest.approx(bins.confidence.tolist())
    assert points.get_ydata().tolist() == pytest.approx(bins.accuracy.tolist())


def test_a_curve_ends_at_the_accuracy_and_names_its_mean():
    credits = torch.tensor([1.0, 1.0, 0.0, 0.0])
    curve = accuracy_coverage(credits, torch.arange(4.0).flip(0))
    figure = accuracy_against_coverage.__wrapped__({"the least likely": curve})
    text = words(figure)
    assert "the least likely refused first: mean 0.792" in text and "at random: 0.500" in text
    assert figure.axes[0].lines[0].get_xdata().tolist() == [0.25, 0.5, 0.75, 1.0]
    with pytest.raises(ValueError, match="no curves"):
        accuracy_against_coverage({})


def test_counts_stand_in_a_small_confusion_matrix_and_not_in_a_large_one():
    text = words(confusion_matrix.__wrapped__(torch.tensor([[7, 1], [0, 5]])))
    assert "12 of 13 on the diagonal" in text and text.startswith("7 | 1 | 5 |")
    assert "100 of 100 on the diagonal" in words(confusion_matrix.__wrapped__(torch.eye(100).long()))
    with pytest.raises(ValueError, match=r"\(C, C\)"):
        confusion_matrix(torch.zeros(2, 3))


@pytest.mark.parametrize("event", [(8, 8), (3, 8, 8), (5,)])
def test_samples_have_a_row_for_each_class(event):
    figure = class_samples.__wrapped__(torch.rand(3, 10, *event))
    assert all(f"class {row}" in words(figure) for row in range(3)) and "class 3" not in words(figure)
    with pytest.raises(ValueError, match="not empty"):
        class_samples(torch.zeros(0, 10, *event))


def test_pictures_are_png_files():
    assert confusion_matrix(torch.eye(2).long()).startswith(b"\x89PNG")
