"""How much arithmetic a question takes: floating-point operations, evaluations of the network, parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from torchstone.models.model import Autoregressive, ImplicitIterative, Model, Sampler
from torchstone.suites.timing.questions import Question

__all__ = ["UNCOUNTED", "count_evaluations", "count_flops", "count_parameters", "flops_of"]

UNCOUNTED = (
    "elementwise operations, sums, distances, normalisation, softmax, Fourier transforms, the solvers and "
    "factorisations of torch.linalg, sorting, lookups and drawing"
)
"""What `count_flops` leaves out: all but products of matrices and vectors, convolutions, recurrences and attention."""


def count_flops(question: Question, n: int, number: int) -> float:
    """Floating-point operations for each of ``n`` examples, as `flops_of` counts those of a call: a lower bound."""
    with torch.no_grad():
        return flops_of(question.prepare(n, number)) / n


def flops_of(call: Callable[[], object]) -> float:
    """Floating-point operations of a call, two for each term of a sum of products: a lower bound.

    Products of matrices and vectors, convolutions, recurrences and attention are counted where torch dispatches them,
    whichever kernel it has for them; `UNCOUNTED` is not, nor what leaves torch. Attention counts whole, though half of
    it is masked where it is causal.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), _layers_in_parts(), FlopCounterMode(display=False, custom_mapping=_formulas()) as counter:
        call()
    return float(counter.get_total_flops())


@contextmanager
def _layers_in_parts() -> Iterator[None]:
    """Within the block, layers of attention are not computed by one kernel for all of a layer, which has no formula."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _formulas() -> dict[Any, Callable[..., int]]:
    """Formulas, in shapes, for kernels that torch's own counter has none for."""
    known = torch.ops.aten
    return {
        known.mv: lambda matrix, vector, **more: 2 * math.prod(matrix),
        known.addmv: lambda added, matrix, vector, **more: 2 * math.prod(matrix),
        known.dot: lambda a, b, **more: 2 * math.prod(a),
        known.vdot: lambda a, b, **more: 2 * math.prod(a),
        known.addbmm: lambda added, a, b, **more: 2 * math.prod(a) * b[-1],
        known._trilinear: _trilinear,
        known._scaled_dot_product_flash_attention_for_cpu: _attention,
        known.mkldnn_rnn_layer: lambda x, to_input, to_hidden, *rest, **more: _recurrence(x, (to_input, to_hidden)),
        known._cudnn_rnn: lambda x, weights, *rest, **more: _recurrence(x, weights),
    }


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *rest: object, **more: object) -> int:
    """Products of queries ``(n, heads, t, d)`` with keys ``(n, heads, s, d)``, and of their weights with values."""
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _recurrence(x: Sequence[int], weights: Sequence[Sequence[int]]) -> int:
    """Each matrix among the ``weights`` by a vector, at each step of each sequence of ``x``, ``(..., features)``."""
    return 2 * math.prod(x[:-1]) * sum(math.prod(each) for each in weights if len(each) == 2)


def _trilinear(*arguments: Any, **more: object) -> int:
    """Products of three tensors, of which each is given with the places where it has no dimension."""
    shapes = []
    for shape, missing in zip(arguments[:3], arguments[3:6], strict=True):
        full = list(shape)
        for place in sorted(missing):
            full.insert(place, 1)
        shapes.append(full)
    terms: int = math.prod(map(max, *shapes))
    return 2 * terms


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
