"""Pictures of audits: what they say in words and shapes, the floor or null drawn, and what they refuse."""

import math

import pytest
import torch

from torchstone.suites.pictures.audits import causality_matrix, entropy_floors, mass_meter, pit


def words(figure) -> str:
    """All text of a figure: titles, labels, ticks, legends and notes."""
    from matplotlib.text import Text

    figure.canvas.draw()
    return " | ".join(text.get_text() for text in figure.findobj(Text) if text.get_text())


def lines(axes, marker: str) -> list[tuple[float, float]]:
    """The points that are drawn with ``marker``."""
    found = [line for line in axes.get_lines() if line.get_marker() == marker]
    return [point for line in found for point in zip(*line.get_data(), strict=True)]


# Entropy floors

FLOORS = [math.log2(2 * a + 1) for a in (1, 2, 4)]


def test_a_model_above_its_floors_is_drawn_above_them():
    figure = entropy_floors.__wrapped__([1, 2, 4], [2.31, 2.69, 3.43], FLOORS)
    (axes,) = figure.axes
    assert lines(axes, "o") == [(0, 2.31), (1, 2.69), (2, 3.43)] and not lines(axes, "X")
    text = words(figure)
    for each in ("2.31", "±4\n9 values", "floor: entropy of the jitter", "impossible on average", "bits/dim"):
        assert each in text
    (floor,) = [line for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert list(floor.get_ydata())[1:-1] == FLOORS
    assert len(axes.collections) == 1 and axes.collections[0].get_hatch()


def test_what_lies_below_a_floor_has_another_shape_and_a_name():
    figure = entropy_floors.__wrapped__([1, 2, 4], [0.3, 2.69, 3.0], FLOORS)
    (axes,) = figure.axes
    assert lines(axes, "X") == [(0, 0.3), (2, 3.0)] and lines(axes, "o") == [(1, 2.69)]
    assert "the model, below the floor" in words(figure)


@pytest.mark.parametrize(("value", "sign"), [(math.inf, "∞"), (math.nan, "nan"), (-math.inf, "-inf")])
def test_a_density_that_is_not_finite_is_shown_as_such(value, sign):
    figure = entropy_floors.__wrapped__([1, 2], [value, 3.0], FLOORS[:2])
    assert lines(figure.axes[0], "^")[0][0] == 0 and sign in words(figure) and "not finite" in words(figure)


def test_negative_bits_are_in_sight():
    (axes,) = entropy_floors.__wrapped__([1], [-2.0], FLOORS[:1]).axes
    assert axes.get_ylim()[0] < -2.0


def test_floors_need_as_many_of_each():
    with pytest.raises(ValueError, match="2 amplitudes, 1 bits and 1 floors"):
        entropy_floors([1, 2], [1.0], [1.0])
    with pytest.raises(ValueError, match="0 amplitudes"):
        entropy_floors([], [], [])


# Mass meter


def bars(figure) -> dict[str, tuple[float, str | None]]:
    (axes,) = figure.axes
    (container,) = [None] if not axes.containers else [axes.containers]
    widths = [bar.patches[0] for bar in container]
    return {
        label.get_text(): (bar.get_width(), bar.get_hatch())
        for label, bar in zip(axes.get_yticklabels(), widths, strict=True)
    }


def test_masses_are_bars_to_one():
    figure = mass_meter.__wrapped__({"tiny": 0.9999998, "label 1": 1.1885, "rounding": 1.000004})
    found = bars(figure)
    assert found["tiny"] == (0.9999998, None) and found["rounding"] == (1.000004, None)
    assert found["label 1"] == (1.1885, "xx")
    text = words(figure)
    assert "0.9999998" in text and "1.1885" in text and "beyond 1 is impossible" in text
    (axes,) = figure.axes
    assert [line.get_xdata()[0] for line in axes.get_lines()] == [1.0]


@pytest.mark.parametrize("mass", [15.842338, math.inf, math.nan])
def test_a_mass_far_off_ends_in_an_arrow(mass):
    figure = mass_meter.__wrapped__({"tiny": 0.5, "odd": mass})
    assert bars(figure)["odd"] == (4.0, "xx")
    assert f"{mass:.7g} →" in words(figure)


def test_a_meter_without_masses():
    with pytest.raises(ValueError, match="no masses"):
        mass_meter({})


# Causality


def causal(size: int = 6) -> torch.Tensor:
    return torch.rand(size, size, generator=torch.Generator().manual_seed(0)).add(0.1).tril(-1)


def test_a_causal_model_has_no_crosses():
    figure = causality_matrix.__wrapped__(causal(), torch.arange(6).flip(0))
    axes = figure.axes[0]
    assert not lines(axes, "X")
    text = words(figure)
    assert "0 leaks" in text and "0 blind spots in 15 tried pairs" in text and "largest change" in text
    assert [label.get_text() for label in axes.get_xticklabels()] == ["5", "4", "3", "2", "1", "0"]


def test_a_leak_of_any_size_has_a_cross_at_its_place():
    leaking = causal()
    leaking[2, 4] = 1e-12
    leaking[3, 3] = 2.0
    figure = causality_matrix.__wrapped__(leaking, torch.arange(6))
    assert sorted(lines(figure.axes[0], "X")) == [(3, 3), (4, 2)]  # input, conditional
    assert "2 leaks" in words(figure)


def test_blind_spots_are_black_and_what_was_not_tried_is_neither():
    import numpy as np

    matrix = causal()
    matrix[4, 1] = 0.0
    matrix[5] = math.nan
    figure = causality_matrix.__wrapped__(matrix, torch.arange(6))
    assert "1 blind spots in 10 tried pairs" in words(figure)
    (image,) = figure.axes[0].images
    colours = image.to_rgba(image.get_array())
    assert np.all(colours[4, 1] == [0, 0, 0, 1]) and np.all(colours[0, 3] == [0, 0, 0, 1])
    assert np.all(colours[5, :, 3] == 0) and colours[3, 1][:3].sum() > 0


def test_a_model_of_independent_values_has_no_scale():
    figure = causality_matrix.__wrapped__(torch.zeros(3, 3), torch.arange(3))
    assert len(figure.axes) == 1 and "3 blind spots in 3" in words(figure)


def test_a_matrix_that_does_not_fit_its_order():
    with pytest.raises(ValueError, match=r"shape \(2, 3\) for an order of 2"):
        causality_matrix(torch.zeros(2, 3), torch.arange(2))
    with pytest.raises(ValueError, match="order of 0"):
        causality_matrix(torch.zeros(0, 0), torch.arange(0))


# PIT


def test_uniform_values_stay_in_the_band_and_others_leave_it():
    for power, inside in ((1.0, True), (2.0, False)):
        values = torch.rand(1000, generator=torch.Generator().manual_seed(1)) ** power
        left, right = pit.__wrapped__(values).axes
        (null, curve) = right.get_lines()
        band = math.sqrt(math.log(2000) / 2000)
        assert bool(abs(curve.get_ydata()).max() < band) is inside
        assert set(null.get_ydata()) == {0.0} and len(left.get_lines()) == 2
        low, high = (f(y for _, y in right.collections[0].get_paths()[0].vertices) for f in (min, max))
        assert math.isclose(high, band) and math.isclose(low, -band)


def test_pit_says_what_it_shows():
    text = words(pit.__wrapped__(torch.rand(40, generator=torch.Generator().manual_seed(0))))
    for each in ("uniform quantile", "quantile of the samples", "difference from uniform", "99.9 % band", "40 values"):
        assert each in text
    with pytest.raises(ValueError, match="no values"):
        pit(torch.zeros(0))
