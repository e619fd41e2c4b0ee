"""The G-test, against textbook values and simulation."""

import math

import pytest
import torch

from torchstone.suites.metrics.goodness import g_statistic, pooled, visible_divergence


def test_the_statistic_is_twice_the_divergence_times_the_draws():
    counts, q = torch.tensor([30, 10, 0]), torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    known = 2 * (30 * math.log(30 / 20) + 10 * math.log(10 / 10))
    assert float(g_statistic(counts, q)) == pytest.approx(known, rel=1e-12)
    assert float(g_statistic(torch.tensor([1, 0]), torch.tensor([0.0, 1.0]))) == math.inf
    assert g_statistic(torch.ones(5, 3), torch.full((3,), 1 / 3)).shape == (5,)


def test_four_thousand_draws_see_a_temperature_of_four_fifths():
    """With 15 degrees of freedom, level 0.001 and 99 % power: a divergence of 0.006952958333 nats from n = 3967."""
    divergence = 0.006952958333
    assert visible_divergence(16, 3967) <= divergence < visible_divergence(16, 3966)


def test_pooled_cells_keep_mass_and_counts_and_apart_what_is_impossible():
    rng = torch.Generator().manual_seed(0)
    q = torch.rand(5000, generator=rng, dtype=torch.double).square()
    q[:100] = 0
    q /= q.sum()
    counts = torch.bincount(torch.multinomial(q, 20_000, replacement=True, generator=rng), minlength=5000)
    counts[3] = 1
    cells, mass = pooled(counts, q, 64)
    assert len(cells) == 65 and int(cells.sum()) == int(counts.sum())
    assert float(mass.sum()) == pytest.approx(1.0, rel=1e-12)
    assert mass[-1] == 0 and cells[-1] == 1
    assert bool((mass[:-1] < 2 / 64).all())
    assert pooled(counts[:10], q[:10], 64)[0].tolist() == counts[:10].tolist()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one number for each cell"):
        g_statistic(torch.ones(3), torch.ones(2))
