"""Truncated Newton steps for logistic regressions of many strengths, and of many small problems, at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.suites.metrics.logistic_objective import (
    Point,
    Problem,
    centred,
    curve,
    evaluate,
    hessian_fits,
    newton_step,
)

__all__ = ["Solution", "solve_path"]

GROUP = 1 << 26  # probabilities of all rows that are held at once
RUNG = 10.0  # factor of the penalty from one rung of the ladder to the next
ROWS = 6  # times the number of features: rows that the curvature is estimated on
GAP = 1e-6  # times the tolerance: how far an objective may be above its least, as the curvature tells it, nats
ENOUGH = 4  # strengths that were solved, for rungs to be no longer looked at
APART = 0.2  # in logarithms of strengths: least distance of those that a guess is made of
CHAIN, STEP = 1e-2, 3e-6  # of the greatest weight (or of one): the next step, as the curvature tells it, that is none
FIRST, LOOSE, LAST = 0.03, 0.3, 0.1  # shares of a gradient that a step may leave: at first, ever, and of the tolerance
INNER, HALVINGS = 200, 30  # most inner iterations, and halvings of a step
PATIENCE = 6  # steps after which a small problem is solved by its Hessian itself
SHARED = 0.3  # penalty over mean curvature above which all classes share one curvature


@final
@dataclass(slots=True)
class Solution:
    """Weights ``(R, S, K, D)``, and of each of the R x S fits what was reached."""

    weight: Tensor
    objective: Tensor
    gradient: Tensor
    iterations: Tensor
    converged: Tensor

    def of(self, count: int) -> Solution:
        """The first strengths."""
        parts = (self.weight, self.objective, self.gradient, self.iterations, self.converged)
        weight, objective, gradient, iterations, converged = (each[:, :count] for each in parts)
        return Solution(weight, objective, gradient, iterations, converged)


def solve_path(problem: Problem, tolerance: float, iterations: int) -> Solution:
    """All strengths, from the rough solutions of a ladder of them, each of which starts from those before.

    The solution is smooth in the logarithm of the strength. A line through the two before is near enough to the next
    rung for Newton's method, and a cubic through four neighbours to what lies between for two or three steps.
    """
    count, (replicas, _, width) = len(problem.penalty), problem.x.shape
    ladder = _ladder(problem)
    problem = problem._replace(penalty=torch.cat([problem.penalty, ladder]))
    total = len(problem.penalty)
    found = Solution(
        problem.x.new_zeros(replicas, total, problem.classes, width),
        problem.x.new_zeros(replicas, total),
        problem.x.new_zeros(replicas, total),
        torch.zeros(replicas, total, dtype=torch.long),
        torch.zeros(replicas, total, dtype=torch.bool),
    )
    place = (-problem.penalty.log()).tolist()
    known: list[int] = []
    curvatures = _Curvatures({}, place)
    for level in [[rung] for rung in range(count, total)] + _levels(problem, count):
        solved = [each for each in known if each < count]
        near = solved if len(solved) >= ENOUGH else known
        start = torch.stack([_guess(found.weight, place, near, each) for each in level], 1)
        aims = (tolerance, STEP) if level[0] < count else (math.inf, CHAIN)
        _newton(problem, level, start, found, curvatures, aims, iterations)
        known += level
    return found.of(count)


def _ladder(problem: Problem) -> Tensor:
    """Penalties from one that keeps all weights small to the least that is asked for, by a factor of RUNG at most."""
    top = float(problem.penalty.max().clamp(min=float(problem.x[..., :-1].square().sum(2).mean()) / problem.classes))
    least = float(problem.penalty.min())
    rungs = 1 + math.ceil(math.log(top / least) / math.log(RUNG))
    return torch.logspace(math.log10(top), math.log10(least), rungs, dtype=torch.double)


def _levels(problem: Problem, count: int) -> list[list[int]]:
    """One in four strengths, those half-way between, and the others; as many at once as memory lets."""
    order = problem.penalty[:count].argsort(descending=True).tolist()
    most = max(1, GROUP // (problem.y.numel() * problem.classes))
    levels = []
    for rest in (order[::4], order[2::4], order[1::2]):
        levels += [rest[start : start + most] for start in range(0, len(rest), most)]
    return levels


def _guess(weight: Tensor, place: list[float], known: list[int], target: int) -> Tensor:
    """The polynomial through the nearest known solutions: a cubic between them, a line beyond them."""
    at, total = place[target], torch.zeros_like(weight[:, 0])
    most = 2 if all(place[each] < at for each in known) else 4
    near: list[int] = []
    for each in sorted(reversed(known), key=lambda one: abs(place[one] - at)):
        if len(near) < most and all(abs(place[each] - place[one]) > APART for one in near):
            near.append(each)
    for each in near:
        others = [place[other] for other in near if other != each]
        total += math.prod((at - other) / (place[each] - other) for other in others) * weight[:, each]
    return total


def _newton(
    problem: Problem, level: list[int], weight: Tensor, found: Solution, curvatures: _Curvatures,
    aims: tuple[float, float], iterations: int,
) -> None:  # fmt: skip
    """Newton steps on the strengths of one level, until each is as near as ``aims`` say, into ``found``.

    Near is a gradient below the first, an objective as good as least, and a next step below the second: where the
    penalty is small, a small gradient alone would leave the weights undecided.
    """
    here, (tolerance, nearness) = torch.tensor(level), aims
    rung = tolerance == math.inf
    point = evaluate(problem, weight, problem.penalty[here])
    if rung:
        curvatures.add(level[0], _inverse_curvature(problem, point.p[:, 0], float(problem.penalty[level[0]])))
    previous = torch.empty_like(found.gradient)
    for number in range(iterations + 1):
        greatest = point.gradient.abs().amax((2, 3))
        ahead = curvatures.nearest(here)(point.gradient.to(problem.half.dtype))
        gap = 0.5 * (point.gradient * ahead).sum((2, 3))
        near = ahead.abs().amax((2, 3)) <= nearness * weight.abs().amax((2, 3)).clamp(min=1)
        done = (greatest < tolerance) & near & (gap <= GAP * tolerance)
        found.weight[:, here], found.objective[:, here] = weight, point.objective
        found.gradient[:, here], found.iterations[:, here] = greatest, number
        found.converged[:, here] = done
        left = ~done.all(0)
        if number == iterations or not bool(left.any()):
            if rung:
                curvatures.add(level[0], _inverse_curvature(problem, point.p[:, 0], float(problem.penalty[level[0]])))
            return
        here, weight, point = here[left], weight[:, left], point if bool(left.all()) else point.of(left)
        before = previous[:, here] if number else greatest[:, left] / (FIRST / 0.9) ** 0.5
        forcing = _forcing(greatest[:, left], before, tolerance)
        previous[:, here] = greatest[:, left]
        if number >= PATIENCE and hessian_fits(problem):
            step = newton_step(problem, point, problem.penalty[here])
        else:
            step = _conjugate_gradients(problem, point, here, curvatures, forcing)
        weight, point = _search(problem, weight, problem.penalty[here], point, step)


def _forcing(greatest: Tensor, before: Tensor, tolerance: float) -> Tensor:
    """To which share of the gradient a step is solved: as closely as the last lowered it (Eisenstat, Walker)."""
    enough = min(LAST * tolerance, 1.0) / greatest.clamp(min=1e-300)
    return (0.9 * (greatest / before).square()).clamp(1e-4, LOOSE).maximum(enough.clamp(max=LOOSE))


def _search(problem: Problem, weight: Tensor, penalty: Tensor, point: Point, step: Tensor) -> tuple[Tensor, Point]:
    """The step, halved for each fit until its objective falls enough; rounding decides nothing."""
    slope = (point.gradient * step).sum((2, 3))
    rounding = 1e-13 * (1e-3 + point.objective.abs())
    size = torch.ones_like(slope)
    for _ in range(HALVINGS):
        moved = weight + size[:, :, None, None] * step
        there = evaluate(problem, moved, penalty)
        enough = there.objective <= point.objective + 1e-4 * size * slope + rounding
        if bool(enough.all()):
            break
        size = torch.where(enough, size, size / 2)
    return moved, there


def _conjugate_gradients(
    problem: Problem, point: Point, here: Tensor, curvatures: _Curvatures, forcing: Tensor
) -> Tensor:
    """The Newton step, solved until its residual is the given share of the gradient; what is solved drops out."""
    kind = problem.half.dtype
    residual, p, free = -centred(point.gradient).to(kind), point.p, problem.free(problem.penalty[here].to(kind))
    whole = torch.zeros_like(residual)
    at, target, step = torch.arange(len(here)), forcing.to(kind) * residual.abs().amax((2, 3)), whole.clone()
    precondition = curvatures.nearest(here)
    way = precondition(residual)
    energy = (residual * way).sum((2, 3))
    for _ in range(INNER):
        curved = curve(problem, p, free, way)
        length = _share(energy, (way * curved).sum((2, 3)), residual.abs().amax((2, 3)) > target)
        step, residual = step + length * way, residual - length * curved
        left = (residual.abs().amax((2, 3)) > target).any(0)
        if not bool(left.any()):
            break
        if 4 * int(left.sum()) <= 3 * len(at):
            whole[:, at] = step
            at, target, step, residual = at[left], target[:, left], step[:, left], residual[:, left]
            way, energy, p, free = way[:, left], energy[:, left], p[:, left], free[left]
            precondition = curvatures.nearest(here[at])
        z = precondition(residual)
        after = (residual * z).sum((2, 3))
        way, energy = z + _share(after, energy, energy > 0) * way, after
    whole[:, at] = step
    return centred(whole.double())


def _share(part: Tensor, of: Tensor, where: Tensor) -> Tensor:
    return torch.where(where & (of > 0), part / of, 0.0)[:, :, None, None]


def _inverse_curvature(problem: Problem, p: Tensor, penalty: float) -> Tensor:
    """The inverse of the Hessian's blocks of single classes, ``(R, K or 1, D, D)``, on some of the rows.

    Rows are taken in proportion to their weight, evenly and without chance. Where the penalty is large one matrix
    serves all classes.
    """
    replicas, n, width = problem.half.shape
    weights = p.double() * (1 - p.double())
    if penalty > SHARED * float(weights.mean()):
        weights = weights.mean(1, keepdim=True)
    rows, mass = min(n, ROWS * width), weights.sum(2, keepdim=True)
    chosen, scale = torch.arange(n).expand_as(weights), weights
    if rows < n:
        points = (torch.arange(rows, dtype=torch.double) + 0.5) / rows * mass
        chosen = torch.searchsorted(weights.cumsum(2), points).clamp(max=n - 1)
        scale = (mass / rows).expand_as(points)
    ridge = torch.full((width,), penalty, dtype=torch.double)
    ridge[-1] = 0
    found = problem.half.new_empty(replicas, weights.shape[1], width, width)
    for replica in range(replicas):
        for each, (some, factor) in enumerate(zip(chosen[replica], scale[replica], strict=True)):
            x = problem.half[replica, some]
            square = (x.T @ (x if rows < n else x * factor.to(x.dtype)[:, None])).double()
            square *= (factor[0] if rows < n else 1) / n
            square += torch.diag(ridge + 1e-7 * square.diagonal() + 1e-30)
            found[replica, each] = torch.cholesky_inverse(torch.linalg.cholesky(square))
    return found


@final
@dataclass(frozen=True)
class _Curvatures:
    """Inverse curvatures at some strengths, by their index; ``place`` is where a strength lies among the others."""

    known: dict[int, Tensor]
    place: list[float]

    def add(self, which: int, inverse: Tensor) -> None:
        self.known[which] = inverse

    def nearest(self, here: Tensor) -> Callable[[Tensor], Tensor]:
        """What multiplies the rows of gradients ``(R, S, K, D)``, each by the curvature of the nearest strength."""
        groups: dict[int, list[int]] = {}
        for i, one in enumerate(here.tolist()):
            groups.setdefault(min(self.known, key=lambda each: abs(self.place[each] - self.place[one])), []).append(i)

        def precondition(gradient: Tensor) -> Tensor:
            out, sent = torch.empty_like(gradient), centred(gradient).transpose(1, 2)
            for each, members in groups.items():
                out[:, members] = (sent[:, :, members] @ self.known[each]).transpose(1, 2)
            return centred(out)

        return precondition
