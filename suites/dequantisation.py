"""Uniform dequantisation: discrete data on a continuous support, with the constant that this costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.models.checks import space_of
from torchstone.models.model import Continuous, Discrete, Model, ModelError, Space

__all__ = ["Dequantiser", "dequantiser_for"]


@final
@dataclass(frozen=True)
class Dequantiser:
    """Integers plus uniform noise, through the affine map of a continuous ``support``.

    For a density p on the support and the map ``u = T(x + e)`` with ``e ~ U[0, 1)^D``,
    ``E_e[log p(u)] + D ln |dT/dx| <= log P(x)``, where P(x) is the mass that p gives to the bin of x: a lower bound
    on the log-likelihood of the discrete data, whose slack depends on the model.

    Source: A note on the evaluation of generative models (Theis, van den Oord and Bethge, 2016; arXiv:1511.01844).

    Raises:
        ModelError: where the support is unbounded, or its log-Jacobian is not the slope of its map.
    """

    support: Continuous
    levels: int
    dims: int

    def __post_init__(self) -> None:
        """Check the derived constant against the slope of the map, measured at every level."""
        levels = torch.arange(self.levels)
        low, high = (self.support.dequantise(levels, torch.full((self.levels,), e), self.levels) for e in (0.25, 0.75))
        slope = torch.log((high - low) / 0.5)
        derived = self.support.log_jacobian(self.levels)
        if not bool(torch.allclose(slope, torch.full_like(slope, derived), rtol=1e-9, atol=1e-9)):
            raise ModelError(
                f"{self.support} maps {self.levels} levels with a log-slope of {float(slope[0])} and states {derived}: "
                "its dequantise and log_jacobian must describe one affine map."
            )

    @property
    def log_volume(self) -> float:
        """``D ln |dT/dx|``, the constant added to a log-density on the support, in nats."""
        return self.dims * self.support.log_jacobian(self.levels)

    def __call__(self, x: Tensor, rng: torch.Generator, dtype: torch.dtype) -> Tensor:
        """``x`` with noise drawn on the CPU (the same for every device), strictly inside the support, as ``dtype``."""
        noise = torch.rand(x.shape, generator=rng, dtype=torch.float64).to(x.device)
        u = self.support.dequantise(x, noise, self.levels).to(dtype)
        low, high = (
            torch.tensor(limit, dtype=dtype, device=x.device) for limit in (self.support.low, self.support.high)
        )
        return u.clamp(torch.nextafter(low, high), torch.nextafter(high, low))


def dequantiser_for(model: Model, data: Space) -> Dequantiser | None:
    """What takes discrete data of the space ``data`` to a continuous model; None where there is nothing to take."""
    ours, theirs = space_of(model).support, data.support
    if isinstance(ours, Continuous) and isinstance(theirs, Discrete):
        return Dequantiser(ours, theirs.levels, data.dims)
    return None
