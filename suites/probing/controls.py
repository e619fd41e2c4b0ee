"""What features are held against: the raw numbers, the same whitened, and the same network before it learned."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from torchstone.models.model import Model
from torchstone.models.randomness import seeded
from torchstone.models.training import out_of_reach, reset
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.probing.probes import Probes
from torchstone.suites.probing.task import Task

__all__ = ["Controls", "pixels", "untrained", "whitened"]

SMALL = 1e-6  # of the largest standard deviation: directions that vary less carry rounding


@final
@dataclass(frozen=True, slots=True)
class Controls:
    """What the model's own features are held against.

    Attributes:
        tasks: features of the same network with random weights, several times.
        random: the probes of each of these.
        fixed: the probes of features that nobody learns, by name.
    """

    tasks: tuple[Task, ...]
    random: tuple[Probes, ...]
    fixed: Mapping[str, Probes]

    @property
    def all(self) -> tuple[Probes, ...]:
        """The probes of all of them."""
        return *self.random, *self.fixed.values()


def pixels(data: Dataset, split: str) -> Tensor:
    """The numbers of each example as stored, ``(N, dims)`` float32."""
    return data.split(split).x.flatten(1).float()


def whitened(train: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the principal axes of ``train``, ``(N, D)``, each axis with variance one; axes without any are left out.

    Where there are more dimensions than examples, there are as many axes as examples less one.
    """
    mean = train.double().mean(0)
    centred = train.double() - mean
    if centred.shape[1] <= len(centred):
        variance, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
        spread, axes = variance.clamp_min(0).sqrt(), vectors.T
    else:
        _, size, axes = torch.linalg.svd(centred, full_matrices=False)
        spread = size / len(centred) ** 0.5
    kept = spread > SMALL * spread.amax().clamp_min(torch.finfo(torch.double).tiny)
    if not bool(kept.any()):
        return torch.zeros(len(train), 1), torch.zeros(len(other), 1)
    projection = (axes[kept] / spread[kept, None]).T
    return (centred @ projection).float(), ((other.double() - mean) @ projection).float()


def untrained(model: Model, rng: torch.Generator) -> Model | str:
    """A copy of ``model`` with weights as before any training, drawn by ``rng``; or why there is none, as a sentence.

    Every module is initialised by its own ``reset_parameters``. What is left of a trained network would make the
    control too good, so one that keeps a parameter of its own without that method has none.
    """
    name = type(model).__name__
    if not isinstance(model, nn.Module) or not model.state_dict():
        return f"{name} has learned nothing that could be undone, so it has no control of random weights."
    try:
        fresh = copy.deepcopy(model)
    except Exception as error:
        return f"{name} cannot be copied ({type(error).__name__}), so it has no control of random weights."
    before = {key: value.clone() for key, value in fresh.state_dict().items()}
    with seeded(rng):
        reset(fresh)
    if (kept := _kept(fresh, before)) is not None:
        return (
            f"{name} keeps {kept} when its modules are initialised afresh, so it has no control of random weights; "
            "give the module that holds it a reset_parameters method."
        )
    return fresh.eval()


def _kept(fresh: nn.Module, before: dict[str, Tensor]) -> str | None:
    """What is as it was before though nothing says that it ought to be; None where nothing is."""
    after = fresh.state_dict()
    same = [key for key, value in after.items() if torch.equal(value, before[key])]
    if len(same) == len(after):
        return "all of its weights"
    return next((key for key in out_of_reach(fresh) if key in same), None)
