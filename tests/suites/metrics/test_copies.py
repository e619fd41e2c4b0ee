"""Copies are counted exactly, and near ones told by tests that hold their level."""

import math

import pytest
import torch

from torchstone.suites.metrics.copies import closeness, near_copies, pairs_of_twins, row_hashes, support_size, twins


def draws(n, seed):
    return torch.rand(n, generator=torch.Generator().manual_seed(seed)).double()


def test_equal_rows_have_equal_hashes_and_others_have_others():
    x = torch.randint(17, (3000, 8, 8), generator=torch.Generator().manual_seed(0))
    hashes = row_hashes(x)
    assert len(hashes.unique()) == 3000
    changed = x.clone()
    changed[:, 3, 4] = (changed[:, 3, 4] + 1) % 17
    assert not torch.isin(row_hashes(changed), hashes).any()
    assert torch.equal(row_hashes(x.to(torch.uint8)), hashes)
    assert torch.equal(row_hashes(torch.tensor([[0.0]])), row_hashes(torch.tensor([[-0.0]])))


def test_twins_and_their_pairs_are_counted():
    hashes = torch.tensor([1, 1, 1, 2, 2, 3])
    assert twins(hashes) == 5 and pairs_of_twins(hashes) == 4


def test_a_memoriser_of_fifty_thousand_is_told_by_forty_pairs():
    """Of 2,000 draws; 40 pairs are expected, and within four of their standard deviations found."""
    drawn = torch.randint(50_000, (2000,), generator=torch.Generator().manual_seed(0))
    assert abs(pairs_of_twins(drawn) - 2000 * 1999 / 2 / 50_000) < 4 * math.sqrt(40)
    assert support_size(2000, 40) == pytest.approx(49_975) and support_size(10, 0) == math.inf


def test_samples_of_the_law_of_the_data_are_nearer_half_of_the_time():
    """Of 200 pairs at most 5 have p <= 0.005 (probability 0.001 of more), and the error is the spread."""
    found = [closeness(draws(300, 2 * s), draws(200, 2 * s + 1)) for s in range(200)]
    values = torch.tensor([each.value for each in found])
    assert abs(float(values.mean()) - 0.5) < 4 * found[0].stderr / math.sqrt(200)
    assert float(values.std()) == pytest.approx(found[0].stderr, rel=0.15)
    assert sum(each.p_value <= 0.005 for each in found) <= 5
    assert closeness(0.5 * draws(300, 0), draws(200, 1)).p_value < 1e-6
    assert closeness(torch.zeros(5), torch.zeros(7)).value == 0.5


def test_one_copy_in_a_hundred_is_found_and_none_is_not():
    samples, examples = draws(10_000, 0), draws(10_000, 1)
    copied = samples.clone()
    copied[:100] = 0.0
    assert near_copies(copied, examples, 0.001).p_value < 1e-5
    rates = [near_copies(draws(2000, 2 * s), draws(300, 2 * s + 1), 0.05).p_value <= 0.05 for s in range(200)]
    assert sum(rates) <= 20  # 10 expected at most; of more a probability of 0.002


def test_a_quantile_of_the_examples_alone_would_raise_false_alarms():
    """At the 0.1 % quantile of 300 distances, with 10,000 samples of the very same law."""
    alarms = 0
    for s in range(50):
        samples, examples = draws(10_000, 2 * s), draws(300, 2 * s + 1)
        limit, n = float(examples.quantile(0.001)), 10_000
        z = (float((samples <= limit).sum()) - n * 0.001) / math.sqrt(n * 0.001)
        alarms += z > 3.3
        assert near_copies(samples, examples, 0.001).p_value > 1e-4
    assert alarms > 15
