"""A small network reads out what a linear classifier cannot."""

import pytest
import torch

from torchstone.models.randomness import generator
from torchstone.suites.metrics.classification import credit
from torchstone.suites.metrics.logistic import fit_logistic
from torchstone.suites.metrics.mlp import mlp_probe


def corners(n, seed):
    """Exclusive or: no line tells the classes apart."""
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x, (x.prod(1) > 0).long()


def test_it_learns_what_no_linear_classifier_does():
    (train, y), (test, test_y) = corners(800, 0), corners(400, 1)
    assert float(credit(mlp_probe(train, y, test, 2, generator(0, "mlp")), test_y).mean()) > 0.95
    linear = fit_logistic(train, y, torch.tensor([1.0], dtype=torch.float64), 2)
    assert float(credit(linear.log_prob(test)[0], test_y).mean()) < 0.65


def test_it_gives_probabilities_that_depend_on_the_generator_alone():
    (train, y), (test, _) = corners(100, 0), corners(20, 1)
    before = torch.get_rng_state()
    first, again, other = (mlp_probe(train, y, test, 3, generator(seed, "mlp")) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before) and first.shape == (20, 3)
    torch.testing.assert_close(first.logsumexp(1), torch.zeros(20, dtype=torch.float64))


def test_what_is_held_against_it_chooses_nothing():
    """Other test examples leave the answers to these as they are."""
    (train, y), (test, _) = corners(100, 0), corners(20, 1)
    whole = mlp_probe(train, y, test, 2, generator(0, "mlp"))
    torch.testing.assert_close(mlp_probe(train, y, test[:3], 2, generator(0, "mlp")), whole[:3], atol=1e-6, rtol=1e-6)


def test_shapes_that_do_not_agree_are_refused():
    with pytest.raises(ValueError, match="Expected features"):
        mlp_probe(torch.zeros(20, 2), torch.zeros(19).long(), torch.zeros(3, 2), 2, generator(0, "mlp"))
