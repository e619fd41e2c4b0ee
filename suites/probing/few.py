"""Probes with few labels: which examples are labelled is drawn again and again, the same for every model."""

from __future__ import annotations

import torch
from torch import Tensor

from torchstone.models.model import ModelError
from torchstone.suites.metrics.logistic import fit_logistics
from torchstone.suites.probing.task import Task

__all__ = ["STRENGTH", "few_label_credits", "labelled_draws"]

STRENGTH = 1.0  # of the penalty: so few labels leave none to choose it on


def labelled_draws(y: Tensor, classes: int, per_class: int, rounds: int, rng: torch.Generator) -> Tensor | None:
    """Rows of ``per_class`` examples of each class, drawn without replacement, ``(rounds, classes · per_class)``.

    None where a class has fewer.
    """
    if int(torch.bincount(y, minlength=classes).min()) < per_class:
        return None
    order = torch.rand(rounds, len(y), generator=rng, dtype=torch.double).argsort(1)
    members = [order[(y == label)[order]].view(rounds, -1)[:, :per_class] for label in range(classes)]
    return torch.cat(members, 1)


def few_label_credits(task: Task, rows: Tensor) -> Tensor:
    """Credits of the test examples by a probe on each draw of labelled ones, ``(R, N)``.

    Features are on the scale of the whole training split, of which no label is needed.

    Raises:
        ModelError: where the solver does not converge.
    """
    fitted = fit_logistics(task.train[rows], task.y[rows], torch.tensor([STRENGTH]), task.classes)
    if not all(bool(each.converged.all()) for each in fitted):
        raise ModelError("A probe with few labels does not converge: look at the scale of the features.")
    return torch.cat([each.credits(task.test, task.test_y) for each in fitted])
