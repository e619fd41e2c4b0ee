"""The questions that are timed, each with inputs or seeds that it was never asked with before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, final

import torch
from torch import Tensor

from torchstone.models.checks import model_dtype, space_of
from torchstone.models.model import (
    Encoder,
    ExplicitApproximate,
    ExplicitExact,
    ImplicitIterative,
    Model,
    ModelError,
    Sampler,
    Tokenised,
)
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.dequantisation import dequantiser_for

__all__ = ["Bound", "Deterministic", "Encoding", "Inputs", "LogProb", "Question", "Sampling", "questions"]

MIXED = 0.1  # of the values of an example come from another one


@final
class Inputs:
    """Examples that a model was not asked about before, as it takes them, and labels where it takes those.

    Each is an example of the data with a tenth of its values taken from another one at the same place, or, of
    continuous data, moved by up to a tenth of the way to another one: so all stay in the support, and none recurs but
    by chance.
    """

    def __init__(self, model: Model, data: Dataset, split: str, context: Context) -> None:
        self._split, self._context = data.split(split), context
        self._dequantiser, self._dtype = dequantiser_for(model, data.space), model_dtype(model)
        self._conditional = space_of(model).classes is not None

    def draw(self, n: int, number: int) -> tuple[Tensor, Tensor | None]:
        """``n`` examples ``(n, *event)`` and labels for the call with this number: always the same for one number."""
        rng = self._context.rng("throughput/inputs", number, device="cpu")
        x, y = self._split.minibatch(n, rng)
        other, _ = self._split.minibatch(n, rng)
        uniform = torch.rand(x.shape, generator=rng, dtype=torch.float32)
        if x.is_floating_point():
            x = x + MIXED * uniform.to(x.dtype) * (other - x)
        else:
            x = torch.where(uniform < MIXED, other, x)
        if self._dequantiser is not None:
            x = self._dequantiser(x, rng, self._dtype or torch.get_default_dtype())
        elif x.is_floating_point() and self._dtype is not None:
            x = x.to(self._dtype)
        device = self._context.device
        return x.to(device), y.to(device) if self._conditional and y is not None else None


class Question(ABC):
    """Something that a model is asked again and again.

    Attributes:
        name: of the question, as scores name it in their parameter ``of``.
        metric: the name of its rate.
    """

    name: ClassVar[str]
    metric: ClassVar[str]

    @abstractmethod
    def prepare(self, n: int, number: int) -> Callable[[], Tensor]:
        """A call for ``n`` examples, with inputs and seeds of its own for each ``number``: ``(n, ...)`` or ``(n,)``."""

    @abstractmethod
    def of(self, model: Model) -> Question:
        """The same question to another model."""


class Deterministic(Question):
    """A question about examples whose answer depends on no draw."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    @abstractmethod
    def ask(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Ask about examples, as the model takes them."""

    @final
    def prepare(self, n: int, number: int) -> Callable[[], Tensor]:
        """As in `Question`."""
        x, y = self._inputs.draw(n, number)
        return lambda: self.ask(x, y)

    @final
    def in_parts(self, n: int, number: int, dtype: torch.dtype | None = None) -> Callable[[], Tensor]:
        """A call for the same answer in two parts of other sizes, the last part first; inputs as ``dtype`` if given."""
        x, y = self._inputs.draw(n, number)
        if dtype is not None and x.is_floating_point():
            x = x.to(dtype)
        at = n // 3

        def ask() -> Tensor:
            last = self.ask(x[at:], None if y is None else y[at:])
            return torch.cat([self.ask(x[:at], None if y is None else y[:at]), last]) if at else last

        return ask


@final
class Sampling(Question):
    """Draws ``n`` samples, with another seed in every call; an iterative sampler in ``steps``, where they are given."""

    name, metric = "sample", "sample_rate"

    def __init__(self, model: Sampler, inputs: Inputs, context: Context, steps: int | None = None) -> None:
        self._model, self._inputs, self._context, self._steps = model, inputs, context, steps

    def prepare(self, n: int, number: int) -> Callable[[], Tensor]:
        """As in `Question`."""
        rng = self._context.rng("throughput/sample", number)
        y = self._inputs.draw(n, number)[1] if space_of(self._model).classes is not None else None
        model, steps = self._model, self._steps
        if steps is not None and isinstance(model, ImplicitIterative):
            return lambda: model.sample(n, y, rng=rng, steps=steps)
        return lambda: model.sample(n, y, rng=rng)

    def of(self, model: Model) -> Question:
        """As in `Question`."""
        assert isinstance(model, Sampler)
        return Sampling(model, self._inputs, self._context, self._steps)

    def stepping(self, steps: int) -> Sampling:
        """The same in another number of steps."""
        return Sampling(self._model, self._inputs, self._context, steps)


@final
class LogProb(Deterministic):
    """Asks for the log-density of ``n`` fresh examples."""

    name, metric = "log_prob", "log_prob_rate"

    def __init__(self, model: ExplicitExact, inputs: Inputs) -> None:
        super().__init__(inputs)
        self._model = model

    def ask(self, x: Tensor, y: Tensor | None) -> Tensor:
        """As in `Deterministic`."""
        return self._model.log_prob(x, y)

    def of(self, model: Model) -> Question:
        """As in `Question`."""
        assert isinstance(model, ExplicitExact)
        return LogProb(model, self._inputs)


@final
class Bound(Question):
    """Asks for one draw of the bound on the log-density of ``n`` fresh examples."""

    name, metric = "elbo", "log_prob_rate"

    def __init__(self, model: ExplicitApproximate, inputs: Inputs, context: Context) -> None:
        self._model, self._inputs, self._context = model, inputs, context

    def prepare(self, n: int, number: int) -> Callable[[], Tensor]:
        """As in `Question`."""
        (x, y), rng = self._inputs.draw(n, number), self._context.rng("throughput/elbo", number)

        def ask() -> Tensor:
            bound = self._model.elbo(x, y, rng=rng)
            return bound.reconstruction - bound.rate

        return ask

    def of(self, model: Model) -> Question:
        """As in `Question`."""
        assert isinstance(model, ExplicitApproximate)
        return Bound(model, self._inputs, self._context)


@final
class Encoding(Deterministic):
    """Asks for the features of ``n`` fresh examples."""

    name, metric = "encode", "encode_rate"

    def __init__(self, model: Encoder, inputs: Inputs) -> None:
        super().__init__(inputs)
        self._model = model

    def ask(self, x: Tensor, y: Tensor | None) -> Tensor:
        """As in `Deterministic`."""
        features = self._model.encode(x)
        if isinstance(features, Tensor) and len(x) and not features.numel():
            raise ModelError(
                f"encode returned {features.dtype} of shape {tuple(features.shape)} for {len(x)} examples: return "
                "features of shape (N, D), with D at least 1."
            )
        return features

    def of(self, model: Model) -> Question:
        """As in `Question`."""
        assert isinstance(model, Encoder)
        return Encoding(model, self._inputs)


def questions(model: Model, data: Dataset, split: str, context: Context) -> tuple[Question, ...]:
    """All that ``model`` can be asked about examples like those of ``data``, the headline first."""
    inputs, found = Inputs(model, data, split, context), list[Question]()
    if isinstance(model, Sampler):
        found.append(Sampling(model, inputs, context))
    if not isinstance(model, Tokenised):  # its examples are tokens, and those of the data are bytes
        if isinstance(model, ExplicitExact):
            found.append(LogProb(model, inputs))
        elif isinstance(model, ExplicitApproximate):
            found.append(Bound(model, inputs, context))
        if isinstance(model, Encoder):
            found.append(Encoding(model, inputs))
    return tuple(found)
