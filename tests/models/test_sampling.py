from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.distributions import Categorical

from torchstone.models.randomness import generator
from torchstone.models.sampling import ancestral, choose


def test_choose_follows_the_logits():
    """Three standard errors at 40,000 draws; a level of probability zero never comes."""
    p = torch.tensor([0.0, 0.5, 0.2, 0.3])
    index = choose(p.log().expand(40000, 4), generator(0, "choose"))
    frequency = torch.bincount(index, minlength=4) / 40000
    assert (frequency - p).abs().max() < 3 * 0.5 / 200
    assert frequency[0] == 0


def test_choose_is_deterministic_for_a_seed():
    logits = torch.zeros(5, 3, 7)
    first, second = (choose(logits, generator(1, "choose")) for _ in range(2))
    assert torch.equal(first, second) and first.shape == (5, 3)


def test_ancestral_follows_the_order():
    """Each position is one more than the one drawn before it, whatever the flat layout."""
    order = torch.tensor([2, 0, 3, 1])

    def conditionals(x: Tensor, y: Tensor | None) -> Categorical:
        logits = torch.full((*x.shape, 4), -torch.inf)
        flat, ahead = x.flatten(1), logits.view(len(x), 4, 4)
        ahead[:, order[0], 0] = 0
        for before, after in itertools.pairwise(order):
            ahead[torch.arange(len(x)), after, (flat[:, before] + 1) % 4] = 0
        return Categorical(logits=logits)

    x = ancestral(conditionals, order, (2, 2), 3, None, rng=generator(0, "sample"))
    assert x.dtype == torch.int64
    assert x.tolist() == [[[1, 3], [0, 2]]] * 3
