"""What is held out has its share of every class, and leaves one of each."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchstone.models.randomness import generator
from torchstone.suites.metrics.selection import held_out_tenth, stratified_folds

labels = st.lists(st.integers(0, 4), min_size=12, max_size=120).map(torch.tensor)


@given(labels, st.integers(2, 6), st.integers(0, 9))
@settings(deadline=None, max_examples=50)
def test_every_fold_has_its_share_of_each_class(y, folds, seed):
    fold = stratified_folds(y, folds, generator(seed, "folds"))
    for label in y.unique():
        counts = torch.bincount(fold[y == label], minlength=folds)
        assert int(counts.max()) - int(counts.min()) <= 1
    sizes = torch.bincount(fold, minlength=folds)
    assert int(sizes.max()) - int(sizes.min()) <= 1 and len(sizes) == folds


@given(labels, st.integers(0, 9))
@settings(deadline=None, max_examples=50)
def test_a_tenth_is_held_out_and_leaves_an_example_of_every_class(y, seed):
    held = held_out_tenth(y, generator(seed, "held"))
    assert set(y[~held].tolist()) == set(y.tolist())
    for label in y.unique():
        share = int(held[y == label].sum())
        assert abs(share - int((y == label).sum()) / 10) < 1 or share == 0


def test_what_is_held_out_depends_on_the_generator_alone_and_on_every_draw_of_it():
    y = torch.arange(100) % 3
    first, again, other = (held_out_tenth(y, generator(seed, "held")) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize(("n", "folds"), [(3, 4), (5, 1), (0, 2)])
def test_folds_that_cannot_be_had_are_refused(n, folds):
    with pytest.raises(ValueError, match="two folds"):
        stratified_folds(torch.zeros(n).long(), folds, generator(0, "folds"))
