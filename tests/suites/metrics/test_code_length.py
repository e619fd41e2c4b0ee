"""Code lengths: the closed form, the sequential definition, and probabilities that add to one."""

import itertools
import math

import pytest
import torch

from torchstone.models.randomness import generator
from torchstone.suites.metrics.code_length import CODES, adaptive_length, file_length, kt_length


def every(levels, *shape):
    """All examples of a small space."""
    states = torch.tensor(list(itertools.product(range(levels), repeat=math.prod(shape))))
    return states.reshape(-1, *shape)


def one_by_one(symbols, contexts, levels):
    """The definition: counts that grow with every symbol."""
    counts, bits = {}, 0.0
    for symbol, context in zip(symbols.tolist(), contexts.tolist(), strict=True):
        own = counts.setdefault(context, [0] * levels)
        bits -= math.log2((own[symbol] + 0.5) / (sum(own) + levels / 2))
        own[symbol] += 1
    return bits


def test_without_contexts_it_is_the_closed_form():
    """``ln G(n + L/2) - ln G(L/2) - sum_s [ln G(n_s + 1/2) - ln G(1/2)]``."""
    x = torch.randint(0, 5, (20, 30), generator=generator(0, "x"))
    counts = torch.nn.functional.one_hot(x, 5).sum(1).double()
    nats = torch.lgamma(torch.tensor(32.5, dtype=torch.float64)) - math.lgamma(2.5)
    nats = nats - (torch.lgamma(counts + 0.5) - math.lgamma(0.5)).sum(1)
    assert torch.allclose(kt_length(x, torch.zeros_like(x), 5), nats / math.log(2), rtol=1e-9)


def test_with_contexts_it_is_the_sequential_definition():
    rng = generator(1, "x")
    x, contexts = (torch.randint(0, k, (12, 40), generator=rng) for k in (4, 3))
    found = kt_length(x, contexts, 4)
    assert found.tolist() == pytest.approx([one_by_one(*row, 4) for row in zip(x, contexts, strict=True)], rel=1e-9)


@pytest.mark.parametrize(("levels", "length"), [(2, 8), (3, 5)])
def test_the_probabilities_of_all_sequences_add_to_one(levels, length):
    x = every(levels, length)
    left = torch.nn.functional.pad(x[:, :-1], (1, 0), value=-1) + 1
    for contexts in (torch.zeros_like(x), left):
        assert float((-kt_length(x, contexts, levels) * math.log(2)).exp().sum()) == pytest.approx(1.0, rel=1e-9)


def test_the_shortest_of_three_codes_is_one_that_can_be_read_back():
    x = every(3, 2, 3)
    total = float(torch.exp2(-adaptive_length(x, 3)).sum())
    assert 1 / len(CODES) < total <= 1
    assert float(torch.exp2(-(adaptive_length(x, 3) - math.log2(3))).sum()) > 1  # what leaving the choice unpaid does


def test_what_is_simple_is_short():
    """A constant image, a ramp and noise, of 256 pixels with 8 levels."""
    constant, ramp = torch.full((1, 16, 16), 3), torch.arange(16).expand(1, 16, 16) % 8
    noise = torch.randint(0, 8, (1, 16, 16), generator=generator(0, "x"))
    short, middle, long = (float(adaptive_length(x, 8)) for x in (constant, ramp, noise))
    assert short < 30 and middle < 0.4 * 3 * 256 and long > 0.95 * 3 * 256


def test_another_order_of_the_examples_gives_the_same():
    x = torch.randint(0, 8, (9, 3, 4, 4), generator=generator(0, "x"))
    assert torch.equal(adaptive_length(x.flip(0), 8), adaptive_length(x, 8).flip(0))


def test_files_of_images_count_from_a_constant_one():
    constant = torch.full((1, 3, 32, 32), 77, dtype=torch.uint8)
    noise = torch.randint(0, 256, (2, 3, 32, 32), generator=generator(0, "x"))
    ramp = (8 * torch.arange(32)).expand(1, 3, 32, 32)
    assert float(file_length(constant)) <= 64  # a few bytes more than black
    assert bool((file_length(noise) >= 0.99 * 8 * 3072).all()) and float(file_length(ramp)) < 0.1 * 8 * 3072
    with pytest.raises(ValueError, match=r"images of shape \(N, 3, H, W\)"):
        file_length(torch.zeros(2, 8, 8))


def test_symbols_that_do_not_exist_and_shapes_that_differ_are_refused():
    x = torch.zeros(2, 3, dtype=torch.long)
    with pytest.raises(ValueError, match="from 0 to 1"):
        kt_length(x + 2, x, 2)
    with pytest.raises(ValueError, match=r"must both be \(N, D\)"):
        kt_length(x, x[:, :2], 2)
