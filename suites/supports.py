"""Where a distribution lives: densities that are zero outside of a support, and not whatever a formula gives there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, VonMises, constraints
from torch.distributions.constraints import Constraint

__all__ = ["innermost", "log_prob_within", "repeats", "unvalidated"]


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
    """The constraint on each part of a value, without the dimensions that it is repeated over; None where unknown.

    That of a mixture is that of its components.
    """
    support = _support(distribution)
    while isinstance(support, constraints.independent | constraints.MixtureSameFamilyConstraint):
        support = support.base_constraint
    return support


def _support(distribution: Distribution) -> Constraint | None:
    """What the distribution says; of angles, which torch lets be any number, the turn over which they are a density."""
    leaf, dims = distribution, 0
    while isinstance(leaf, Independent):
        leaf, dims = leaf.base_dist, dims + leaf.reinterpreted_batch_ndims
    if isinstance(leaf, VonMises):
        turn: Constraint = constraints.interval(-math.pi, math.pi)  # type: ignore[no-untyped-call]
        return constraints.independent(turn, dims) if dims else turn  # type: ignore[no-untyped-call]
    try:
        support: object = distribution.support
    except NotImplementedError:
        return None
    return support if isinstance(support, Constraint) else None


def log_prob_within(distribution: Distribution, value: Tensor) -> Tensor:
    """The log-density of ``value``, minus infinity outside of the support, whether or not values are checked.

    Without checks some families give a finite number there, as the exponential one does below zero.
    """
    support = innermost(distribution)
    if support is None or support is constraints.real:
        return distribution.log_prob(value)
    whole = _support(distribution)
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


def repeats(draws: Tensor) -> bool:
    """Whether a number of ``draws``, ``(n, *event)``, has a probability: an integer, or one that most draws share.

    Numbers that have a density do not come twice; fewer than eight draws show nothing.
    """
    if not draws.is_floating_point():
        return True
    if len(draws) < 8 or not bool(draws.isfinite().all()):
        return False
    distinct = (draws.flatten(1).sort(0).values.diff(dim=0) != 0).sum(0) + 1
    return bool((distinct <= len(draws) // 2).any())
