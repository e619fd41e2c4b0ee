"""What can be asked of an adapter twice with one right answer, about chosen examples in a chosen order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from torchstone.models.model import (
    Discriminative,
    Encoder,
    ExplicitApproximate,
    ExplicitExact,
    LatentVariable,
    Model,
    ModelError,
)
from torchstone.models.randomness import draw
from torchstone.suites.audits.subject import Density, Subject
from torchstone.suites.questions import ask_elbo, ask_log_prob

__all__ = ["Rows", "answers", "asked", "own_rows", "rows_of", "steady", "what"]


@final
@dataclass(frozen=True, slots=True)
class Rows:
    """Examples as stored, ``(N, *event)``, labels where the model takes them, and a latent of each where it has any."""

    x: Tensor
    y: Tensor | None
    z: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> Rows:
        """The examples at ``index``, in its order, copied."""
        return Rows(self.x[index], None if self.y is None else self.y[index], None if self.z is None else self.z[index])


def rows_of(subject: Subject, x: Tensor, y: Tensor | None, purpose: str) -> Rows:
    """Examples with a latent of each, drawn from the model's posterior where it has one."""
    model = subject.model
    if not isinstance(model, LatentVariable):
        return Rows(x, y)
    with torch.no_grad():
        posterior = model.posterior(subject.own(x), _there(subject, y))
        z = draw(posterior, subject.context.rng(f"audit/{purpose}"))
    return Rows(x, y, z.cpu())


def what(subject: Subject) -> tuple[str, ...]:
    """The names of the columns of `answers`, those of vectors once."""
    model = subject.model
    return tuple(
        name
        for name, given in (
            ("log p(x)", isinstance(model, ExplicitExact)),
            ("log q(z|x), log p(z), log p(x|z)", isinstance(model, LatentVariable)),
            ("the bound", isinstance(model, ExplicitApproximate) and subject.density is Density.BOUND),
            ("features", isinstance(model, Encoder)),
            ("log p(y|x)", isinstance(model, Discriminative)),
        )
        if given
    )


def answers(subject: Subject, rows: Rows) -> Tensor:
    """Every answer that depends on nothing but the example, of all rows in one batch: ``(N, Q)``, float64.

    Densities of discrete data under continuous models are asked at the middle of the bin.
    """
    return asked(subject.model, own_rows(subject, rows), steady(subject))


def own_rows(subject: Subject, rows: Rows) -> Rows:
    """Copies of ``rows`` as the model itself takes them, on its device."""
    z = None if rows.z is None else rows.z.to(subject.context.device)
    if z is not None and z.is_floating_point() and subject.dtype is not None:
        z = z.to(subject.dtype)
    return Rows(subject.own(rows.x).clone(), _there(subject, rows.y), z)


def asked(model: Model, rows: Rows, bound: torch.Generator | None) -> Tensor:
    """The same of rows as the model takes them, of the bound too where a generator for it is given."""
    x, y, z, n, columns = rows.x, rows.y, rows.z, len(rows), []
    with torch.no_grad():
        if isinstance(model, ExplicitExact):
            columns.append(ask_log_prob(model, x, y))
        if isinstance(model, LatentVariable):
            assert z is not None
            columns.append(_vector("posterior().log_prob", model.posterior(x, y).log_prob(z), n))
            columns.append(_vector("prior().log_prob", model.prior(y).log_prob(z), n))
            columns.append(_vector("likelihood().log_prob", model.likelihood(z, y).log_prob(x), n))
        elif isinstance(model, ExplicitApproximate) and bound is not None:
            columns.append(ask_elbo(model, x, y, bound))
        if isinstance(model, Encoder):
            columns.append(_matrix("encode", model.encode(x), n))
        if isinstance(model, Discriminative):
            columns.append(_matrix("log_prob_label", model.log_prob_label(x), n))
    wide = [column.detach().double().cpu().reshape(n, -1) for column in columns]
    return torch.cat(wide, 1) if wide else torch.zeros(n, 0, dtype=torch.float64)


def steady(subject: Subject) -> torch.Generator | None:
    """A generator for a bound that draws nothing; None for one that does, and where there is none."""
    return subject.context.rng("audit/bound") if subject.density is Density.BOUND else None


def _there(subject: Subject, y: Tensor | None) -> Tensor | None:
    return None if y is None else y.to(subject.context.device)


def _vector(method: str, answer: Tensor, n: int) -> Tensor:
    if answer.shape != (n,):
        raise ModelError(
            f"{method} gave shape {tuple(answer.shape)} for {n} examples: make it cover whole events, shape ({n},)."
        )
    return answer


def _matrix(method: str, answer: Tensor, n: int) -> Tensor:
    if answer.ndim != 2 or len(answer) != n:
        raise ModelError(f"{method} gave shape {tuple(answer.shape)} for {n} examples: return one row of each.")
    return answer
