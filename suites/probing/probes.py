"""The linear probes of one set of features: with all labels, and with few."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.suites.context import Context
from torchstone.suites.kept import content_key, kept_tensors
from torchstone.suites.probing.few import few_label_credits, labelled_draws
from torchstone.suites.probing.linear import Linear, Selection, linear_probe
from torchstone.suites.probing.task import Task

__all__ = ["Probes", "Protocol"]

VERSION = 1  # of what is kept: raised whenever a number in it would change


@final
@dataclass(frozen=True, slots=True)
class Probes:
    """What linear probes of one set of features got right.

    Attributes:
        linear: with all labels.
        few: credits ``(draws, N)`` of test examples, by labels per class.
    """

    linear: Linear
    few: Mapping[int, Tensor]


@final
@dataclass(frozen=True, slots=True)
class Protocol:
    """How linear probes are fitted: the same for a model's features and for every control.

    Attributes:
        strengths: how many are on the grid.
        selection: on what one is chosen.
        labels: per class.
        draws: of the labelled examples.
    """

    strengths: int
    selection: Selection
    labels: tuple[int, ...]
    draws: int

    def probe(self, task: Task, what: str, context: Context) -> Probes:
        """Fit all probes of ``task``; numbers of labels that a class has not are left out."""
        steps = 1 + len(self.labels)
        context.progress(f"probes of {what}", 0, steps)
        linear = linear_probe(task, self.strengths, self.selection, context.rng("linear", device="cpu"))
        few = {}
        for done, n in enumerate(sorted(set(self.labels)), 1):
            context.progress(f"probes of {what}", done, steps)
            rng = context.rng(f"labels/{n}", device="cpu")
            rows = labelled_draws(task.y, task.classes, n, self.draws, rng)
            if rows is not None:
                few[n] = few_label_credits(task, rows)
        return Probes(linear, few)

    def kept(self, task: Task, what: str, context: Context) -> Probes:
        """The same, from the context's cache where it holds them: of features that are the same for every model."""
        facts = [VERSION, self.strengths, self.selection, list(self.labels), self.draws, context.seed, task.classes]
        key = content_key(facts, [task.train, task.y, task.test, task.test_y])
        found = kept_tensors(
            context.cache, key, lambda: _tensors(self.probe(task, what, context)), lambda kept: "log_prob" in kept
        )
        return _probes(found)


def _tensors(probes: Probes) -> dict[str, Tensor]:
    linear = probes.linear
    found = {
        "log_prob": linear.log_prob, "credits": linear.credits, "train_credits": linear.train_credits,
        "weight": linear.weight, "bias": linear.bias, "held": torch.tensor(linear.held, dtype=torch.double),
        "facts": torch.tensor([linear.strength, linear.at_edge, linear.unconverged], dtype=torch.double),
    }  # fmt: skip
    return found | {f"few {n}": credits for n, credits in probes.few.items()}


def _probes(tensors: Mapping[str, Tensor]) -> Probes:
    strength, at_edge, unconverged = tensors["facts"].tolist()
    few = {int(name.removeprefix("few ")): each for name, each in tensors.items() if name.startswith("few ")}
    linear = Linear(
        tensors["log_prob"], tensors["credits"], tensors["train_credits"], tensors["weight"], tensors["bias"], strength,
        bool(at_edge), int(unconverged), tuple((c, right) for c, right in tensors["held"].tolist()),
    )  # fmt: skip
    return Probes(linear, dict(sorted(few.items())))
