"""Counted operations, beside those that shapes give; whichever kernel computes them."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from torchstone.suites.timing.arithmetic import flops_of

N, STEPS, WIDTH, HEADS, INNER = 2, 32, 64, 4, 128
PROJECTIONS = 2 * N * STEPS * 4 * WIDTH**2
ATTENTION = 2 * 2 * N * STEPS**2 * WIDTH


def counted(call):
    with torch.no_grad():
        return flops_of(call)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_counts_whole(causal):
    query = torch.randn(N, HEADS, STEPS, WIDTH // HEADS)
    call = lambda: functional.scaled_dot_product_attention(query, query, query, is_causal=causal)  # noqa: E731
    assert counted(call) == ATTENTION


def test_queries_and_keys_may_differ_in_number_and_values_in_width():
    query, key, value = torch.randn(1, 2, 5, 8), torch.randn(1, 2, 7, 8), torch.randn(1, 2, 7, 8)
    assert counted(lambda: functional.scaled_dot_product_attention(query, key, value)) == 2 * 2 * 5 * 7 * (8 + 8)


def test_layers_of_attention_count_where_they_are_evaluated():
    x = torch.randn(N, STEPS, WIDTH)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, INNER, batch_first=True).eval()
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).eval()
    before = torch.backends.mha.get_fastpath_enabled()
    assert counted(lambda: attention(x, x, x, need_weights=False)) == PROJECTIONS + ATTENTION
    assert counted(lambda: layer(x)) == PROJECTIONS + ATTENTION + 2 * N * STEPS * 2 * WIDTH * INNER
    assert torch.backends.mha.get_fastpath_enabled() == before


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrences_count(kind, gates):
    """Two layers, both ways: the second one reads both outputs of the first."""
    layer = kind(WIDTH, 48, num_layers=2, bidirectional=True, batch_first=True).eval()
    each = 2 * gates * (48 * WIDTH + 48 * 48) + 2 * gates * (48 * 96 + 48 * 48)
    assert counted(lambda: layer(torch.randn(N, STEPS, WIDTH))) == 2 * N * STEPS * each


def test_the_recurrence_of_a_gpu_counts_as_that_of_the_processor():
    """The kernel that LSTMs have there, asked for shapes alone."""

    def empty(*shape):
        return torch.empty(*shape, device="meta")

    weights = [empty(4 * 48, WIDTH), empty(4 * 48, 48), empty(4 * 48), empty(4 * 48)]
    hidden = empty(1, N, 48)
    call = partial(
        torch.ops.aten._cudnn_rnn, empty(STEPS, N, WIDTH), weights, 4, None, hidden, hidden, 2, 48, 0, 1, False, 0.0,
        False, False, [], None,
    )  # fmt: skip
    assert counted(call) == 2 * N * STEPS * 4 * (48 * WIDTH + 48 * 48)


def test_products_with_vectors_count():
    matrix, vector = torch.randn(8, 6), torch.randn(6)
    assert counted(lambda: matrix @ vector) == 2 * 8 * 6
    assert counted(lambda: torch.addmv(torch.randn(8), matrix, vector)) == 2 * 8 * 6
    assert counted(lambda: torch.dot(vector, vector)) == 2 * 6
    assert counted(lambda: torch.vdot(vector, vector)) == 2 * 6
    assert counted(lambda: torch.addbmm(torch.randn(8, 8), matrix[None], matrix.T[None])) == 2 * 8 * 8 * 6
    assert counted(lambda: functional.bilinear(torch.randn(5, 3), torch.randn(5, 4), torch.randn(7, 3, 4))) == (
        2 * 5 * 7 * 3 * 4
    )


def test_nothing_is_counted_of_what_is_said_to_be_uncounted():
    x = torch.randn(8, 8)
    for call in (lambda: torch.linalg.solve(x, x), lambda: torch.cdist(x, x), lambda: x.softmax(0), lambda: x.sum()):
        assert counted(call) == 0


def test_the_fast_path_is_set_back_where_a_call_fails():
    def fails():
        raise RuntimeError("no.")

    before = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(RuntimeError, match="no"):
        counted(fails)
    assert torch.backends.mha.get_fastpath_enabled() == before
