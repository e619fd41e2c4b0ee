"""Where a distribution lives: densities that are zero outside of a support, and not whatever a formula gives there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.constraints import Constraint

__all__ = ["innermost", "log_prob_within", "unvalidated"]


@contextmanager
def unvalidated() -> Iterator[None]:
    """Within the block distributions check nothing, so that a number outside of their support is one to be refused.

    For proposals of Hamiltonian dynamics and of optimisers, which may be NaN; what they lead to is looked at instead.
    """
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


def innermost(distribution: Distribution) -> Constraint | None:
    """The constraint on each part of a value, without the dimensions that it is repeated over; None where unknown."""
    try:
        support: object = distribution.support
    except NotImplementedError:
        return None
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support if isinstance(support, Constraint) else None


def log_prob_within(distribution: Distribution, value: Tensor) -> Tensor:
    """The log-density of ``value``, minus infinity outside of the support, whether or not values are checked.

    Without checks some families give a finite number there, as the exponential one does below zero.
    """
    support = innermost(distribution)
    if support is None or support is constraints.real:
        return distribution.log_prob(value)
    whole = distribution.support
    assert whole is not None
    inside: Tensor = whole.check(value)  # type: ignore[no-untyped-call]
    if bool(inside.all()):
        return distribution.log_prob(value)
    if not bool(inside.any()):
        return value.flatten(inside.ndim).sum(-1) * 0 - math.inf if value.ndim > inside.ndim else value * 0 - math.inf
    within = inside.view(*inside.shape, *[1] * (value.ndim - inside.ndim))
    somewhere = value.detach()[inside][0]
    with unvalidated():
        return torch.where(inside, distribution.log_prob(torch.where(within, value, somewhere)), -math.inf)
