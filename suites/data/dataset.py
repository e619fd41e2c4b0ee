"""What a dataset is: fixed splits of examples, the space they live in, and a fingerprint of every byte."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from torchstone.models.model import ExplicitExact, Sampler, Space, Split

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

    def split(self, name: str) -> Split:
        """The split called ``name``: train, validation or test."""
        try:
            return self.splits[name]
        except KeyError:
            raise DataError(f"{self.name} has no split {name!r}; it has {', '.join(self.splits)}.") from None

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


def _bytes(tensor: Tensor) -> memoryview:
    content: memoryview = tensor.detach().cpu().contiguous().view(torch.uint8).reshape(-1).numpy().data
    return content
