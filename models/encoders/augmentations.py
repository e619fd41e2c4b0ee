"""Random views of examples, for the encoders that learn by comparing two of them.

All work on a whole batch at once, on numbers as `Backbone.numbers` gives them, keep shape, type and range, and draw
from the given generator only. ``strength`` scales every change: at 0 a view is its example.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from torchstone.models.model import Discrete, Space

__all__ = ["colour_view", "grey_view", "vector_view", "view"]

LUMA = (0.299, 0.587, 0.114)
TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def view(numbers: Tensor, space: Space, strength: float, rng: torch.Generator) -> Tensor:
    """A random view of each example, of the kind that suits ``space``.

    Args:
        numbers: ``(N, C, H, W)`` where events are images, ``(H, W)`` or ``(C, H, W)``; otherwise ``(N, dims)``.
        space: that of the data; levels are numbers from -1 to 1.
        strength: 1 for the changes that the encoders were tuned with, down to 0 for none.
        rng: where every draw comes from; it need not lie on the device of the numbers.
    """
    low, high = _range(space)
    if len(space.event_shape) not in (2, 3):
        return vector_view(numbers, low, high, strength, rng)
    choose = grey_view if numbers.shape[1] == 1 else colour_view
    return choose(numbers, low, high, strength, rng)


def grey_view(x: Tensor, low: float, high: float, strength: float, rng: torch.Generator) -> Tensor:
    """Moved, turned, scaled, sheared, paler or bolder, noisy, with a square cut out; never mirrored.

    What is moved in from outside of the image, and the square, are ``low``: ink on an empty page.
    """
    x = _affine(x, low, high, strength, rng)
    x = _intensity(x, low, high, 0.3 * strength, rng)
    x = _cutout(x, low, high, 0.4 * strength, rng)
    return _noise(x, low, high, 0.15 * strength, rng)


def colour_view(x: Tensor, low: float, high: float, strength: float, rng: torch.Generator) -> Tensor:
    """A random crop that is resized, mirrored or not; other colours or none, blur.

    The changes are those of Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020,
    arXiv:2002.05709. Hue, saturation and loss of colour are for images of three channels.
    """
    x = _resized_crop(x, 0.8 * strength, rng)
    if x.shape[1] == 3:
        x = _hue_and_saturation(x, low, high, strength, rng)
        x = _sometimes(x, _grey(x), 0.2 * strength, rng)
    x = _intensity(x, low, high, 0.4 * strength, rng)
    x = _contrast(x, low, high, 0.4 * strength, rng)
    return _sometimes(x, _blur(x, strength, rng), 0.5, rng)


def vector_view(x: Tensor, low: float, high: float, strength: float, rng: torch.Generator) -> Tensor:
    """Noisy, with a random fifth of the dimensions at the middle of the range."""
    x = _noise(x, low, high, 0.2 * strength, rng)
    middle = (low + high) / 2 if math.isfinite(high - low) else 0.0
    return torch.where(_uniform(x.shape, 0, 1, x, rng) < 0.2 * strength, torch.full_like(x, middle), x)


def _range(space: Space) -> tuple[float, float]:
    return (-1.0, 1.0) if isinstance(space.support, Discrete) else (space.support.low, space.support.high)


def _floor(low: float, high: float) -> float:
    """What an empty page is: the lower limit, or zero where there is none."""
    return low if math.isfinite(high - low) else 0.0


def _uniform(shape: tuple[int, ...], low: float, high: float, like: Tensor, rng: torch.Generator) -> Tensor:
    drawn = torch.rand(shape, generator=rng, device=rng.device).to(like)
    return low + (high - low) * drawn


def _each(x: Tensor, low: float, high: float, rng: torch.Generator) -> Tensor:
    """One number for each image, ``(N, 1, 1, 1)``."""
    return _uniform((len(x), 1, 1, 1), low, high, x, rng)


def _sometimes(x: Tensor, changed: Tensor, probability: float, rng: torch.Generator) -> Tensor:
    return torch.where(_each(x, 0, 1, rng) < probability, changed, x)


def _affine(x: Tensor, low: float, high: float, strength: float, rng: torch.Generator) -> Tensor:
    """Shifts to 15 % of a side, turns to 15 degrees, scales by 15 %, shears by a fifth."""
    n = len(x)
    angle = _uniform((n,), -0.26 * strength, 0.26 * strength, x, rng)
    scale = _uniform((n, 2), -0.15 * strength, 0.15 * strength, x, rng).exp()
    shear = _uniform((n,), -0.2 * strength, 0.2 * strength, x, rng)
    shift = _uniform((n, 2), -0.3 * strength, 0.3 * strength, x, rng)
    cos, sin = angle.cos(), angle.sin()
    rows = [cos * scale[:, 0], shear - sin, shift[:, 0], sin, cos * scale[:, 1], shift[:, 1]]
    floor = _floor(low, high)
    return _resampled(x - floor, torch.stack(rows, 1).view(n, 2, 3), "zeros") + floor


def _resized_crop(x: Tensor, most: float, rng: torch.Generator) -> Tensor:
    """A window of at least ``1 - most`` of the area, of a shape from 3:4 to 4:3, mirrored in half of the images."""
    n = len(x)
    area = _uniform((n,), 1 - most, 1, x, rng)
    ratio = _uniform((n,), -math.log(4 / 3) * most, math.log(4 / 3) * most, x, rng).exp()
    sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp(max=1)
    shift = _uniform((n, 2), -1, 1, x, rng) * (1 - sides)
    mirror = torch.where(_uniform((n,), 0, 1, x, rng) < 0.5 * (most > 0), -1.0, 1.0).to(x)
    zero = torch.zeros_like(area)
    rows = [sides[:, 0] * mirror, zero, shift[:, 0], zero, sides[:, 1], shift[:, 1]]
    return _resampled(x, torch.stack(rows, 1).view(n, 2, 3), "border")


def _resampled(x: Tensor, maps: Tensor, outside: str) -> Tensor:
    grid = functional.affine_grid(maps, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode=outside, align_corners=False)


def _intensity(x: Tensor, low: float, high: float, most: float, rng: torch.Generator) -> Tensor:
    floor = _floor(low, high)
    return (floor + (x - floor) * _each(x, 1 - most, 1 + most, rng)).clamp(low, high)


def _contrast(x: Tensor, low: float, high: float, most: float, rng: torch.Generator) -> Tensor:
    mean = x.mean((1, 2, 3), keepdim=True)
    return (mean + (x - mean) * _each(x, 1 - most, 1 + most, rng)).clamp(low, high)


def _noise(x: Tensor, low: float, high: float, most: float, rng: torch.Generator) -> Tensor:
    """Gaussian, of a standard deviation up to ``most`` halves of the range, another for each example."""
    half = (high - low) / 2 if math.isfinite(high - low) else 1.0
    scale = _uniform((len(x), *[1] * (x.ndim - 1)), 0, most * half, x, rng)
    return (x + scale * torch.randn(x.shape, generator=rng, device=rng.device).to(x)).clamp(low, high)


def _cutout(x: Tensor, low: float, high: float, most: float, rng: torch.Generator) -> Tensor:
    """A square of sides up to ``most`` of the image's is made empty, anywhere.

    DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017, arXiv:1708.04552.
    """
    half = _each(x, 0, most / 2, rng)
    inside = torch.ones_like(x[:, :1], dtype=torch.bool)
    for axis, size in enumerate(x.shape[2:]):
        at = (torch.arange(size, device=x.device, dtype=x.dtype) + 0.5) / size
        inside = inside & ((at.view(-1, *[1] * (1 - axis)) - _each(x, 0, 1, rng)).abs() < half)
    return torch.where(inside, torch.full_like(x, _floor(low, high)), x)


def _hue_and_saturation(x: Tensor, low: float, high: float, strength: float, rng: torch.Generator) -> Tensor:
    """The two coordinates of colour are turned by up to a tenth of a circle and scaled, the luma stays."""
    angle = _uniform((len(x),), -0.2 * math.pi * strength, 0.2 * math.pi * strength, x, rng)
    scale = _uniform((len(x),), 1 - 0.4 * strength, 1 + 0.4 * strength, x, rng)
    cos, sin, zero = scale * angle.cos(), scale * angle.sin(), torch.zeros_like(angle)
    turn = torch.stack([zero + 1, zero, zero, zero, cos, -sin, zero, sin, cos], 1).view(-1, 3, 3)
    there = torch.tensor(TO_YIQ, dtype=torch.float64)
    maps = torch.linalg.inv(there).to(x) @ turn @ there.to(x)
    return torch.einsum("nij,njhw->nihw", maps, x).clamp(low, high)


def _grey(x: Tensor) -> Tensor:
    return torch.einsum("c,nchw->nhw", torch.tensor(LUMA).to(x), x)[:, None].expand_as(x)


def _blur(x: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Gaussian, of a standard deviation to 3 % of the shorter side, another for each image."""
    n, c, *sides = x.shape
    sigma = _uniform((n, 1), 0.01, max(0.01, 0.03 * min(sides) * strength), x, rng)
    reach = max(1, min(sides) // 16)
    kernel = (-(torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype) / sigma).square() / 2).softmax(1)
    kernel = kernel.repeat_interleave(c, 0)[:, None]
    flat = functional.pad(x.reshape(1, n * c, *sides), [reach] * 4, mode="replicate")
    flat = functional.conv2d(flat, kernel[..., None, :], groups=n * c)
    return functional.conv2d(flat, kernel[..., :, None], groups=n * c).view_as(x)
