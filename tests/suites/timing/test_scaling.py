"""Laws of cost from models whose costs are known."""

import runpy
from pathlib import Path

import pytest
import torch
from torchstone_extension.clocks import TICK, Ticking

from torchstone.models import Discrete, Implicit, Space
from torchstone.models.exact.transformer import Transformer
from torchstone.suites.timing.scaling import costs

CPU = torch.device("cpu")


class Quadratic(Implicit):
    """A sample of D values takes ``D ** 2`` milliseconds, and a matrix product of ``2 D ** 3`` operations."""

    def __init__(self, space, clock):
        self.space, self.clock = space, clock

    def sample(self, n, y=None, *, rng):
        dims = self.space.dims
        self.clock.advance(1e-3 * dims**2 - TICK)
        torch.ones(dims, dims) @ torch.ones(dims, dims)
        return torch.zeros(n, *self.space.event_shape, dtype=torch.int64)


def test_known_laws_are_found():
    clock = Ticking()
    spaces = [Space((side, side), Discrete(2)) for side in (2, 4, 8)]
    found = costs(lambda space: Quadratic(space, clock), spaces, calls=3, device=CPU, clock=clock)
    assert found.sizes == (4, 16, 64) and found.flops == (2 * 4**3, 2 * 16**3, 2 * 64**3)
    assert found.time.exponent == pytest.approx(2.0, rel=1e-9)
    assert found.arithmetic.exponent == pytest.approx(3.0, rel=1e-9)
    assert found.time.at(3 * 1024**2) == pytest.approx(1e-3 * (3 * 1024**2) ** 2, rel=1e-6)


def test_one_slow_round_does_not_move_the_cost():
    clock, drawn = Ticking(), []

    class Slow(Quadratic):
        def sample(self, n, y=None, *, rng):
            drawn.append(self)
            clock.advance(5.0 if len(drawn) in (3, 4) else 0.0)  # the first round that counts, of two sizes
            return super().sample(n, y, rng=rng)

    spaces = [Space((side, side), Discrete(2)) for side in (2, 4)]
    found = costs(lambda space: Slow(space, clock), spaces, calls=3, device=CPU, clock=clock)
    assert found.seconds == (pytest.approx(1e-3 * 4**2), pytest.approx(1e-3 * 16**2))


def test_attention_is_in_the_arithmetic_of_the_transformer():
    """Two products of queries, keys and weights for each of two blocks, at each of D evaluations over D positions."""
    dims, width, depth, levels = 16, 64, 2, 17
    found = costs(Transformer, [Space((4, 4), Discrete(levels))], calls=1, device=CPU)
    layers = 2 * dims * (depth * 12 * width**2 + width * levels)
    attention = depth * 2 * 2 * dims**2 * width
    assert found.flops == (pytest.approx(dims * (layers + attention), rel=1e-9),)


def test_the_example_names_the_models_that_it_knows():
    example = Path(__file__).parents[3] / "examples" / "sampling_cost.py"
    with pytest.raises(SystemExit, match="No model 'flow' is compared here: choose from transformer, rnn, pixelcnn"):
        runpy.run_path(str(example))["main"]("2,3", "rnn,flow", "1")


def test_one_size_has_no_law():
    clock = Ticking()
    found = costs(lambda s: Quadratic(s, clock), [Space((2,), Discrete(2))], calls=1, device=CPU, clock=clock)
    assert found.time is None and found.arithmetic is None


def test_nothing_to_measure_is_refused():
    with pytest.raises(ValueError, match="a space at least"):
        costs(lambda space: Quadratic(space, Ticking()), [], calls=1, device=CPU)
