"""Examples as a model takes them: in blocks, on its device, in its type, dequantised where that is due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.models.checks import model_dtype, space_of
from torchstone.models.model import Model
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.dequantisation import dequantiser_for

__all__ = ["Examples", "Rows"]


@final
@dataclass(frozen=True, slots=True)
class Rows:
    """Some examples: ``x`` of shape ``(N, *event)``, and labels ``(N,)`` where the model takes them."""

    x: Tensor
    y: Tensor | None

    def __len__(self) -> int:
        return self.x.shape[0]


@final
class Examples:
    """One split, for one model, in blocks of fixed size that fix the random numbers.

    Attributes:
        size: of a block.
        ids: of all examples.
        dequantised: whether noise is added, one draw to each example.
        constant: nats to be added to a log-density of the model, for one of the data as stored.
    """

    def __init__(self, model: Model, data: Dataset, split: str, block: int, context: Context) -> None:
        self._split, self._name, self._context = data.split(split), split, context
        self.size = block
        self._dtype = model_dtype(model)
        self._conditional = space_of(model).classes is not None
        self._dequantiser = dequantiser_for(model, data.space)
        self.ids = self._split.ids
        self.dequantised = self._dequantiser is not None
        self.constant = 0.0 if self._dequantiser is None else self._dequantiser.log_volume

    def __len__(self) -> int:
        return len(self._split)

    @property
    def blocks(self) -> int:
        """How many blocks there are; the last may be short."""
        return -(-len(self) // self.size)

    def block(self, number: int) -> tuple[int, int, Rows]:
        """Where a block begins and ends, and its examples."""
        start, stop = number * self.size, min((number + 1) * self.size, len(self))
        x, y = self._split.batch(start, stop)
        if self._dequantiser is not None:
            rng = self._context.rng(f"{self._name}/dequantisation", number, device="cpu")
            x = self._dequantiser(x, rng, self._dtype or torch.get_default_dtype())
        elif x.is_floating_point() and self._dtype is not None:
            x = x.to(self._dtype)
        device = self._context.device
        return start, stop, Rows(x.to(device), y.to(device) if self._conditional and y is not None else None)

    def first(self, n: int) -> Rows:
        """The first ``n`` examples, or all where there are fewer: the same ones, with the same noise, as in blocks."""
        n = min(n, len(self))
        found = [self.block(number)[2] for number in range(-(-n // self.size))]
        labels = [rows.y for rows in found if rows.y is not None]
        return Rows(torch.cat([rows.x for rows in found])[:n], torch.cat(labels)[:n] if labels else None)
