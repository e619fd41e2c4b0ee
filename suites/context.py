"""What a suite is given to work with: device, batches, randomness, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from torchstone.models.randomness import generator

__all__ = ["Context"]


def _silent(stage: str, done: int, total: int) -> None:
    """Report progress to nobody."""


@final
class Context:
    """Device, batch size, seeded generators and progress of one evaluation.

    Attributes:
        device: where the model is and its questions are asked.
        batch_size: examples (or importance samples) per question; it halves when memory runs out.
        halvings: how often it has halved.
        seed: of every stochastic question, together with its purpose and block.
        progress: called with a stage, and how much of how much of it is done.
        alone: whether this process was begun for this evaluation, and has done nothing else.
        fitted: whether the harness fitted the model, rather than being handed its weights.
        cache: a folder for what is costly and follows from content alone, such as features; None to keep nothing.
    """

    def __init__(
        self,
        *,
        device: torch.device | str = "cpu",
        batch_size: int = 256,
        seed: int = 0,
        progress: Callable[[str, int, int], None] = _silent,
        alone: bool = False,
        fitted: bool = True,
        cache: Path | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.batch_size = batch_size
        self.halvings = 0
        self.seed = seed
        self.progress = progress
        self.alone = alone
        self.fitted = fitted
        self.cache = cache

    def rng(self, purpose: str, block: int = 0, *, device: torch.device | str | None = None) -> torch.Generator:
        """A generator that depends on the seed, ``purpose`` and ``block`` alone; on this device unless told."""
        return generator(self.seed, purpose, block, self.device if device is None else device)

    def batches(
        self, total: int, question: Callable[[int, int], Tensor], *, scale: int = 1
    ) -> Iterator[tuple[int, int, Tensor]]:
        """Ask a deterministic question about rows ``start`` to ``stop``, batch after batch, and yield its answers.

        A batch has ``scale`` times as many rows as the batch size says, for rows that take less memory than examples.
        Where memory runs out the batch is halved and asked again; a single row that does not fit raises.
        """
        start, most = 0, scale * self.batch_size
        while start < total:
            stop = min(start + most, total)
            try:
                answer = question(start, stop)
            except Exception as error:
                if not out_of_memory(error) or stop - start == 1:
                    raise
                most = (stop - start) // 2
                self._shrink(-(-most // scale))
                continue
            yield start, stop, answer
            start = stop

    def _shrink(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.halvings += 1
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on whichever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        phrase in str(error) for phrase in ("can't allocate memory", "not enough memory", "out of memory")
    )
