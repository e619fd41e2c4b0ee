"""How much arithmetic a question takes: floating-point operations, evaluations of the network, parameters."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from torchstone.models.model import Autoregressive, ImplicitIterative, Model, Sampler
from torchstone.suites.timing.questions import Question

__all__ = ["UNCOUNTED", "count_evaluations", "count_flops", "count_parameters"]

UNCOUNTED = "elementwise operations, normalisation, softmax, sorting, lookups and drawing"
"""What `count_flops` leaves out: all but matrix products, convolutions and attention."""


def count_flops(question: Question, n: int, number: int) -> float:
    """Floating-point operations for each of ``n`` examples, two for each term of a sum of products: a lower bound.

    Matrix products, convolutions and attention are counted where torch dispatches them; `UNCOUNTED` is not, nor what
    leaves torch. Attention counts whole, though half of it is masked where it is causal.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad():
        call = question.prepare(n, number)
        with FlopCounterMode(display=False) as counter:
            call()
    return float(counter.get_total_flops()) / n


def count_parameters(model: Model) -> int | None:
    """Numbers in all parameters; None for a model that is no ``nn.Module``."""
    return sum(each.numel() for each in model.parameters()) if isinstance(model, nn.Module) else None


def count_evaluations(model: Model, sample: Callable[[], Tensor], n: int) -> float | None:
    """How often the network of ``model`` is evaluated for each of the ``n`` samples that ``sample`` draws from it.

    Of an iterative sampler the calls of ``network`` are counted by a hook, and of an autoregressive one those of
    ``conditionals``; each counts by its rows, so that a batch in pieces counts once, and one that is doubled for
    guidance twice. Other samplers, and those that go another way, are not counted: None.
    """
    rows: list[int] = []
    if isinstance(model, ImplicitIterative):
        hook = model.network.register_forward_pre_hook(
            lambda module, args, kwargs: rows.append(_rows((*args, *kwargs.values()), n)), with_kwargs=True
        )
        with torch.no_grad():
            sample()
        hook.remove()
    elif isinstance(model, Autoregressive) and isinstance(model, Sampler):
        inner = model.conditionals

        def counted(x: Tensor, y: Tensor | None = None) -> Any:
            rows.append(len(x))
            return inner(x, y)

        with suppress(AttributeError):  # an instance without attributes of its own
            model.conditionals = counted  # type: ignore[method-assign]
            with torch.no_grad():
                sample()
            del model.conditionals
    return sum(rows) / n if rows else None


def _rows(arguments: tuple[Any, ...], n: int) -> int:
    """Rows of the first batch among the arguments of a network."""
    return next((len(each) for each in arguments if isinstance(each, Tensor) and each.ndim), n)
