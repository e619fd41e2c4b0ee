"""Models that are small enough for all of their states to be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.models.checks import space_of
from torchstone.models.model import (
    Discrete,
    Enumerable,
    ExplicitApproximate,
    ExplicitExact,
    LatentVariable,
    Model,
    Space,
    Tokenised,
)
from torchstone.suites.audits.subject import Subject
from torchstone.suites.questions import ask_elbo, ask_importance_weighted, ask_log_prob

__all__ = ["MOST_STATES", "Small", "enumerable", "states_of", "tables"]

MOST_STATES = 2**16


@final
@dataclass(frozen=True)
class Small:
    """A model whose states can be enumerated, for every class that it takes.

    Attributes:
        subject: the model, seen as the audited one is; its data are not the model's where it is a tiny instance.
        whole: whether this is the audited model itself, and not its tiny instance.
    """

    subject: Subject
    whole: bool

    @property
    def model(self) -> Model:
        """The model."""
        return self.subject.model

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return "The model itself" if self.whole else "The tiny instance"


def enumerable(subject: Subject) -> Small | str:
    """The model itself where its states are few, its tiny instance where it has one, or why there is neither."""
    model, name = subject.model, type(subject.model).__name__
    if isinstance(model, Tokenised):
        return f"{name} has a vocabulary of its own, and sequences of different lengths cannot be enumerated."
    if _states(subject.space) <= MOST_STATES:
        return Small(subject, whole=True)
    if not isinstance(model, Enumerable):
        return f"{name} has no tiny(), so that no code path of its own can be enumerated: normalisation is declared."
    tiny = model.tiny()
    if type(tiny) is not type(model):
        return f"The tiny instance is of another class, {type(tiny).__name__}, and shows nothing of {name}."
    space = space_of(tiny)
    if not isinstance(space.support, Discrete):
        return f"The tiny instance of {name} is continuous, and is integrated rather than enumerated."
    if _states(space) > MOST_STATES:
        return f"The tiny instance of {name} has more than {MOST_STATES} states, too many to enumerate."
    return Small(subject.of_instance(tiny), whole=False)


def _states(space: Space) -> float:
    """How many pairs of a class and an example there are; infinitely many on a continuous support."""
    if not isinstance(space.support, Discrete):
        return float("inf")
    return float(space.classes or 1) * float(space.support.levels) ** min(space.dims, 64)


def states_of(space: Space) -> Tensor:
    """Every example of a discrete space, int64, ``(levels^dims, *event)``; the last position changes fastest."""
    assert isinstance(space.support, Discrete)
    levels = space.support.levels
    place = levels ** torch.arange(space.dims - 1, -1, -1)
    index = torch.arange(levels**space.dims)
    return (index[:, None] // place % levels).view(-1, *space.event_shape)


def tables(small: Small, purpose: str, *, samples: int = 1) -> Tensor:
    """``log p(x)`` of every state as answered, ``(classes, states)`` nats; one class where there are no labels.

    Args:
        small: the model; its answers are exact, weights or bounds, as its kind is.
        purpose: names the draws, where there are any.
        samples: importance samples of a latent-variable model.
    """
    subject, model = small.subject, small.model
    x, device = states_of(subject.space), subject.context.device
    classes = subject.space.classes
    rows = []
    for label in range(classes or 1):
        y = None if classes is None else torch.full((len(x),), label, device=device)
        answers = []
        for block, start in enumerate(range(0, len(x), subject.context.batch_size)):
            batch = x[start : start + subject.context.batch_size].to(device)
            labels = None if y is None else y[: len(batch)]
            rng = subject.context.rng(f"audit/{purpose}/{label}", block)
            if isinstance(model, ExplicitExact):
                answers.append(ask_log_prob(model, batch, labels))
            elif isinstance(model, LatentVariable):
                answers.append(ask_importance_weighted(model, batch, labels, samples, rng, subject.context))
            else:
                assert isinstance(model, ExplicitApproximate)
                answers.append(ask_elbo(model, batch, labels, rng))
        rows.append(torch.cat(answers))
    return torch.stack(rows)
