"""Log-densities do not depend on the arithmetic they are computed in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, final

import torch
from torch import Tensor

from torchstone.models.model import ExplicitApproximate, ExplicitExact
from torchstone.suites.audits.arithmetic import computing_in
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.rows import answers, rows_of, what
from torchstone.suites.audits.subject import Subject
from torchstone.suites.metrics.units import bits_per_dim

__all__ = ["Precision"]

EXAMPLES = 64
MOST = 1e-3  # bits/dim


@final
class Precision(Audit):
    """The same examples in double precision, and with coarse products of matrices, as torch may take them for speed.

    A headline that either moves by more than 0.001 bits/dim is flagged. Half precision adds three thousand terms of two
    nats to 8192 in place of 6388; single precision is far from harm. Coarse products are TF32 on a GPU; most CPUs have
    none and take the exact ones.
    """

    name: ClassVar[str] = "precision"
    claim: ClassVar[str] = "The headline would be the same in double precision and with TF32, to 0.001 bits/dim."

    def audit(self, subject: Subject) -> Finding:
        """Flag log-densities that double precision moves."""
        model = subject.model
        if not isinstance(model, ExplicitExact | ExplicitApproximate) or not what(subject):
            return Finding.not_applicable("The model gives no log-density that could be computed twice.")
        x, y = subject.test(EXAMPLES)
        rows = rows_of(subject, x, y, "precision")
        own = answers(subject, rows)
        try:
            with computing_in(model, torch.float64) as arithmetic:
                exact = answers(subject, rows)
        except Exception as error:
            return Finding.inconclusive(f"In double precision it raises {type(error).__name__}: it was not compared.")
        with _coarse_products():
            coarse = answers(subject, rows)
        kept = "" if arithmetic.pure else " Part of it stayed in lower precision all the same."
        unit = bits_per_dim(1.0, subject.space.dims)
        apart = _apart(own, exact).max(1).values
        moved = float(unit * _apart(own, coarse).max(1).values.mean())
        bits = max(float(unit * apart.mean()), moved)
        words = (
            f"{', '.join(what(subject))} of {len(x)} examples in {_name(subject)} and in double precision are apart by "
            f"{float(unit * apart.mean()):.3g} bits/dim on average, {unit * float(apart.max()):.3g} at most.{kept}"
            f" Coarse products of matrices move them by {moved:.3g}."
        )
        if bits < MOST:
            return Finding(Verdict.PASS, Grade.INVARIANT, words, bits)
        return Finding(Verdict.FLAG, Grade.INVARIANT, words, bits)


@contextmanager
def _coarse_products() -> Iterator[None]:
    """Within the block products of float32 matrices may round their factors to TF32, where the device can."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _apart(own: Tensor, exact: Tensor) -> Tensor:
    """``|own - exact|`` in nats; equal infinities are equal, and what is finite in one arithmetic only is infinite."""
    same = (own == exact) | (own.isnan() & exact.isnan())
    return torch.where(same, 0.0, (own - exact).abs().nan_to_num(torch.inf, torch.inf))


def _name(subject: Subject) -> str:
    return "its own arithmetic" if subject.dtype is None else str(subject.dtype).removeprefix("torch.")
