"""The teacher of an encoder that learns from its own past: a moving average of the student's weights."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

__all__ = ["Teacher"]


@final
class Teacher:
    r"""A network that is never trained, and follows its student, step t by step t.

    .. math:: \theta_t = m\,\theta_{t-1} + (1 - m)\,\theta^{\text{student}}_t

    Reference: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", 2019, arXiv:1911.05722.

    Args:
        network: of the same architecture as the student; its weights are overwritten.
        student: the network that is trained.
        momentum: m, between 0 (the student itself) and 1 (it never moves).
    """

    def __init__(self, network: nn.Module, student: nn.Module, momentum: float) -> None:
        from lightly.models.utils import deactivate_requires_grad

        self.network, self.student, self.momentum = network, student, momentum
        deactivate_requires_grad(network)

    @torch.no_grad()
    def __call__(self, numbers: Tensor) -> Tensor:
        """What the teacher makes of a batch, without gradient."""
        answer: Tensor = self.network(numbers)
        return answer

    def copy(self) -> None:
        """Take over the student's weights as they are."""
        self.network.load_state_dict(self.student.state_dict())

    def follow(self, step: int) -> None:
        """Take the step of the moving average that belongs to the student's step."""
        from lightly.models.utils import update_momentum

        update_momentum(self.student, self.network, self.momentum)
