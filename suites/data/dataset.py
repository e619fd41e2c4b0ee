"""What a dataset is: fixed splits of examples, the space they live in, and a fingerprint of every byte."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from torchstone.models.model import Discrete, ExplicitExact, Sampler, Space, Split

__all__ = ["DataError", "Dataset", "Source"]


class DataError(Exception):
    """A dataset cannot be had as asked for. The message is one sentence that says why, and what to do next."""


class Source(ExplicitExact, Sampler):
    """A synthetic source: its density is computed exactly, and so is its ``entropy``, in nats per example."""

    @property
    @abstractmethod
    def entropy(self) -> float:
        """The entropy in nats per example (differential for continuous sources)."""


@dataclass(frozen=True)
class Dataset:
    """Three disjoint splits of examples.

    Attributes:
        name: what it is called in records.
        space: shape, support and classes of its examples, as stored.
        splits: ``train``, ``validation`` and ``test``.
        licence: under which the data may be used.
        variant: choices that make these data others than their namesakes' (binarisation, crop, window); flat.
        text: whether an example is a window of bytes, measured in bits per byte and never in bits per dimension.
        source: the density that the examples were drawn from, where it is known.
    """

    name: str
    space: Space
    splits: Mapping[str, Split]
    licence: str
    variant: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    text: bool = False
    source: Source | None = None

    def __post_init__(self) -> None:
        """Hold every split to what the dataset declares. Values are looked at when they are used."""
        for name, split in self.splits.items():
            problem = _problem(split, self.space)
            if problem:
                raise DataError(f"{self.name} ({name}): {problem}")

    def split(self, name: str) -> Split:
        """The split called ``name``: train, validation or test."""
        try:
            return self.splits[name]
        except KeyError:
            raise DataError(f"{self.name} has no split {name!r}; it has {', '.join(self.splits)}.") from None

    def contract(self, split: str | None = None) -> dict[str, str | int | float | bool | None]:
        """What numbers on these data must share to be compared; with those of one ``split``, where it is named."""
        shared = {
            "data": self.fingerprint,
            "dataset": self.name,
            **{f"variant.{key}": value for key, value in self.variant.items()},
        }
        if split is None:
            return shared
        support = self.space.support
        return {
            **shared,
            "split": split,
            "examples": len(self.split(split)),
            "dims": self.space.dims,
            "support": f"discrete-{support.levels}" if isinstance(support, Discrete) else "continuous",
        }

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over bytes, shape and dtype of every tensor of every split."""
        sha = hashlib.sha256()
        for name, split in sorted(self.splits.items()):
            parts = {"x": split.x, "y": split.y, "ids": split.ids, "intensities": split.intensities}
            for part, tensor in parts.items():
                if tensor is not None:
                    sha.update(f"{name}/{part}/{tuple(tensor.shape)}/{tensor.dtype}/".encode())
                    sha.update(_bytes(tensor))
        return sha.hexdigest()


def _problem(split: Split, space: Space) -> str | None:
    """In what a split is not what ``space`` declares, as a sentence; None where it is."""
    n = len(split)
    if n == 0:
        return "there are no examples; give it some, or choose other splits."
    if tuple(split.x.shape[1:]) != space.event_shape:
        return f"examples have shape {tuple(split.x.shape[1:])} and {space.event_shape} is declared."
    if split.x.is_floating_point() == isinstance(space.support, Discrete):
        return f"examples are {split.x.dtype} and {space.support} is declared; discrete data are integers, others not."
    if split.ids.shape != (n,) or len(set(split.ids.tolist())) != n:
        return "ids must name every example, and each another one."
    if (split.y is None) != (space.classes is None):
        return f"classes={space.classes} is declared and there are {'no ' if split.y is None else ''}labels."
    if split.y is not None and space.classes is not None and not _are_labels(split.y, n, space.classes):
        return f"labels must be int64 from 0 to {space.classes - 1}, one for each example."
    return None


def _are_labels(y: Tensor, n: int, classes: int) -> bool:
    return y.shape == (n,) and y.dtype == torch.int64 and 0 <= int(y.min()) and int(y.max()) < classes


def _bytes(tensor: Tensor) -> memoryview:
    content: memoryview = tensor.detach().cpu().contiguous().view(torch.uint8).reshape(-1).numpy().data
    return content
