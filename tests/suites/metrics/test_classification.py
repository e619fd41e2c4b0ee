"""Right answers, their interval, and what refusing does: closed forms, ties, and orders that must not matter."""

import math

import pytest
import torch
from scipy import stats

from torchstone.suites.metrics.classification import (
    accuracy_at,
    accuracy_coverage,
    area_under,
    credit,
    label_entropy,
    tie_averaged,
    wilson,
)

F64 = torch.float64


def test_an_answer_is_worth_one_where_the_most_probable_label_is_right():
    log_prob = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.4, 0.4, 0.2]], dtype=F64).log()
    assert credit(log_prob, torch.tensor([1, 2, 0])).tolist() == [1.0, 0.0, 0.5]


def test_guessing_is_worth_one_over_the_number_of_labels_whatever_their_order():
    y = torch.arange(12) % 4
    assert float(credit(torch.zeros(12, 4), y).mean()) == 0.25
    assert float(credit(torch.zeros(12, 4), y.flip(0) * 0).mean()) == 0.25, "argmax would have it all right"


def test_where_no_label_is_possible_the_answer_is_wrong():
    log_prob = torch.tensor([[-math.inf, -math.inf], [-math.inf, 0.0]])
    assert credit(log_prob, torch.tensor([0, 1])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("log_prob", "y", "words"),
    [
        (torch.zeros(2, 3), torch.tensor([0, 3]), "Labels are 0 to 2, got 0 to 3"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), "got -1 to 0"),
        (torch.zeros(2, 3), torch.tensor([0]), "shapes"),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), "at least one example"),
        (torch.tensor([[math.nan, 0.0]]), torch.tensor([0]), "NaN"),
    ],
)
def test_labels_that_do_not_exist_and_nan_are_refused(log_prob, y, words):
    with pytest.raises(ValueError, match=words):
        credit(log_prob, y)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (10, 10), (288, 297)])
def test_the_interval_is_scipys_wilson_interval(right, n):
    known = stats.binomtest(right, n).proportion_ci(0.95, "wilson")
    assert wilson(right / n, n) == pytest.approx((known.low, known.high), rel=1e-9, abs=1e-12)


def test_the_interval_of_certainty_has_a_width_and_the_normal_one_has_none():
    low, high = wilson(1.0, 100)
    assert high == 1.0 and low == pytest.approx(100 / (100 + 1.959963984540054**2), rel=1e-12)


@pytest.mark.parametrize(("share", "n"), [(0.5, 0), (1.1, 5), (-0.1, 5), (math.nan, 5)])
def test_what_is_no_share_is_refused(share, n):
    with pytest.raises(ValueError, match="share"):
        wilson(share, n)


def test_the_entropy_of_labels():
    assert label_entropy(torch.arange(10)) == pytest.approx(math.log(10), rel=1e-12)
    y = torch.tensor([0] * 5 + [1] * 3)
    assert label_entropy(y) == pytest.approx(-(0.625 * math.log(0.625) + 0.375 * math.log(0.375)), rel=1e-12)
    assert label_entropy(torch.tensor([2, 2])) == 0.0
    with pytest.raises(ValueError, match="at least one label"):
        label_entropy(torch.zeros(0, dtype=torch.long))


def test_the_curve_by_hand():
    """Scores 4, 3, 2, 1 with answers right, right, wrong, wrong."""
    curve = accuracy_coverage(torch.tensor([0.0, 1.0, 1.0, 0.0]), torch.tensor([1.0, 4.0, 3.0, 2.0]))
    assert curve.tolist() == pytest.approx([1.0, 1.0, 2 / 3, 0.5], rel=1e-12)
    assert area_under(curve) == pytest.approx((1 + 1 + 2 / 3 + 0.5) / 4, rel=1e-12)
    assert accuracy_at(curve, 0.5) == (1.0, 2) and accuracy_at(curve, 0.51) == (pytest.approx(2 / 3), 3)
    assert accuracy_at(curve, 1.0)[0] == 0.5, "where nothing is refused it is the accuracy"
    assert accuracy_at(curve, 0.01) == (1.0, 1)


def test_a_score_that_tells_nothing_gives_the_accuracy_at_every_coverage():
    curve = accuracy_coverage(torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0]), torch.zeros(5))
    assert curve.tolist() == pytest.approx([0.6] * 5, rel=1e-12)


def test_examples_of_one_score_count_by_their_mean_over_all_orders():
    """The mean curve over random orders of the ties, within four standard errors."""
    rng = torch.Generator().manual_seed(0)
    credits, scores = torch.tensor([1.0, 0, 0, 1, 1, 0]), torch.tensor([2.0, 2, 2, 1, 1, 0])
    shuffled = []
    for _ in range(4000):
        order = torch.randperm(6, generator=rng)
        first = order[scores[order].argsort(descending=True, stable=True)]
        shuffled.append(credits[first].cumsum(0) / torch.arange(1, 7))
    drawn, curve = torch.stack(shuffled).double(), accuracy_coverage(credits, scores)
    assert ((drawn.mean(0) - curve).abs() <= 4 * drawn.std(0) / math.sqrt(4000) + 1e-6).all()


def test_the_order_of_the_examples_does_not_matter():
    rng = torch.Generator().manual_seed(1)
    credits, scores = torch.randint(2, (50,), generator=rng).double(), torch.randint(6, (50,), generator=rng).double()
    order = torch.randperm(50, generator=rng)
    assert torch.allclose(accuracy_coverage(credits, scores), accuracy_coverage(credits[order], scores[order]))


def test_the_best_score_refuses_wrong_answers_first_and_its_reverse_is_the_worst():
    credits = torch.tensor([1.0] * 6 + [0.0] * 4)
    best, worst = (area_under(accuracy_coverage(credits, sign * credits)) for sign in (1, -1))
    harmonic = sum(6 / k for k in range(7, 11))
    assert best == pytest.approx((6 + harmonic) / 10, rel=1e-12) and worst < 0.6 < best


def test_impossible_examples_are_refused_first_and_nan_is_an_error():
    curve = accuracy_coverage(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([-math.inf, -5.0, -math.inf]))
    assert curve.tolist() == pytest.approx([1.0, 0.5, 1 / 3])
    with pytest.raises(ValueError, match=r"give it -inf"):
        accuracy_coverage(torch.ones(2), torch.tensor([0.0, math.nan]))
    with pytest.raises(ValueError, match="one score per example"):
        accuracy_coverage(torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        accuracy_at(torch.ones(3), 0.0)


def test_means_over_ties():
    assert tie_averaged(torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0.5, 0.5, 0.7])).tolist() == [0.5, 0.5, 1.0]
