"""Calibration: closed forms, other libraries where definitions agree, and the error that chance alone makes."""

import math

import pytest
import sklearn.metrics
import torch

from torchstone.suites.metrics.bootstrap import bootstrap_stderr
from torchstone.suites.metrics.calibration import (
    brier,
    calibration_null,
    expected_calibration_error,
    reliability,
)

F64 = torch.float64


def drawn(n: int = 300, classes: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities, and labels drawn from them."""
    rng = torch.Generator().manual_seed(seed)
    p = (2 * torch.randn(n, classes, generator=rng, dtype=F64)).softmax(1)
    return p, torch.multinomial(p, 1, generator=rng)[:, 0]


def test_the_brier_score_by_hand():
    p = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]], dtype=F64)
    assert brier(p, torch.tensor([0, 1, 2])).tolist() == pytest.approx([0.0, 2.0, 2 / 3], rel=1e-9)


def test_the_brier_score_of_two_classes_is_twice_scikit_learns():
    p, y = drawn(classes=2)
    assert float(brier(p, y).mean()) == pytest.approx(2 * sklearn.metrics.brier_score_loss(y, p[:, 1]), rel=1e-9)


def test_labels_from_the_probabilities_give_the_expected_brier_score():
    """E = 1 - sum_c p_c^2 for each example; four standard errors."""
    p, y = drawn(20_000)
    off = brier(p, y) - (1 - p.square().sum(1))
    assert abs(float(off.mean())) < 4 * float(off.std()) / math.sqrt(len(off))


def test_the_error_by_hand():
    """Two bins of two: confidences 0.6 and 0.8 with accuracy 0.5, then 0.9 and 1 with accuracy 1."""
    confidence, credits = torch.tensor([0.9, 0.6, 1.0, 0.8], dtype=F64), torch.tensor([1.0, 0.0, 1.0, 1.0])
    found = reliability(confidence, credits, bins=2)
    assert found.count.tolist() == [2, 2]
    assert found.confidence.tolist() == pytest.approx([0.7, 0.95]) and found.accuracy.tolist() == [0.5, 1.0]
    assert found.error == pytest.approx(0.5 * 0.2 + 0.5 * 0.05, rel=1e-9)
    assert expected_calibration_error(confidence, credits, bins=2) == found.error


def test_one_bin_for_each_example_is_the_mean_distance():
    p, y = drawn(40)
    confidence, best = p.max(1)
    credits = (best == y).double()
    assert expected_calibration_error(confidence, credits, 100) == pytest.approx(
        float((credits - confidence).abs().mean()), rel=1e-9
    )


def test_bins_of_equal_width_are_another_number():
    """50 of confidence 0.99, of which 45 are right, and 50 of 0.95, all right: equal width puts them in one bin."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    sure = torch.cat([torch.full((50,), 0.99, dtype=F64), torch.full((50,), 0.95, dtype=F64)])
    credits = torch.cat([torch.ones(45), torch.zeros(5), torch.ones(50)]).double()
    p = torch.stack([sure, 1 - sure], 1)
    wide = float(multiclass_calibration_error(p, (1 - credits).long(), num_classes=2, n_bins=10, norm="l1"))
    assert wide == pytest.approx(0.97 - 0.95, abs=1e-6)
    assert expected_calibration_error(sure, credits, 2) == pytest.approx((0.09 + 0.05) / 2, rel=1e-9)


def test_where_the_two_kinds_of_bins_hold_the_same_examples_torchmetrics_agrees():
    from torchmetrics.functional.classification import multiclass_calibration_error

    sure = torch.tensor([0.55, 0.6, 0.75, 0.85], dtype=F64)
    credits = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=F64)
    p = torch.stack([sure, 1 - sure], 1)
    wide = float(multiclass_calibration_error(p, (1 - credits).long(), num_classes=2, n_bins=3, norm="l1"))
    # thirds of [0, 1]: 0.55 and 0.6 lie in the second, 0.75 and 0.85 in the third
    assert expected_calibration_error(sure, credits, 2) == pytest.approx(wide, rel=1e-6)


