"""What timed calls returned: looked at after the clock has stopped, and never thrown away unseen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn

from torchstone.models.model import Discrete, Space

__all__ = ["Kept", "Outputs", "content"]

ROUNDING = 1e-5  # of the width of a support
ROWS = 4096  # samples whose twins are looked for


@final
@dataclass(frozen=True, slots=True)
class Kept:
    """The output of one call.

    Attributes:
        n: how many examples it was for.
        number: of the call.
        output: the very tensor that was returned.
        copy: what it held when the clock had stopped, on the CPU.
    """

    n: int
    number: int
    output: Tensor
    copy: Tensor

    @property
    def changed(self) -> bool:
        """Whether the tensor holds something else by now."""
        return content(self.output.detach().cpu()) != content(self.copy)


@final
@dataclass
class Outputs:
    """The outputs of all timed calls of one question.

    A digest of every one is kept, and the outputs themselves of calls 1, 2, 4, 8, … so that those of late calls are
    among them.

    Attributes:
        space: of samples; None where outputs are numbers per example.
        digests: of the content of each output.
        kept: some of them.
        faults: what was wrong with one, the first of each kind, in sentences by kind.
        rows: digests of single samples, the first ``ROWS``.
    """

    space: Space | None
    digests: list[bytes] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    rows: list[bytes] = field(default_factory=list)

    def take(self, n: int, number: int, output: object, copy: Tensor | None) -> None:
        """Look at what a call for ``n`` examples returned; ``copy`` is its content on the CPU, if it has one."""
        if copy is None or not isinstance(output, Tensor):
            self.faults.setdefault("type", f"A call returned a {type(output).__name__}, and a tensor is due.")
            return
        if type(output) not in (Tensor, nn.Parameter):
            words = f"A call returned a {type(output).__name__}, which may compute its values when it is used."
            self.faults.setdefault("lazy", words)
        for kind, words in self._wrong(n, copy).items():
            self.faults.setdefault(kind, words)
        self.digests.append(content(copy))
        if self.space is not None and len(self.rows) < ROWS and len(copy) == n:
            self.rows.extend(content(row) for row in copy[: ROWS - len(self.rows)])
        calls = len(self.digests)
        if calls & (calls - 1) == 0:
            self.kept.append(Kept(n, number, output, copy))

    def twins(self) -> int:
        """How many of the samples looked at equal another one."""
        return len(self.rows) - len(set(self.rows))

    def repeated(self) -> int:
        """How many outputs equal an earlier one as a whole."""
        return len(self.digests) - len(set(self.digests))

    def shared(self) -> int:
        """How many kept outputs lie in the storage of another one."""
        places = [kept.output.untyped_storage().data_ptr() for kept in self.kept if kept.output.numel()]
        return len(places) - len(set(places))

    def _wrong(self, n: int, copy: Tensor) -> dict[str, str]:
        """In what an output is not what is due."""
        if copy.ndim == 0 or len(copy) != n:
            return {"shape": f"A call for {n} examples returned shape {tuple(copy.shape)}."}
        if self.space is None:
            if not copy.is_floating_point():
                return {"dtype": f"A call returned {copy.dtype} where floating-point numbers are due."}
            return {} if bool(copy.isfinite().all()) else {"finite": "Some numbers that were returned are not finite."}
        if tuple(copy.shape[1:]) != self.space.event_shape:
            return {"shape": f"A call for {n} samples returned shape {tuple(copy.shape)}."}
        return _outside(copy, self.space)


def _outside(x: Tensor, space: Space) -> dict[str, str]:
    support = space.support
    if isinstance(support, Discrete):
        if x.is_floating_point():
            return {"dtype": f"Samples are {x.dtype} on {support}: integers are due."}
        low, high, slack = 0.0, support.levels - 1.0, 0.0
    else:
        low, high = support.low, support.high
        slack = ROUNDING * (high - low) if support.bounded else 0.0
    if not bool(x.isfinite().all()):
        return {"finite": "Some samples are not finite."}
    if bool(((x < low - slack) | (x > high + slack)).any()):
        return {"support": f"Some samples lie outside of {support}."}
    return {}


def content(x: Tensor) -> bytes:
    """A digest of the values, shape and type of ``x``, which is on the CPU."""
    plain = x.detach().contiguous()
    raw = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    return hashlib.blake2b(raw + f"{tuple(x.shape)} {x.dtype}".encode(), digest_size=12).digest()
