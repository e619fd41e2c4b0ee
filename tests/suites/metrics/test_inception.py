"""The inception score is that of its closed form, and its error that of its spread."""

import math

import pytest
import torch

from torchstone.suites.metrics.inception import inception_score


def score(probabilities):
    return inception_score(torch.tensor(probabilities, dtype=torch.float64).clamp_min(1e-300).log())


def test_sure_and_various_is_best_and_constant_is_worst():
    assert score(torch.eye(10).tolist()).value == pytest.approx(10, rel=1e-9)
    assert score([[0.1] * 10] * 4).value == pytest.approx(1, rel=1e-9)
    assert score([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]]).value == pytest.approx(1.232308250378, rel=1e-9)


def test_it_does_not_depend_on_what_is_added_to_all_logits():
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    assert inception_score(logits).value == pytest.approx(inception_score(logits + 3.0).value, rel=1e-6)


def test_from_ten_thousand_on_it_is_the_mean_over_ten_splits():
    logits = torch.randn(10_000, 5, generator=torch.Generator().manual_seed(0)).double()
    parts = torch.tensor([inception_score(part).value for part in logits.chunk(10)])
    found = inception_score(logits)
    assert found.splits == 10 and found.value == pytest.approx(float(parts.mean()), rel=1e-6)
    assert found.stderr == pytest.approx(float(parts.std()) / math.sqrt(10), rel=1e-4)


def test_its_error_is_its_spread_over_sets():
    """Of 200 sets of 500: the mean error within 15 % of the spread."""
    found = [inception_score(2 * torch.randn(500, 5, generator=torch.Generator().manual_seed(s))) for s in range(200)]
    spread = float(torch.tensor([each.value for each in found]).std())
    assert sum(each.stderr for each in found) / 200 == pytest.approx(spread, rel=0.15)


def test_a_single_sample_has_a_score_and_no_error_and_none_has_neither():
    assert inception_score(torch.zeros(1, 3)) == (1.0, None, 1)
    with pytest.raises(ValueError, match="at least one"):
        inception_score(torch.zeros(0, 3))
