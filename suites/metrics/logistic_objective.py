"""The objective of logistic regressions at many strengths: its value, its gradient, and products with its Hessian."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor

__all__ = ["Point", "Problem", "centred", "curve", "evaluate", "hessian_fits", "newton_step"]

BLOCK, ROWS = 1 << 16, 1024  # logits and rows that are held at once: they stay in the cache of a core
MOST_WEIGHTS = 1 << 10  # of a fit whose Hessian is written down
ROUNDING = 1e-13  # of the greatest curvature
SMALL = 1 << 18  # numbers in features that are double throughout


@final
class Problem(NamedTuple):
    """R problems of one shape.

    Attributes:
        x: ``(R, N, D)`` float64, the last column of which is one.
        y: ``(R, N)`` labels.
        classes: how many, K.
        penalty: ``(S,)`` factors of half the squared weights; that of the last column is free.
        targets: ``(R, 1, K, D)`` sums of the rows of each class over N.
        half: ``x`` in the precision of products with the Hessian: float32 but for small problems.
    """

    x: Tensor
    y: Tensor
    classes: int
    penalty: Tensor
    targets: Tensor
    half: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor, classes: int, penalty: Tensor) -> Problem:
        """From features ``(R, N, D - 1)``, which get the column of ones."""
        x = torch.cat([x, x.new_ones(*x.shape[:2], 1)], 2)
        hot = torch.nn.functional.one_hot(y, classes).to(x.dtype)
        return cls(x, y, classes, penalty, (hot.mT @ x / x.shape[1])[:, None], x if x.numel() <= SMALL else x.float())

    def blocks(self, strengths: int) -> list[slice]:
        """Blocks of rows whose logits of so many strengths are held at once."""
        size = min(ROWS, max(1, BLOCK // (len(self.x) * self.classes * strengths)))
        return [slice(start, start + size) for start in range(0, self.x.shape[1], size)]

    def free(self, penalty: Tensor) -> Tensor:
        """``(S, 1, D)`` factors of the weights in the gradient, none for the last column."""
        columns = penalty.new_ones(self.x.shape[2])
        columns[-1] = 0
        return penalty[:, None, None] * columns


@final
class Point(NamedTuple):
    """Where a step stands: objective ``(R, S)``, gradient like the weights, and probabilities ``(R, S, K, N)``."""

    objective: Tensor
    gradient: Tensor
    p: Tensor

    def of(self, some: Tensor) -> Point:
        """At some of the strengths."""
        return Point(self.objective[:, some], self.gradient[:, some], self.p[:, some])


def evaluate(problem: Problem, weight: Tensor, penalty: Tensor) -> Point:
    """Mean cross-entropy and half the penalty, its gradient, and the probabilities, a block of rows at a time."""
    replicas, count, classes, width = weight.shape
    n = problem.x.shape[1]
    flat, into = weight.reshape(replicas, count * classes, width), weight.new_zeros(replicas, count * classes, width)
    p = torch.empty(replicas, count, classes, n, dtype=problem.half.dtype)
    total = weight.new_zeros(replicas, count)
    for rows in problem.blocks(count):
        x = problem.x[:, rows]
        logits = (flat @ x.mT).view(replicas, count, classes, -1)
        logits -= logits.amax(2, keepdim=True)
        total -= _of_label(logits, problem.y[:, rows]).sum((2, 3))
        mass = logits.exp_()
        norm = mass.sum(2, keepdim=True)
        total += norm.log().sum((2, 3))
        mass /= norm
        p[..., rows] = mass
        into.baddbmm_(mass.view(replicas, count * classes, -1), x)
    gradient = into.view_as(weight) / n - problem.targets + problem.free(penalty) * weight
    return Point(total / n + 0.5 * penalty * weight[..., :-1].square().sum((2, 3)), gradient, p)


def _of_label(values: Tensor, y: Tensor) -> Tensor:
    """``(R, S, 1, n)``: of ``(R, S, K, n)`` what belongs to the label of each row."""
    return values.gather(2, y[:, None, None].expand(-1, values.shape[1], 1, -1))


def curve(problem: Problem, p: Tensor, free: Tensor, v: Tensor) -> Tensor:
    """The Hessian times ``v``, in the precision of ``half``.

    The product does not change where all classes of a row get the same addition. That of the label is made zero, since
    a probability of nearly one would otherwise cancel all that its complement says.
    """
    replicas, count, classes, width = v.shape
    flat, into = v.reshape(replicas, count * classes, width), v.new_zeros(replicas, count * classes, width)
    for rows in problem.blocks(count):
        x, mass = problem.half[:, rows], p[..., rows]
        u = (flat @ x.mT).view(replicas, count, classes, -1)
        u -= _of_label(u, problem.y[:, rows])
        u -= (mass * u).sum(2, keepdim=True)
        u *= mass
        into.baddbmm_(u.view(replicas, count * classes, -1), x)
    return into.view_as(v) / problem.x.shape[1] + free * v


def centred(weight: Tensor) -> Tensor:
    """Weights that sum to zero over the classes, as those of the optimum do."""
    return weight - weight.mean(2, keepdim=True)


def hessian_fits(problem: Problem) -> bool:
    """Whether a Hessian is small enough to be written down: where classes are all but told apart nothing else helps."""
    return problem.half.dtype == torch.double and problem.classes * problem.x.shape[2] <= MOST_WEIGHTS


def newton_step(problem: Problem, point: Point, penalty: Tensor) -> Tensor:
    """Minus the inverse Hessian times the gradient, of every fit by itself, like the weights."""
    step = torch.empty_like(point.gradient)
    replicas, strengths, classes, width = step.shape
    for replica in range(replicas):
        for place in range(strengths):
            hessian = _hessian(
                problem.x[replica], point.p[replica, place], problem.free(penalty[place : place + 1])[0, 0]
            )
            solved = _solved(hessian, point.gradient[replica, place].flatten())
            step[replica, place] = -solved.view(classes, width)
    return centred(step)


def _solved(hessian: Tensor, gradient: Tensor) -> Tensor:
    """The inverse of the Hessian times the gradient; where rounding leaves no curvature, as little as it can tell."""
    factor, failed = torch.linalg.cholesky_ex(hessian)
    if not int(failed):
        return torch.cholesky_solve(gradient[:, None], factor)[:, 0]
    values, vectors = torch.linalg.eigh(hessian)
    found: Tensor = vectors @ ((vectors.T @ gradient) / values.clamp(min=ROUNDING * float(values[-1])))
    return found


def _hessian(x: Tensor, p: Tensor, free: Tensor) -> Tensor:
    """``(K D, K D)`` of one fit; what all classes may add to their biases, which changes nothing, costs one here."""
    n, width = x.shape
    classes, rest = len(p), torch.stack([p[torch.arange(len(p)) != k].sum(0) for k in range(len(p))])
    blocks = torch.empty(classes, width, classes, width, dtype=x.dtype)
    for k in range(classes):
        mass = -p[k] * p
        mass[k] = p[k] * rest[k]
        blocks[k] = ((mass[:, None] * x.T) @ x / n).transpose(0, 1)
    blocks[:, -1, :, -1] += 1
    return blocks.view(classes * width, -1) + torch.diag(free.repeat(classes))
