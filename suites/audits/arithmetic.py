"""The same adapter in other arithmetic: what rounding makes shrinks with it, and what an adapter makes does not."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["BEYOND", "ROUNDING", "Arithmetic", "Difference", "computing_in", "difference", "doubled", "gap"]

ROUNDING = 1e-9
"""Relative to ``1 + |value|``; in double precision anything below is put down to rounding."""
BEYOND = 1e-3
"""An excess of a sum of probabilities over one that rounding in single precision does not make."""
SHRINKS = 1e-3
"""From single to double precision a rounding error shrinks by nine digits; by three at least is asked."""
UNDERFLOW = -700.0
"""Below this a log-probability may underflow to minus infinity in one order of summation and not in another."""
Answer = TypeVar("Answer")
_CASTS = (Tensor.float, Tensor.double, Tensor.half, Tensor.bfloat16)


@final
@dataclass
class Arithmetic:
    """The floating-point types that a computation really used; those of its operations' results."""

    asked: torch.dtype
    used: set[torch.dtype] = field(default_factory=set)

    @property
    def pure(self) -> bool:
        """Whether everything was computed as was asked."""
        return self.used <= {self.asked}


@contextmanager
def computing_in(model: object, dtype: torch.dtype) -> Iterator[Arithmetic]:
    """Within the block ``model`` computes in ``dtype``, and gets back exactly what it had.

    Every floating-point tensor that the model holds is converted, the default type is ``dtype``, and whoever asks for
    another floating-point type within the block is given this one. What escapes (numpy, constants of a class) is seen
    in `Arithmetic.pure`.
    """
    kept = [(tensor, tensor.data) for tensor in _tensors(model)]
    default, arithmetic = torch.get_default_dtype(), Arithmetic(dtype)
    try:
        for tensor, data in kept:
            tensor.data = data.to(dtype)
        torch.set_default_dtype(dtype)
        with _Forced(dtype), _Watched(arithmetic):
            yield arithmetic
    finally:
        torch.set_default_dtype(default)
        for tensor, data in kept:
            tensor.data = data


def doubled(model: object, question: Callable[[], Answer]) -> Answer | None:
    """The answer to ``question`` with ``model`` computing in float64; None where it cannot."""
    try:
        with computing_in(model, torch.float64):
            return question()
    except Exception:
        return None


@final
@dataclass(frozen=True, slots=True)
class Difference:
    """How far answers that must be equal differ.

    Attributes:
        own: the greatest difference in the adapter's own arithmetic, relative to ``1 + |value|``.
        double: the same in double precision, None where it was not asked or could not be.
        real: whether it is no rounding: it stays in double precision, and everything was computed in it.
        odd: whether it may be no rounding, and that could not be told apart.
        place: the index of the greatest difference, in double precision where there is one.
    """

    own: float
    double: float | None
    real: bool
    odd: bool
    place: int

    @property
    def words(self) -> str:
        """Both differences, for a witness."""
        return f"{self.own:.3g}" + ("" if self.double is None else f", and {self.double:.3g} in double precision")


def difference(model: object, gaps: Callable[[], Tensor]) -> Difference:
    """Whether answers differ by more than rounding makes.

    They are asked in the adapter's own arithmetic; where they differ at all, once more in double and in single
    precision. A difference is real where it exceeds `ROUNDING` in double precision and did not shrink on the way there
    from single precision, as every rounding error does, however badly conditioned the computation.

    Args:
        model: the adapter.
        gaps: asks it, and returns how far answers are apart, as `gap` has it, in any shape.
    """
    own = gaps().flatten()
    if not own.numel() or float(own.max()) == 0:
        return Difference(0.0, None, False, False, 0)
    greatest, place = float(own.max()), int(own.argmax())
    try:
        with computing_in(model, torch.float64) as arithmetic:
            exact = gaps().flatten()
    except Exception:
        return Difference(greatest, None, False, greatest > 1e-3, place)
    double, place = float(exact.max()), int(exact.argmax())
    if double <= ROUNDING:
        return Difference(greatest, double, False, False, place)
    coarse = _coarse(model, gaps)
    stays = double > (1e-6 if coarse is None else SHRINKS * coarse)
    return Difference(greatest, double, stays and arithmetic.pure, stays, place)


def gap(a: Tensor, b: Tensor) -> Tensor:
    """``|a - b| / (1 + |b|)``, elementwise in float64; equal infinities, and NaN beside NaN, are no difference.

    Minus infinity equals any log-probability that underflows; beside anything else it is infinitely far.
    """
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    same = (a == b) | (a.isnan() & b.isnan()) | ((a < UNDERFLOW) & (b < UNDERFLOW) & (a.isinf() | b.isinf()))
    apart = (a - b).abs() / (1 + b.abs())
    return torch.where(same, 0.0, torch.where(apart.isfinite(), apart, torch.inf))


def _coarse(model: object, gaps: Callable[[], Tensor]) -> float | None:
    """The greatest difference in single precision; None where it cannot be had."""
    try:
        with computing_in(model, torch.float32) as arithmetic:
            found = float(gaps().max())
    except Exception:
        return None
    return found if arithmetic.pure and found < torch.inf else None


def _tensors(root: object) -> list[Tensor]:
    """Every floating-point tensor that an object holds, itself or through what it holds."""
    found: dict[int, Tensor] = {}
    seen: set[int] = set()
    stack: list[Any] = [root]
    while stack:
        value = stack.pop()
        if id(value) in seen or isinstance(value, type | types.ModuleType | types.FunctionType | torch.Generator):
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            if value.is_floating_point():
                found[id(value)] = value
        elif isinstance(value, Mapping):
            stack.extend(value.values())
        elif isinstance(value, list | tuple | set):
            stack.extend(value)
        else:
            stack.extend(getattr(value, "__dict__", {}).values())
    return list(found.values())


@final
class _Forced(TorchFunctionMode):
    """Gives one floating-point type to whoever asks for any."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _CASTS:
            return args[0].to(self.dtype)
        return func(*map(self._forced, args), **{name: self._forced(value) for name, value in (kwargs or {}).items()})

    def _forced(self, value: Any) -> Any:
        return self.dtype if isinstance(value, torch.dtype) and value.is_floating_point else value


@final
class _Watched(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the floating-point types of the results of all operations."""

    def __init__(self, arithmetic: Arithmetic) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.arithmetic = arithmetic

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, list | tuple) else (result,):
            if isinstance(value, Tensor) and value.is_floating_point():
                self.arithmetic.used.add(value.dtype)
        return result
