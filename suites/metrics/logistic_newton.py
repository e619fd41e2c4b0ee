"""Truncated Newton steps for logistic regressions of many strengths, and of many small problems, at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

__all__ = ["Problem", "Solution", "solve_path"]

BLOCK = 1 << 16  # logits that are held at once: they stay in the cache of a core
GROUP = 1 << 26  # probabilities of all rows that are held at once
STRIDE = 4  # strengths from one that is found from its smaller neighbours alone to the next
ROWS = 8  # times the number of features: rows that the curvature is estimated on
CHAIN, STEP = (
    1e-2,
    3e-6,
)  # of the greatest weight (or of one): the next step, as the curvature tells it, of what has converged
INNER, HALVINGS = 200, 30  # most inner iterations, and halvings of a step
BEYOND = 2
LOOSE = 0.3
LAST = 0.1
REFRESH = 2
SHARED = 0.1  # penalty over mean curvature above which all classes share one curvature


@final
class Problem(NamedTuple):
    """R problems of one shape.

    Attributes:
        x: ``(R, N, D)`` float64, the last column of which is one.
        y: ``(R, N)`` labels.
        classes: how many, K.
        penalty: ``(S,)`` factors of half the squared weights; that of the last column is free.
        targets: ``(R, 1, K, D)`` sums of the rows of each class over N.
        half: ``x`` in float32.
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
        return cls(x, y, classes, penalty, (hot.mT @ x / x.shape[1])[:, None], x.float())

    def blocks(self, strengths: int) -> list[slice]:
        """Blocks of rows whose logits of so many strengths are held at once."""
        size = max(1, BLOCK // (len(self.x) * self.classes * strengths))
        return [slice(start, start + size) for start in range(0, self.x.shape[1], size)]

    def free(self, penalty: Tensor) -> Tensor:
        """``(S, 1, D)`` factors of the weights in the gradient, none for the last column."""
        columns = penalty.new_ones(self.x.shape[2])
        columns[-1] = 0
        return penalty[:, None, None] * columns


@final
@dataclass(slots=True)
class Solution:
    """Weights ``(R, S, K, D)``, and of each of the R x S fits what was reached."""

    weight: Tensor
    objective: Tensor
    gradient: Tensor
    iterations: Tensor
    converged: Tensor


class _Point(NamedTuple):
    """Where a step stands: objective ``(R, S)``, gradient like the weights, probabilities ``(R, S, K, N)`` float32."""

    objective: Tensor
    gradient: Tensor
    p: Tensor

    def of(self, some: Tensor) -> _Point:
        return _Point(self.objective[:, some], self.gradient[:, some], self.p[:, some])


def solve_path(problem: Problem, tolerance: float, iterations: int) -> Solution:
    """All strengths: some from the smaller ones before them, those between by what lies on both sides.

    The solution is smooth in the logarithm of the strength. A cubic through four neighbours is near enough to it that
    one or two steps remain, which strengths that lie between take together.
    """
    count, (replicas, _, width) = len(problem.penalty), problem.x.shape
    found = Solution(
        problem.x.new_zeros(replicas, count, problem.classes, width),
        *(problem.x.new_zeros(replicas, count) for _ in range(2)),
        torch.zeros(replicas, count, dtype=torch.long),
        torch.zeros(replicas, count, dtype=torch.bool),
    )
    place = (-problem.penalty.log()).tolist()
    order = sorted(range(count), key=lambda each: place[each])
    known: dict[int, None] = {}
    curvatures = _Curvatures({}, place)
    for level in _levels(order, problem):
        start = torch.stack([_guess(found.weight, place, list(known), each) for each in level], 1)
        aims = (math.inf, CHAIN) if len(known) < len(order[::STRIDE]) else (tolerance, STEP)
        _newton(problem, level, start, found, curvatures, aims, iterations)
        known |= dict.fromkeys(level)
    return found


def _levels(order: list[int], problem: Problem) -> list[list[int]]:
    """Single strengths at a distance, then those half-way between, then the others; as many at once as memory lets."""
    most = max(1, GROUP // (problem.y.numel() * problem.classes))
    levels = [[each] for each in order[::STRIDE]]
    for rest in (order[::STRIDE], order[STRIDE // 2 :: STRIDE], order[1::2]):
        levels += [rest[start : start + most] for start in range(0, len(rest), most)]
    return levels


def _guess(weight: Tensor, place: list[float], known: list[int], target: int) -> Tensor:
    """The polynomial through the nearest known solutions: a cubic between them, a line beyond them."""
    at, total = place[target], torch.zeros_like(weight[:, 0])
    beyond = all(place[each] < at for each in known)
    near = sorted(known, key=lambda each: abs(place[each] - at))[: BEYOND if beyond else 4]
    for each in near:
        others = [place[other] for other in near if other != each]
        total += math.prod((at - other) / (place[each] - other) for other in others) * weight[:, each]
    return total


def _newton(
    problem: Problem, level: list[int], weight: Tensor, found: Solution, curvatures: _Curvatures,
    aims: tuple[float, float], iterations: int,
) -> None:  # fmt: skip
    """Newton steps on the strengths of one level, until each has converged, into ``found``."""
    here, (tolerance, nearness) = torch.tensor(level), aims
    chained = tolerance == math.inf
    point = _evaluate(problem, weight, problem.penalty[here])
    if chained:
        curvatures.add(level[0], _inverse_curvature(problem, point.p[:, 0], float(problem.penalty[level[0]])))
    previous = torch.full_like(found.gradient, math.inf)
    for number in range(iterations + 1):
        greatest = point.gradient.abs().amax((2, 3))
        ahead = curvatures.nearest(here)(point.gradient.float()).abs().amax((2, 3))
        done = (greatest < tolerance) & (ahead <= nearness * weight.abs().amax((2, 3)).clamp(min=1))
        found.weight[:, here], found.objective[:, here] = weight, point.objective
        found.gradient[:, here], found.iterations[:, here] = greatest, number
        found.converged[:, here] = done
        left = ~done.all(0)
        if number == iterations or not bool(left.any()):
            return
        here, weight, point = here[left], weight[:, left], point if bool(left.all()) else point.of(left)
        if chained and number == REFRESH:
            curvatures.add(level[0], _inverse_curvature(problem, point.p[:, 0], float(problem.penalty[level[0]])))
        forcing = _forcing(greatest[:, left], previous[:, here], tolerance)
        previous[:, here] = greatest[:, left]
        step = _conjugate_gradients(problem, point, here, curvatures, forcing)
        weight, point = _search(problem, weight, problem.penalty[here], point, step)


def _forcing(greatest: Tensor, before: Tensor, tolerance: float) -> Tensor:
    """To which share of the gradient a step is solved: as closely as the last steps lowered it (Eisenstat and Walker)."""
    enough = min(LAST * tolerance, 1.0) / greatest.clamp(min=1e-300)
    return (0.9 * (greatest / before).square()).clamp(1e-4, LOOSE).maximum(enough.clamp(max=LOOSE)).float()


def _search(problem: Problem, weight: Tensor, penalty: Tensor, point: _Point, step: Tensor) -> tuple[Tensor, _Point]:
    """The step, halved for each fit until its objective falls enough; rounding decides nothing."""
    slope = (point.gradient * step).sum((2, 3))
    rounding = 1e-13 * (1e-3 + point.objective.abs())
    size = torch.ones_like(slope)
    for _ in range(HALVINGS):
        moved = weight + size[:, :, None, None] * step
        there = _evaluate(problem, moved, penalty)
        enough = there.objective <= point.objective + 1e-4 * size * slope + rounding
        if bool(enough.all()):
            break
        size = torch.where(enough, size, size / 2)
    return moved, there


def _evaluate(problem: Problem, weight: Tensor, penalty: Tensor) -> _Point:
    """Mean cross-entropy and half the penalty, its gradient, and the probabilities, a block of rows at a time."""
    replicas, count, classes, width = weight.shape
    n = problem.x.shape[1]
    flat, into = weight.reshape(replicas, count * classes, width), weight.new_zeros(replicas, count * classes, width)
    p = torch.empty(replicas, count, classes, n, dtype=torch.float32)
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
    return _Point(total / n + 0.5 * penalty * weight[..., :-1].square().sum((2, 3)), gradient, p)


def _of_label(values: Tensor, y: Tensor) -> Tensor:
    """``(R, S, 1, n)``: of ``(R, S, K, n)`` what belongs to the label of each row."""
    return values.gather(2, y[:, None, None].expand(-1, values.shape[1], 1, -1))


def _curve(problem: Problem, p: Tensor, free: Tensor, v: Tensor) -> Tensor:
    """The Hessian times ``v``, in float32.

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


def _conjugate_gradients(
    problem: Problem, point: _Point, here: Tensor, curvatures: _Curvatures, forcing: Tensor
) -> Tensor:
    """The Newton step, solved until its residual is the given share of the gradient; what is solved drops out."""
    residual, p, free = -_centred(point.gradient).float(), point.p, problem.free(problem.penalty[here].float())
    whole = torch.zeros_like(residual)
    at, target, step = torch.arange(len(here)), forcing * residual.abs().amax((2, 3)), whole.clone()
    precondition = curvatures.nearest(here)
    way = precondition(residual)
    energy = (residual * way).sum((2, 3))
    for _ in range(INNER):
        curved = _curve(problem, p, free, way)
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
    return _centred(whole.double())


def _share(part: Tensor, of: Tensor, where: Tensor) -> Tensor:
    return torch.where(where & (of > 0), part / of, 0.0)[:, :, None, None]


def _inverse_curvature(problem: Problem, p: Tensor, penalty: float) -> Tensor:
    """The inverse of the Hessian's blocks of single classes, ``(R, K or 1, D, D)`` float32, on some of the rows.

    Rows are taken in proportion to their weight, evenly and without chance. Where the penalty is large one matrix
    serves all classes.
    """
    replicas, n, width = problem.half.shape
    weights = p.double() * (1 - p)
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
    found = torch.empty(replicas, weights.shape[1], width, width)
    for replica in range(replicas):
        for each, (some, factor) in enumerate(zip(chosen[replica], scale[replica], strict=True)):
            x = problem.half[replica, some] * (factor / n).sqrt().float()[:, None]
            square = (x.T @ x).double()
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
            out, centred = torch.empty_like(gradient), _centred(gradient).transpose(1, 2)
            for each, members in groups.items():
                out[:, members] = (centred[:, :, members] @ self.known[each]).transpose(1, 2)
            return _centred(out)

        return precondition


def _centred(weight: Tensor) -> Tensor:
    """Weights that sum to zero over the classes, as those of the optimum do."""
    return weight - weight.mean(2, keepdim=True)
