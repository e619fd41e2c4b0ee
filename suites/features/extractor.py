"""What an extractor is: images to features, and the facts that two numbers must share to be compared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from torchstone.models.model import Space
from torchstone.results.record import Flat

__all__ = ["Extractor", "ExtractorError", "Features"]


class ExtractorError(Exception):
    """An extractor cannot be had or cannot take these data. The message says why, and what to do next."""


@final
@dataclass(frozen=True, slots=True)
class Features:
    """Features ``(N, D)`` of N examples, float32 on the CPU, and logits ``(N, C)`` where a classifier gives them."""

    values: Tensor
    logits: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, index: Tensor) -> Features:
        """Those of the examples that ``index`` names."""
        return Features(self.values[index], None if self.logits is None else self.logits[index])


class Extractor(ABC):
    """Maps examples, as data are stored, to features.

    Attributes:
        name: what it is called in records.
        classes: what its logits are of, in words; empty where it has none.
        toy: whether nobody should take its numbers for those of a trained network.
    """

    name: ClassVar[str]
    classes: ClassVar[str] = ""
    toy: ClassVar[bool] = False

    @property
    @abstractmethod
    def facts(self) -> Flat:
        """What moves a number: hash of the weights, resize, dimensions; flat."""

    @abstractmethod
    def __call__(self, x: Tensor, space: Space, device: torch.device) -> Features:
        """Features of a batch ``(N, *event)`` of examples of ``space``."""
