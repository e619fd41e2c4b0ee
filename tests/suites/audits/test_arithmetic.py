"""What rounding makes shrinks in double precision, and what an adapter makes does not."""

import math

import pytest
import torch
from torch import nn

from torchstone.suites.audits.arithmetic import computing_in, difference, gap


class Stubborn(nn.Module):
    """Asks for single and half precision whatever it is given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((4,), 0.1))
        self.register_buffer("shift", torch.ones(4, dtype=torch.float16))
        self.table = {"held": [torch.ones(4)]}

    def forward(self, x):
        hidden = x.float() * self.weight + self.shift.to(torch.bfloat16).half() + torch.zeros(4, dtype=torch.float32)
        return (hidden + self.table["held"][0]).sum(1)


def test_everything_is_computed_as_asked_and_put_back():
    model = Stubborn()
    before = model(torch.ones(2, 4, dtype=torch.long))
    with computing_in(model, torch.float64) as arithmetic:
        answer = model(torch.ones(2, 4, dtype=torch.long))
        assert torch.ones(1).dtype == torch.float64
    assert answer.dtype == torch.float64 and arithmetic.pure
    assert model.weight.dtype == torch.float32 and model.shift.dtype == torch.float16
    assert model.table["held"][0].dtype == torch.float32 and torch.get_default_dtype() == torch.float32
    assert torch.equal(model(torch.ones(2, 4, dtype=torch.long)), before)


def test_it_is_put_back_after_an_error_too():
    model = Stubborn()
    with pytest.raises(ZeroDivisionError), computing_in(model, torch.float64):
        raise ZeroDivisionError
    assert model.weight.dtype == torch.float32 and torch.get_default_dtype() == torch.float32


def test_what_escapes_is_seen():
    constant = torch.ones(3)  # held by nobody
    with computing_in(None, torch.float64) as arithmetic:
        constant * 2
    assert not arithmetic.pure and arithmetic.used == {torch.float32}


def test_gaps_are_relative_and_equal_infinities_are_none():
    a = torch.tensor([1.0, -math.inf, math.nan, -math.inf, -math.inf, math.inf, 3.0])
    b = torch.tensor([1.5, -math.inf, math.nan, -800.0, -3.0, -math.inf, math.nan])
    assert gap(a, b).tolist() == [0.2, 0.0, 0.0, 0.0, math.inf, math.inf, math.inf]


def sums(weights, leak):
    """The difference of one sum in two orders, and a leak."""

    def gaps():
        values = weights[0]
        return gap(values.cumsum(0)[-1:] + leak, values.flip(0).cumsum(0)[-1:])

    return gaps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_rounding_is_told_from_a_leak_in_either_precision(dtype, scale):
    rng = torch.Generator().manual_seed(0)
    noise = scale * torch.randn(4000, generator=rng, dtype=torch.float64)
    weights = [torch.cat([noise, 1 - noise]).to(dtype)]  # cancels to 4000, at whatever scale
    assert not difference(weights, sums(weights, 0.0)).real
    found = difference(weights, sums(weights, 40.0))
    assert found.real and found.double == pytest.approx(40 / 4001, rel=1e-3)


def test_a_difference_that_cannot_be_had_in_double_precision_is_odd_at_most():
    def gaps():
        if torch.get_default_dtype() == torch.float64:
            raise TypeError
        return torch.tensor([0.5])

    found = difference(None, gaps)
    assert not found.real and found.odd and found.double is None and found.words == "0.5"
    assert not difference(None, lambda: torch.zeros(3)).odd
