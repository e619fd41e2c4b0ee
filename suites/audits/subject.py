"""The model under audit, with the data it claims to describe and the draws that it is tested on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import final

import torch
from torch import Tensor, nn

from torchstone.models.checks import model_dtype, space_of
from torchstone.models.model import (
    ExplicitApproximate,
    ExplicitExact,
    LatentVariable,
    Model,
    Sampler,
    Space,
    Split,
)
from torchstone.suites.audits.state import generators, own_generators
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.dequantisation import Dequantiser, dequantiser_for
from torchstone.suites.questions import ask_elbo, ask_importance_weighted, ask_log_prob

__all__ = ["Density", "Subject", "draws_nothing"]


class Density(StrEnum):
    """What `Subject.log_density` is, of the true log-density of the model on the data."""

    EXACT = "exact"
    """The log-density itself."""
    WEIGHT = "weight"
    """The logarithm of a draw whose mean is the density: an importance weight, or a dequantised density."""
    BOUND = "bound"
    """A lower bound without any draw."""
    NOISY = "noisy"
    """A draw whose mean is a lower bound; its exponential may be too large, honestly."""
    NONE = "none"
    """The model gives none."""


def draws_nothing(model: ExplicitApproximate, x: Tensor, y: Tensor | None, rng: torch.Generator) -> bool:
    """Whether a bound is had without any draw: from ``rng``, a global generator, or one that the model holds.

    Answers that agree are not enough: those of an honest bound may all agree and be too large, where the rare low ones
    that its mean is owed to were not seen.
    """
    before, everywhere, own = rng.get_state(), generators(), own_generators(model)
    first = ask_elbo(model, x, y, rng)
    untouched = torch.equal(before, rng.get_state()) and everywhere == generators() and own == own_generators(model)
    return untouched and torch.equal(first, ask_elbo(model, x, y, rng))


@final
@dataclass(frozen=True)
class Subject:
    """One model on one dataset, as audits see it.

    Attributes:
        model: in evaluation mode on the context's device.
        data: whose test split gives examples, and whose training split gives references.
        context: device, batch size and generators; another seed makes it another, independent subject.
        examples: how many examples or samples an audit may ask about where it has the choice.
        fresh: a copy of the model that nothing has been asked of, where there is one.
        second_process: whether a copy may be asked in a process of its own, which takes seconds to begin.
    """

    model: Model
    data: Dataset
    context: Context
    examples: int = 200
    fresh: Model | None = None
    second_process: bool = False

    @property
    def space(self) -> Space:
        """The space that the model declares."""
        return space_of(self.model)

    @property
    def conditional(self) -> bool:
        """Whether the model takes labels."""
        return self.space.classes is not None

    @property
    def dtype(self) -> torch.dtype | None:
        """The floating-point type of the model's parameters, None where it has none."""
        return model_dtype(self.model)

    @cached_property
    def dequantiser(self) -> Dequantiser | None:
        """Takes discrete data to a continuous model; None where there is nothing to take."""
        return dequantiser_for(self.model, self.data.space)

    @cached_property
    def density(self) -> Density:
        """What kind of answer `log_density` gives."""
        model = self.model
        if isinstance(model, ExplicitExact):
            return Density.EXACT if self.dequantiser is None else Density.WEIGHT
        if isinstance(model, LatentVariable):
            return Density.WEIGHT
        if not isinstance(model, ExplicitApproximate):
            return Density.NONE
        if self.dequantiser is not None:
            return Density.NOISY
        x, y = self.test(8)
        x, y = self.own(x), None if y is None else y.to(self.context.device)
        return Density.BOUND if draws_nothing(model, x, y, self.context.rng("audit/deterministic")) else Density.NOISY

    @property
    def sound(self) -> bool:
        """Whether ``log_density - log r`` summed over independent draws of r is the logarithm of an e-value."""
        return self.density in (Density.EXACT, Density.WEIGHT, Density.BOUND)

    def rng(self, purpose: str, block: int = 0) -> torch.Generator:
        """A generator on the CPU that depends on the context's seed, ``purpose`` and ``block`` alone."""
        return self.context.rng(f"audit/{purpose}", block, device="cpu")

    def test(self, n: int | None = None) -> tuple[Tensor, Tensor | None]:
        """``n`` examples of the test split as stored, and labels where the model takes them; see `examples_of`."""
        return self.examples_of("test", n)

    def train(self, n: int | None = None) -> tuple[Tensor, Tensor | None]:
        """``n`` examples of the training split, in the same form."""
        return self.examples_of("train", n)

    def examples_of(self, split: str, n: int | None = None) -> tuple[Tensor, Tensor | None]:
        """``n`` examples of a split as stored, drawn anew for each seed, and labels where the model takes them.

        Always the first of one and the same order: fewer are some of more. All of them come as they are stored.
        """
        whole = self.data.split(split)
        if n is not None and n < len(whole):
            index = torch.randperm(len(whole), generator=self.rng(f"examples/{split}"))[:n]
            whole = Split(whole.x[index], None if whole.y is None else whole.y[index], whole.ids[index])
        x, y = whole.batch(0, len(whole))
        return x, y if self.conditional else None

    def labels(self, n: int, rng: torch.Generator) -> Tensor | None:
        """``n`` labels drawn uniformly where the model takes labels, and None elsewhere."""
        classes = self.space.classes
        return None if classes is None else torch.randint(classes, (n,), generator=rng)

    def log_density(self, x: Tensor, y: Tensor | None, purpose: str, samples: int = 1) -> Tensor:
        """``log p(x)`` of data as stored, ``(N,)`` nats in float64 on the CPU; of the kind that `density` says.

        Args:
            x: ``(N, *event)``, integers for discrete data.
            y: labels, where the model takes them.
            purpose: names the draws, where there are any.
            samples: importance samples of a latent-variable model; the mean of the weight is the density for any.
        """
        model, device = self.model, self.context.device
        answers = []
        for block, start in enumerate(range(0, len(x), self.context.batch_size)):
            rows = x[start : start + self.context.batch_size]
            labels = None if y is None else y[start : start + self.context.batch_size].to(device)
            constant = 0.0
            if self.dequantiser is not None:
                rows = self.dequantiser(rows, self.rng(f"{purpose}/noise", block), self.dtype or torch.float64)
                constant = self.dequantiser.log_volume
            elif rows.is_floating_point() and self.dtype is not None:
                rows = rows.to(self.dtype)
            rows, rng = rows.to(device), self.context.rng(f"audit/{purpose}", block)
            if isinstance(model, ExplicitExact):
                answer = ask_log_prob(model, rows, labels)
            elif isinstance(model, LatentVariable):
                answer = ask_importance_weighted(model, rows, labels, samples, rng, self.context)
            else:
                assert isinstance(model, ExplicitApproximate)
                answer = ask_elbo(model, rows, labels, rng)
            answers.append(answer + constant)
        return torch.cat(answers)

    def own(self, x: Tensor) -> Tensor:
        """Data as stored, as the model itself takes them: dequantised at the middle of the bin, in its own type."""
        if self.dequantiser is not None:
            middle = torch.full(x.shape, 0.5, dtype=torch.float64)
            x = self.dequantiser.support.dequantise(x, middle, self.dequantiser.levels).to(self.dtype or torch.float64)
        elif x.is_floating_point() and self.dtype is not None:
            x = x.to(self.dtype)
        return x.to(self.context.device)

    @cached_property
    def samples(self) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """What a sampler gives in two calls with seeds of their own, half ``examples`` in all, and its labels."""
        model, n = self.model, self.examples // 4
        assert isinstance(model, Sampler)
        y = self.labels(2 * n, self.rng("samples/labels"))
        labels = None if y is None else y.to(self.context.device)
        with torch.no_grad():
            calls = tuple(
                model.sample(
                    n,
                    None if labels is None else labels[call * n : (call + 1) * n],
                    rng=self.context.rng("audit/samples", call),
                )
                for call in (0, 1)
            )
        return calls, labels

    def of(self, model: Model) -> Subject:
        """Another model, as it is, seen in the same way."""
        return replace(self, model=model, fresh=None)

    def of_instance(self, model: Model) -> Subject:
        """The same of a model that is to be made ready first, such as a tiny one: on the device, in evaluation mode."""
        if isinstance(model, nn.Module):
            model.to(self.context.device).eval()
        return self.of(model)
