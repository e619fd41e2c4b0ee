"""The best posterior of a family for each example by itself: what the encoder would give, were it free to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Uniform, biject_to, transform_to
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import Transform

from torchstone.models.randomness import draw, generator, seeded

__all__ = ["Family", "Optimised", "family_refusal", "log_weights", "optimise"]

ALTERNATIVES = (
    ("scale_tril", "covariance_matrix", "precision_matrix"),
    ("logits", "probs"),
)  # the first of each is used
ADAM = 0.9, 0.999, 1e-8
COOLING = 0.7  # of the learning rate of an example, at each block that did not improve it
LEAST_GAIN = 1e-5  # nats: less than that is no improvement, however sure
RELATIVE_TOLERANCE = 1e-4  # between log-densities of a distribution and of the one that was rebuilt from it, in float32


@final
@dataclass(frozen=True, slots=True)
class Family:
    """A family of distributions of batch shape ``(N,)``, and the member that it was read from.

    Attributes:
        leaves: unconstrained numbers of each example, ``(N, ...)`` each; any such numbers make a member.
    """

    kind: type[Distribution]
    names: tuple[str, ...]
    transforms: tuple[Transform, ...]
    event_dims: int
    leaves: tuple[Tensor, ...]

    @classmethod
    def of(cls, q: Distribution) -> Family:
        """Read a family off one of its members, through ``Independent``, its ``arg_constraints`` and ``biject_to``.

        Raises:
            ValueError: with `family_refusal`'s sentence.
        """
        base, event_dims = q, 0
        while isinstance(base, Independent):
            base, event_dims = base.base_dist, event_dims + base.reinterpreted_batch_ndims
        name = type(base).__name__
        if len(q.batch_shape) != 1:
            raise ValueError(
                f"The posterior has batch shape {tuple(q.batch_shape)}, where one of examples (N,) is due."
            )
        if not base.has_rsample:
            raise ValueError(f"{name} draws without a gradient (it has no rsample), so that it cannot be optimised.")
        if isinstance(base, Uniform):
            raise ValueError(f"The limits of {name} depend on each other, so that they cannot be optimised one by one.")
        constraints = _constraints(base)
        if not constraints:
            raise ValueError(f"{name} declares no parameters (arg_constraints), from which it could be rebuilt.")
        values = {parameter: getattr(base, parameter) for parameter in constraints}
        if any(not isinstance(v, Tensor) or v.shape[:1] != q.batch_shape for v in values.values()):
            raise ValueError(f"{name} has parameters that are not one for each example, so that it cannot be rebuilt.")
        try:
            transforms = tuple(_free(constraint) for constraint in constraints.values())
            leaves = tuple(
                transform.inv(value.detach()).clone()
                for transform, value in zip(transforms, values.values(), strict=True)
            )
            family = cls(type(base), tuple(constraints), transforms, event_dims, leaves)
            same = _same(q, family.build(leaves), leaves[0].device)
        except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"{name} cannot be rebuilt from its parameters {', '.join(constraints)}.") from error
        if not same:
            raise ValueError(f"{name} rebuilt from its parameters {', '.join(constraints)} is another distribution.")
        return family

    def build(self, leaves: tuple[Tensor, ...]) -> Distribution:
        """The member that ``leaves`` make, differentiable in them."""
        values = {n: transform(leaf) for n, transform, leaf in zip(self.names, self.transforms, leaves, strict=True)}
        base = self.kind(**values)
        return Independent(base, self.event_dims) if self.event_dims else base


def _constraints(base: Distribution) -> Mapping[str, Constraint]:
    try:
        constraints = base.arg_constraints
    except NotImplementedError:
        return {}
    spare = {name for group in ALTERNATIVES if group[0] in constraints for name in group[1:]}
    return {name: constraint for name, constraint in constraints.items() if name not in spare}


def _free(constraint: Constraint) -> Transform:
    """From any numbers to those that meet the constraint; torch has Cholesky factors in the second registry alone."""
    found: Transform
    try:
        found = biject_to(constraint)
    except NotImplementedError:
        found = transform_to(constraint)
    return found


def _same(q: Distribution, rebuilt: Distribution, device: torch.device) -> bool:
    if (q.batch_shape, q.event_shape) != (rebuilt.batch_shape, rebuilt.event_shape):
        return False
    z = draw(q, generator(0, "family", device=device))
    return torch.allclose(q.log_prob(z), rebuilt.log_prob(z), rtol=RELATIVE_TOLERANCE, atol=RELATIVE_TOLERANCE)


def family_refusal(q: Distribution) -> str | None:
    """Why the family of ``q`` cannot be rebuilt, as a sentence; None where it can."""
    try:
        Family.of(q)
    except ValueError as error:
        return str(error)
    return None


@final
@dataclass(frozen=True, slots=True)
class Optimised:
    """The best member of a family for each example.

    Attributes:
        posterior: of batch shape ``(N,)``.
        blocks: of optimiser steps that each example took, ``(N,)``.
        converged: ``(N,)``, whether it stopped because nothing improved, and not because blocks ran out.
    """

    posterior: Distribution
    blocks: Tensor
    converged: Tensor


def optimise(
    q: Distribution,
    log_joint: Callable[[Tensor], Tensor],
    rng: torch.Generator,
    *,
    samples: int = 10,
    evaluation: int = 200,
    learning_rate: float = 0.02,
    block: int = 100,
    patience: int = 10,
    most_blocks: int = 100,
) -> Optimised:
    """Maximise the evidence lower bound of each example over the family of ``q``, all examples in one batch.

    Adam follows the path gradient ``d/dq E_q[log p(x, z) - log q(z)]`` at reparameterised draws. After each block the
    mean of its iterates meets the best so far on fresh draws, the same for both, which the optimiser does not see, and
    takes its place where its bound is higher. It is an improvement where the difference is twice its standard error: an
    example that shows none in ``patience`` blocks stops and stays as it is, and its learning rate falls at each of
    them. The bound of the result is to be had from draws of yet another generator: see `log_weights`.

    Sources: Inference Suboptimality in Variational Autoencoders (Cremer, Li and Duvenaud, 2018; arXiv:1801.03558), for
    the split and the rule of stopping; Sticking the Landing (Roeder, Wu and Duvenaud, 2017; arXiv:1703.09194), for the
    gradient.

    Args:
        q: where to begin, batch shape ``(N,)``.
        log_joint: ``log p(x|z) + log p(z)`` of latents ``(S, N, *latent)``, ``(S, N)`` nats, differentiable.
        rng: of every draw, on the device of ``q``.
        samples: draws per example and step.
        evaluation: draws per example that two posteriors are compared on.
        learning_rate: of Adam, in the unconstrained parameters.
        block: steps between comparisons.
        patience: blocks without improvement after which an example stops.
        most_blocks: after which all stop.

    Raises:
        ValueError: where the family of ``q`` cannot be rebuilt.
    """
    family = Family.of(q)
    leaves = best = family.leaves
    adam = _Adam(leaves)
    idle = torch.zeros(q.batch_shape, device=leaves[0].device)
    blocks = torch.zeros_like(idle, dtype=torch.long)
    for _ in range(most_blocks):
        running = idle < patience
        if not bool(running.any()):
            break
        rate = torch.where(running, learning_rate * COOLING**idle, 0.0)
        leaves, candidate = _block(family, leaves, log_joint, adam, rate, rng, samples, block)
        gain, stderr = _gain(family, candidate, best, log_joint, rng, evaluation)
        better = running & (gain > 0)
        best = tuple(_choose(better, new, old) for new, old in zip(candidate, best, strict=True))
        improved = better & (gain > (2 * stderr).clamp_min(LEAST_GAIN))
        idle = torch.where(improved, 0.0, idle + running)
        blocks = blocks + running
    return Optimised(family.build(best), blocks.cpu(), (idle >= patience).cpu())


def _gain(
    family: Family,
    new: tuple[Tensor, ...],
    old: tuple[Tensor, ...],
    log_joint: Callable[[Tensor], Tensor],
    rng: torch.Generator,
    draws: int,
) -> tuple[Tensor, Tensor]:
    """By how much the bound of ``new`` is higher on common draws, ``(N,)``, and the standard error of that.

    What is not finite is no gain, and what is finite an infinite one over what is not.
    """
    seed = int(torch.randint(2**62, (), generator=rng, device=rng.device))
    after, before = (
        log_weights(family.build(leaves), log_joint, torch.Generator(rng.device).manual_seed(seed), draws)
        for leaves in (new, old)
    )
    finite, known = after.mean(0).isfinite(), before.mean(0).isfinite()
    gain = torch.where(finite & known, (after - before).mean(0), torch.where(finite, math.inf, -math.inf))
    return gain, (after - before).std(0).nan_to_num(0.0) / math.sqrt(draws)


def _block(
    family: Family,
    leaves: tuple[Tensor, ...],
    log_joint: Callable[[Tensor], Tensor],
    adam: _Adam,
    rate: Tensor,
    rng: torch.Generator,
    samples: int,
    steps: int,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Where ``steps`` steps lead, and the mean of all the iterates."""
    total = tuple(torch.zeros_like(leaf) for leaf in leaves)
    with seeded(rng):
        for _ in range(steps):
            with torch.enable_grad():
                free = tuple(leaf.detach().requires_grad_() for leaf in leaves)
                z = family.build(free).rsample(torch.Size((samples,)))
                log_w = log_joint(z) - family.build(leaves).log_prob(z)
            gradients = torch.autograd.grad(log_w.mean(0).sum(), free)
            leaves = adam.ascend(leaves, gradients, rate)
            total = tuple(t + leaf for t, leaf in zip(total, leaves, strict=True))
    return leaves, tuple(t / steps for t in total)


