"""The linear probe: which strength of its penalty is chosen, and on what; the test split is asked about once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, final

import torch
from torch import Tensor

from torchstone.models.model import ModelError
from torchstone.suites.metrics.classification import credit
from torchstone.suites.metrics.logistic import fit_logistic
from torchstone.suites.metrics.selection import held_out_tenth, stratified_folds
from torchstone.suites.probing.task import Task

__all__ = ["Linear", "Selection", "grid", "linear_probe", "selection_of", "shuffled_probes"]

EXTENSIONS = 3  # how often a grid may grow by a decade at an end
BLOCK = 1000  # held-out examples that are asked about at once
FOLDS, FEW = 5, 5000  # of cross-validation, with fewer training examples than these
Selection: TypeAlias = Literal["auto", "tenth", "folds"]


@final
@dataclass(frozen=True, slots=True)
class Linear:
    """A fitted linear probe.

    Attributes:
        log_prob: of each class of each test example, ``(N, C)``.
        credits: of the test examples, ``(N,)``: one where the most probable label is right.
        train_credits: of the training examples.
        weight: ``(C, D)``, of standardised features.
        bias: ``(C,)``.
        strength: the C that was chosen.
        at_edge: whether it is the last of a grid that was extended as far as it may be.
        unconverged: how many strengths were left out, as the solver did not reach their optimum.
        held: accuracies on what was held out, by strength.
    """

    log_prob: Tensor
    credits: Tensor
    train_credits: Tensor
    weight: Tensor
    bias: Tensor
    strength: float
    at_edge: bool
    unconverged: int
    held: tuple[tuple[float, float], ...]


@final
class _Held(NamedTuple):
    """What a strength is worth on what was held out: its accuracy, and among equal ones its log-probability in nats."""

    accuracy: float
    log_prob: float


def grid(count: int) -> Tensor:
    """``count`` strengths from 10⁻⁶ to 10⁵, evenly spaced in their logarithm.

    Source: the linear evaluation of DINOv2 (Oquab et al., 2023; arXiv:2304.07193), which has 45.
    """
    return torch.logspace(-6, 5, count, dtype=torch.double)


def linear_probe(task: Task, count: int, selection: Selection, rng: torch.Generator) -> Linear:
    """Multinomial logistic regression with an L2 penalty, whose strength is chosen on held-out training examples.

    A tenth of them, or five folds where there are few. The probe is fitted again on all of them with the strength that
    was chosen, and then asked about the test split, once. A best strength at an end of the grid extends the grid.

    Raises:
        ModelError: where the solver does not converge.
    """
    strengths = grid(count)
    rows = _held_out(task, selection, rng)
    found: dict[float, _Held] = {}
    unconverged = _tried(task, strengths, rows, found)
    for _ in range(EXTENSIONS):
        best, end = _best(found)
        if end == 0:
            break
        more = _decade(best, end, strengths)
        unconverged += _tried(task, more, rows, found)
    best, end = _best(found)
    fitted = fit_logistic(task.train, task.y, torch.tensor([best], dtype=torch.double), task.classes)
    if not bool(fitted.converged.all()):
        raise ModelError(
            f"The linear probe does not converge at C = {best:.3g} (gradient {float(fitted.gradient[0]):.2g}): look at "
            "the scale of the features."
        )
    log_prob = fitted.log_prob(task.test)[0]
    return Linear(
        log_prob,
        credit(log_prob, task.test_y),
        fitted.credits(task.train, task.y)[0],
        fitted.weight[0],
        fitted.bias[0],
        best,
        end != 0,
        unconverged,
        tuple((strength, held.accuracy) for strength, held in sorted(found.items())),
    )


def shuffled_probes(task: Task, strength: float, rounds: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """The same probe with its training labels shuffled, ``rounds`` times: credits on test, and on its own labels.

    Returns:
        ``(rounds, N_test)`` and ``(rounds, N_train)`` credits, and ``(rounds,)`` the accuracies on test that the same
        answers would have by chance: the sum over labels of how often each is given times how often it is right.
    """
    frequency = torch.bincount(task.test_y, minlength=task.classes).double() / len(task.test_y)
    expected = []
    chosen, test, train = torch.tensor([strength], dtype=torch.double), [], []
    for _ in range(rounds):
        y = task.y[torch.randperm(len(task.y), generator=rng)]
        fitted = fit_logistic(task.train, y, chosen, task.classes)
        test.append(fitted.credits(task.test, task.test_y))
        train.append(fitted.credits(task.train, y))
        given = torch.bincount(fitted.log_prob(task.test)[0].argmax(1), minlength=task.classes).double()
        expected.append(given @ frequency / len(task.test_y))
    return torch.cat(test), torch.cat(train), torch.stack(expected)


def selection_of(selection: Selection, n: int) -> str:
    """What the strength is chosen on: a tenth, or folds, which ``auto`` takes where there are few examples."""
    return ("folds" if n < FEW else "tenth") if selection == "auto" else selection


def _held_out(task: Task, selection: Selection, rng: torch.Generator) -> Sequence[Tensor]:
    """Masks of what is held out, one for each fit."""
    if selection_of(selection, len(task.y)) == "folds":
        fold = stratified_folds(task.y, FOLDS, rng)
        return [fold == k for k in range(FOLDS)]
    return [held_out_tenth(task.y, rng)]


def _tried(task: Task, strengths: Tensor, rows: Sequence[Tensor], found: dict[float, _Held]) -> int:
    """Put what each strength is worth in ``found``; how many were left out, as they did not converge."""
    credits, nats = torch.zeros(2, len(strengths), dtype=torch.double)
    converged, n = torch.ones(len(strengths), dtype=torch.bool), 0
    for held in rows:
        fitted = fit_logistic(task.train[~held], task.y[~held], strengths, task.classes)
        for x, y in zip(torch.split(task.train[held], BLOCK), torch.split(task.y[held], BLOCK), strict=True):
            log_prob = fitted.log_prob(x)
            credits += torch.stack([credit(each, y).sum() for each in log_prob])
            nats += log_prob[:, torch.arange(len(y)), y].sum(1)
            n += len(y)
        converged &= fitted.converged
    for strength, right, told, good in zip(
        *(each.tolist() for each in (strengths, credits, nats, converged)), strict=True
    ):
        if good:
            found[strength] = _Held(right / n, told / n)
    return int((~converged).sum())


def _best(found: Mapping[float, _Held]) -> tuple[float, int]:
    """The strength that is worth most, the smallest of equals; and whether it is the lowest (-1) or highest (1) of all.

    Raises:
        ModelError: where none was solved.
    """
    if not found:
        raise ModelError("The linear probe does not converge at any strength: look at the scale of the features.")
    best = max(sorted(found), key=found.__getitem__)
    return best, (best == max(found)) - (best == min(found))


def _decade(best: float, end: int, strengths: Tensor) -> Tensor:
    """Strengths beyond ``best``, at the low (-1) or the high end (1), spaced as they were, for a decade."""
    step = float(strengths[1].log10() - strengths[0].log10()) if len(strengths) > 1 else 1.0
    count = max(1, round(1 / step))
    return best * 10.0 ** (end * step * torch.arange(1, count + 1, dtype=torch.double))