def test_equal_confidences_do_not_depend_on_the_order_of_the_examples():
    credits = torch.tensor([1.0] * 5 + [0.0] * 5)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    same = torch.full((10,), 0.5, dtype=F64)
    assert expected_calibration_error(same, credits, 5) == pytest.approx(0.0, abs=1e-12)
    assert expected_calibration_error(same, credits[order], 5) == pytest.approx(0.0, abs=1e-12)


def test_the_null_is_the_error_of_labels_drawn_from_the_probabilities():
    """The mean of 400 sets of labels, within four standard errors of both; and 2.5 % lie above the upper point."""
    p, _ = drawn(200)
    confidence, best = p.max(1)
    rng = torch.Generator().manual_seed(5)
    y = torch.multinomial(p, 400, replacement=True, generator=rng)
    errors = torch.tensor([expected_calibration_error(confidence, (y[:, k] == best).double()) for k in range(400)])
    mean, high = calibration_null(confidence, torch.Generator().manual_seed(6), draws=4000)
    assert abs(float(errors.mean()) - mean) < 4 * float(errors.std()) * math.sqrt(1 / 400 + 1 / 4000)
    assert 0.025 - 4 * 0.0082 < float((errors > high).double().mean()) < 0.025 + 4 * 0.0082


def test_the_null_of_certainty_is_zero_and_that_of_300_honest_examples_is_not():
    assert calibration_null(torch.ones(50), torch.Generator().manual_seed(0)) == (0.0, 0.0)
    mean, high = calibration_null(drawn(300, 10)[0].amax(1), torch.Generator().manual_seed(0))
    assert 0.05 < mean < high < 0.15


def test_the_null_shares_what_equal_confidences_share():
    """One confidence for all: every bin has the accuracy of the whole, whose mean distance is that of a binomial."""
    mean, _ = calibration_null(torch.full((400,), 0.5, dtype=F64), torch.Generator().manual_seed(0), draws=4000)
    assert mean == pytest.approx(math.sqrt(0.25 / 400 * 2 / math.pi), rel=0.05)


@pytest.mark.parametrize(
    ("confidence", "credits", "bins"),
    [(torch.ones(0), torch.ones(0), 5), (torch.ones(3), torch.ones(2), 5), (torch.ones(3), torch.ones(3), 0)],
)
def test_what_makes_no_bins_is_refused(confidence, credits, bins):
    with pytest.raises(ValueError, match="one credit per example"):
        reliability(confidence, credits, bins)


def test_what_is_no_probability_is_refused():
    with pytest.raises(ValueError, match="from 0 to 1"):
        reliability(torch.tensor([1.5]), torch.ones(1))
    with pytest.raises(ValueError, match="from 0 to 1"):
        reliability(torch.tensor([math.nan]), torch.ones(1))
    with pytest.raises(ValueError, match="Labels are 0 to 1"):
        brier(torch.full((1, 2), 0.5), torch.tensor([2]))
    with pytest.raises(ValueError, match="at least one example"):
        brier(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))


def test_the_bootstrap_error_of_a_mean_is_the_known_one():
    """The spread of 2,000 resampled means, of which it is known to 1.6 %."""
    values = torch.randn(200, generator=torch.Generator().manual_seed(0), dtype=F64)
    found = bootstrap_stderr(lambda rows: float(values[rows].mean()), 200, torch.Generator().manual_seed(1), 2000)
    assert found == pytest.approx(float(values.std(correction=0)) / math.sqrt(200), rel=4 * 0.016)
    assert bootstrap_stderr(lambda rows: 1.0, 1, torch.Generator()) is None
    with pytest.raises(ValueError, match="at least one example"):
        bootstrap_stderr(lambda rows: 1.0, 0, torch.Generator())
