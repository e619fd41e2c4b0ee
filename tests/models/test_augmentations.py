from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchstone.models import Continuous, Discrete, Space
from torchstone.models.encoders.augmentations import colour_view, grey_view, vector_view, view
from torchstone.models.encoders.backbone import Backbone
from torchstone.models.randomness import generator

SPACES = {
    "digits": Space((8, 8), Discrete(17)),
    "grey 28x28": Space((28, 28), Discrete(256)),
    "one channel": Space((1, 8, 8), Continuous(0.0, 1.0)),
    "colour": Space((3, 32, 32), Discrete(256)),
    "patches": Space((3, 8, 8), Discrete(256)),
    "four channels": Space((4, 9, 16), Continuous(0.0, 1.0)),
    "unbounded image": Space((3, 8, 8), Continuous(-math.inf, math.inf)),
    "vectors": Space((5,), Continuous(-math.inf, math.inf)),
    "sequences": Space((12,), Discrete(4)),
}


def examples(space: Space, n: int = 64) -> torch.Tensor:
    """Numbers as the backbone gives them, some at the limits of their range."""
    rng = generator(0, "examples")
    if isinstance(space.support, Discrete):
        x = torch.randint(space.support.levels, (n, *space.event_shape), generator=rng)
    else:
        x = torch.rand((n, *space.event_shape), generator=rng)
    return Backbone(space, width=4, features=4).numbers(x)


def limits(space: Space) -> tuple[float, float]:
    return (-1.0, 1.0) if isinstance(space.support, Discrete) else (space.support.low, space.support.high)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_views_keep_shape_type_and_range(space, strength):
    x = examples(space)
    for numbers in (x, x.double()):
        seen = view(numbers, space, strength, generator(0, "view"))
        low, high = limits(space)
        assert seen.shape == x.shape and seen.dtype == numbers.dtype and seen.isfinite().all()
        assert seen.min() >= low - 1e-6 and seen.max() <= high + 1e-6


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_views_follow_their_generator_and_nothing_else(space):
    x = examples(space)
    kept, state = x.clone(), torch.get_rng_state()
    rng = generator(0, "view")
    first, second = view(x, space, 1.0, rng), view(x, space, 1.0, rng)
    assert torch.equal(first, view(x, space, 1.0, generator(0, "view")))
    assert (first - second).flatten(1).abs().sum(1).gt(0).all()
    assert torch.equal(x, kept) and torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_at_strength_zero_a_view_is_its_example(space):
    x = examples(space).double()
    assert view(x, space, 0.0, generator(0, "view")).allclose(x, atol=1e-9)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_equal_examples_of_a_batch_get_views_of_their_own(space):
    x = examples(space, 1).expand(20, *examples(space, 1).shape[1:])
    seen = view(x, space, 1.0, generator(0, "view")).flatten(1)
    assert torch.cdist(seen, seen).add(torch.eye(20)).min() > 0


def half(height: int, width: int, channels: int) -> torch.Tensor:
    """White on its left side, black on its right, 200 times."""
    x = torch.full((200, channels, height, width), -1.0)
    x[..., : width // 2] = 1.0
    return x


def leaning(x: torch.Tensor) -> torch.Tensor:
    """By how much the left side is lighter than the right."""
    width = x.shape[-1] // 2
    return x[..., :width].flatten(1).mean(1) - x[..., width:].flatten(1).mean(1)


def test_digits_are_never_mirrored():
    assert (leaning(grey_view(half(8, 8, 1), -1, 1, 1.0, generator(0, "view"))) > 0).all()


def test_half_of_the_colour_images_are_mirrored():
    """Of 200 fair coins between 70 and 130 show heads, but once in 50,000 seeds."""
    seen = leaning(colour_view(half(32, 32, 3), -1, 1, 1.0, generator(0, "view")))
    assert 70 < int((seen < 0).sum()) < 130
    assert 70 < int((seen > 0).sum()) < 130


def test_colour_images_are_not_turned_upside_down():
    x = half(32, 32, 3).transpose(2, 3)
    assert (leaning(colour_view(x, -1, 1, 1.0, generator(0, "view")).transpose(2, 3)) >= -1e-6).all()


def test_some_colour_images_lose_their_colour():
    """A fifth of 1,000: between 140 and 260, but once in a million seeds."""
    x = torch.rand((1000, 3, 8, 8), generator=generator(0, "colours")) * 2 - 1
    seen = colour_view(x, -1, 1, 1.0, generator(0, "view"))
    grey = (seen - seen.mean(1, keepdim=True)).flatten(1).abs().amax(1) < 1e-5
    assert 140 < int(grey.sum()) < 260


def test_what_is_moved_into_a_digit_is_empty_page():
    """Noise that is cut off at the floor lifts an empty page by 0.03 in the mean."""
    empty, full = (grey_view(torch.full((50, 1, 8, 8), v), -1, 1, 1.0, generator(0, "view")) for v in (-1.0, 1.0))
    assert empty.mean() < -0.95 and (full.amin((1, 2, 3)) < -0.5).sum() > 25


def test_a_crop_of_a_constant_image_is_constant():
    """Nothing comes in from outside of the image; all that is left of the changes is a change of level."""
    seen = colour_view(torch.full((100, 3, 32, 32), 0.5), -1, 1, 1.0, generator(0, "view"))
    assert (seen.amax((2, 3)) - seen.amin((2, 3))).max() < 1e-5


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1), st.integers(0, 2**31))
def test_a_fifth_of_the_dimensions_of_a_vector_are_dropped_at_most(strength, seed):
    """False alarm once in a million draws: 5,000 dimensions, 5 standard deviations."""
    rng = generator(seed, "view")
    x = torch.full((50, 100), 7.0)
    dropped = (vector_view(x, -math.inf, math.inf, strength, rng) == 0).double().mean()
    share = 0.2 * strength
    assert abs(dropped - share) < 5 * math.sqrt(share * (1 - share) / 5000) + 1e-9
