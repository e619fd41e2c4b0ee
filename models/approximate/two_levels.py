"""The distribution of a latent in two levels, the lower drawn given the upper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

__all__ = ["TwoLevels"]


@final
class TwoLevels(Distribution):
    r"""``z = (z_1, z_2)``, one vector of the upper level and then the lower one.

    .. math:: p(z) = p(z_1)\ p(z_2 \mid z_1)

    Args:
        upper: p(z_1), of batch shape B and event shape ``(d_1,)``.
        lower: gives p(z_2 | z_1) for values ``(..., *B, d_1)``: batch shape ``(..., *B)``, event shape ``(d_2,)``. It
            is asked for every draw and for every density, and gives the same answer each time: dropout within it would
            measure a draw by another density than the one that it came from.
        size: d_2.
        validate_args: whether values are checked; None for torch's own default.
    """

    arg_constraints: ClassVar[Mapping[str, constraints.Constraint]] = {}  # type: ignore[assignment, misc, unused-ignore]
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        upper: Distribution,
        lower: Callable[[Tensor], Distribution],
        size: int,
        validate_args: bool | None = None,
    ) -> None:
        self.upper, self.lower, self.size = upper, lower, size
        above = upper.event_shape[0]
        super().__init__(upper.batch_shape, torch.Size([above + size]), validate_args=validate_args)

    def expand(
        self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: Distribution | None = None
    ) -> TwoLevels:
        """The same distribution for every element of a larger batch."""
        upper = self.upper.expand(torch.Size(batch_shape))
        return TwoLevels(upper, self.lower, self.size, validate_args=self._validate_args)

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """Draws of shape ``(*sample_shape, *batch, d_1 + d_2)``, from the upper level to the lower, with gradient."""
        upper = self.upper.rsample(torch.Size(sample_shape))
        return torch.cat([upper, self.lower(upper).rsample()], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Nats of ``value``, whose shape ends in that of the event and broadcasts with the batch."""
        if self._validate_args:
            self._validate_sample(value)
        upper, lower = value[..., : -self.size], value[..., -self.size :]
        return self.upper.log_prob(upper) + self.lower(upper).log_prob(lower)