@final
class _Adam:
    """Adam (Kingma and Ba, 2014; arXiv:1412.6980) with a learning rate for each example."""

    def __init__(self, leaves: tuple[Tensor, ...]) -> None:
        self._first = [torch.zeros_like(leaf) for leaf in leaves]
        self._second = [torch.zeros_like(leaf) for leaf in leaves]
        self._steps = 0

    def ascend(self, leaves: tuple[Tensor, ...], gradients: tuple[Tensor, ...], rate: Tensor) -> tuple[Tensor, ...]:
        """The leaves after one step; gradients that are not finite count as zero."""
        decay_first, decay_second, small = ADAM
        self._steps += 1
        moved = []
        for i, (leaf, gradient) in enumerate(zip(leaves, gradients, strict=True)):
            known = torch.where(gradient.isfinite(), gradient, 0.0)
            self._first[i].lerp_(known, 1 - decay_first)
            self._second[i].lerp_(known**2, 1 - decay_second)
            first = self._first[i] / (1 - decay_first**self._steps)
            second = self._second[i] / (1 - decay_second**self._steps)
            step = rate.to(leaf).view(-1, *[1] * (leaf.ndim - 1))
            moved.append(leaf + step * first / (second.sqrt() + small))
        return tuple(moved)


def _choose(better: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(better.view(-1, *[1] * (new.ndim - 1)), new, old)


def log_weights(q: Distribution, log_joint: Callable[[Tensor], Tensor], rng: torch.Generator, samples: int) -> Tensor:
    """``log p(x, z) - log q(z)`` of fresh draws from ``q``, ``(samples, N)`` float64; their mean is the bound of ``q``.

    ``rng`` must not be one that ``q`` was optimised with: the bound would then be measured on the noise that it was
    fitted to, and come out too high.
    """
    z = draw(q, rng, (samples,))
    with torch.no_grad():
        return log_joint(z).double() - q.log_prob(z).double()
