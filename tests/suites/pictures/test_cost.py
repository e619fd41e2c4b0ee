"""The picture of cost against size."""

import pytest

from torchstone.suites.metrics.power_law import power_law
from torchstone.suites.pictures.cost import Curve, cost

SIZES, SECONDS = (1, 4, 16), (0.011, 0.014, 0.026)
CURVE = Curve("sample", SIZES, SECONDS, tuple((0.9 * s, 1.2 * s) for s in SECONDS), power_law(SIZES, SECONDS), best=16)


def test_seconds_and_seconds_for_each_are_drawn_with_the_law_and_the_best():
    drawn = cost.__wrapped__([CURVE], "examples in a call")
    whole, each = drawn.axes
    assert whole.get_xscale() == whole.get_yscale() == "log" and whole.get_xlabel() == "examples in a call"
    points = [line.get_xydata().tolist() for line in whole.lines]
    assert [list(pair) for pair in zip(SIZES, SECONDS, strict=True)] in points
    assert [[16, SECONDS[2]]] in points  # the best, ringed
    assert [[16, SECONDS[2] / 16]] in [line.get_xydata().tolist() for line in each.lines]
    assert "exponent 0.31" in drawn.legends[0].get_texts()[0].get_text()


def test_one_panel_where_a_cost_for_each_says_nothing():
    assert len(cost.__wrapped__([CURVE], "values in a sample", shared=True).axes) == 1


def test_it_is_a_png():
    assert cost([CURVE], "examples in a call").startswith(b"\x89PNG")


@pytest.mark.parametrize("curves", [[], [Curve("none", (), (), ())]])
def test_nothing_to_draw_is_refused(curves):
    with pytest.raises(ValueError, match="no curves"):
        cost(curves, "examples")
