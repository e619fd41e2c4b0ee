"""The boundary to samplers: what is drawn, with which labels, and whether it is what the model says it draws.

Samples leave as data are stored: integers of the data's levels, or real numbers, on the CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchstone.models.checks import space_of
from torchstone.models.model import (
    Continuous,
    Discrete,
    ImplicitIterative,
    ImportanceResampler,
    Model,
    ModelError,
    Sampler,
    Space,
    family,
)
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.data.given import GivenSamples
from torchstone.suites.questions import ask_log_weight, shape_refusal

__all__ = ["ask_candidate_weights", "ask_samples", "check_seed", "labels_like", "sampler_refusal"]

AGAIN = 8  # samples that are asked for once more
ROUNDING = 1e-5  # of the width of a bounded support: what single precision may miss it by


def sampler_refusal(model: Model, data: Dataset) -> str | None:
    """Why samples of ``model`` cannot be held against ``data``, as a sentence; None where they can."""
    space, name = space_of(model), type(model).__name__
    if not isinstance(model, Sampler):
        return f"{name} is {family(model)} and draws no samples; the question needs a Sampler."
    if (refused := shape_refusal(model, data)) is not None:
        return refused
    match space.support, data.space.support:
        case Discrete(ours), Discrete(theirs) if ours != theirs:
            return f"{name} draws {ours} levels and {data.name} has {theirs}; build it with levels={theirs}."
        case Discrete(), Continuous():
            return f"{name} draws integers and {data.name} is continuous; use a continuous model."
        case Continuous() as ours, Discrete() if not ours.bounded:
            return (
                f"{name} draws real numbers without limits, which cannot be taken back to the integers of {data.name}; "
                "declare a bounded support, such as Continuous(0.0, 1.0)."
            )
    return None


def labels_like(data: Dataset, n: int, rng: torch.Generator) -> Tensor:
    """``n`` labels in the proportions of the training split, as nearly as whole numbers allow, in random order.

    Labels are the harness's: a sampler is asked for them, and chooses none.
    """
    y, classes = data.split("train").y, data.space.classes
    assert y is not None and classes is not None
    due = torch.bincount(y, minlength=classes).double() * n / len(y)
    counts = due.floor().long()
    counts[(due - counts).argsort(descending=True, stable=True)[: n - int(counts.sum())]] += 1
    labels = torch.arange(classes).repeat_interleave(counts)
    return labels[torch.randperm(n, generator=rng)]


def ask_samples(
    model: Sampler,
    n: int,
    y: Tensor | None,
    data: Space,
    context: Context,
    *,
    purpose: str,
    block: int = 500,
    steps: int | None = None,
) -> Tensor:
    """``n`` samples of shape ``(n, *event)`` as data of the space ``data`` are stored, on the CPU.

    They are drawn in blocks of fixed size, each with a generator of its own, so that they depend on nothing but the
    seed and ``purpose``. Samples on a continuous support go back to integers through the inverse map and the floor.

    Args:
        model: of which they are asked.
        n: how many.
        y: their labels ``(n,)``, where the model takes labels.
        data: the space of the data that they are to be like.
        context: device, seed and progress.
        purpose: names the draws.
        block: samples per question; part of what defines the random numbers.
        steps: of an iterative sampler; None for its own number.

    Raises:
        ModelError: where samples are of another shape, number or type than is due, not finite, or outside of the
            support that the model declares; and where distinct samples come again under another seed.
    """
    if isinstance(model, GivenSamples):
        block = n  # each is given once
    found: list[Tensor] = []
    for number, start in enumerate(range(0, n, block)):
        count = min(block, n - start)
        labels = None if y is None else y[start : start + count].to(context.device)
        x = _call(model, count, labels, context.rng(purpose, number), steps)
        problem = _problem(x, space_of(model), count)
        if problem is not None:
            raise ModelError(f"{type(model).__name__}.{problem}")
        found.append(_as_stored(x, space_of(model), data))
        _check_fresh(model, found, labels is not None)
        context.progress("sample", start + count, n)
    return torch.cat(found)


def ask_candidate_weights(model: ImportanceResampler, n: int, context: Context, purpose: str) -> Tensor:
    """Log-weights of ``n`` candidates, a row for each class that the model takes (one where it takes none), float64."""
    classes = space_of(model).classes
    with torch.no_grad():
        x = model.propose(n, rng=context.rng(purpose))
        labels = [None] if classes is None else [torch.full((n,), c, device=x.device) for c in range(classes)]
        return torch.stack([ask_log_weight(model, x, y) for y in labels])


def _call(model: Sampler, n: int, y: Tensor | None, rng: torch.Generator, steps: int | None) -> object:
    with torch.no_grad():
        if isinstance(model, ImplicitIterative):
            return model.sample(n, y, rng=rng, steps=steps)
        return model.sample(n, y, rng=rng)


def _problem(x: object, space: Space, n: int) -> str | None:
    """In what an answer is not ``n`` samples of ``space``, as a sentence without its subject; None where it is."""
    due = (n, *space.event_shape)
    if not isinstance(x, Tensor):
        return f"sample({n}) returned a {type(x).__name__}; return a tensor of shape {due}."
    if x.shape != due:
        return f"sample({n}) returned shape {tuple(x.shape)} where {due} is due; return (n, *event)."
    support = space.support
    if isinstance(support, Discrete) and (x.is_floating_point() or x.dtype == torch.bool):
        return f"sample returned {x.dtype} on {support}; return integers."
    if missing := int((~x.isfinite()).flatten(1).any(1).sum()):
        return f"sample returned {missing} of {n} samples that are not finite; no number can be had of them."
    low, high = (0, support.levels - 1) if isinstance(support, Discrete) else (support.low, support.high)
    slack = ROUNDING * (high - low) if isinstance(support, Continuous) and support.bounded else 0.0
    out = (x < low - slack) | (x > high + slack)
    if bool(out.any()):
        return (
            f"sample returned {int(out.sum())} values outside of {support}, such as {float(x[out][0]):.6g}; "
            "return values inside it, or declare the support that they are on."
        )
    return None


def _as_stored(x: object, ours: Space, data: Space) -> Tensor:
    assert isinstance(x, Tensor)
    x = x.detach().cpu()
    if not isinstance(data.support, Discrete):
        return x.float()
    if isinstance(ours.support, Continuous):
        x = ours.support.quantise(x, data.support.levels)
    return x.to(torch.uint8) if data.support.levels <= 256 else x.long()


def _check_fresh(model: Model, blocks: list[Tensor], labelled: bool) -> None:
    """Raise where the last block is an earlier one again."""
    *earlier, last = blocks
    if not labelled and any(_repeats(last, block) for block in earlier):
        _refuse_seed(model, len(last))


def check_seed(model: Sampler, x: Tensor, y: Tensor | None, data: Space, context: Context) -> None:
    """Raise ModelError where the first of ``x`` come again, with their labels, under another seed.

    Of distinct samples that proves that the seed is ignored; samples that lie in a file have none.
    """
    if isinstance(model, GivenSamples):
        return
    n = min(len(x), AGAIN)
    labels = None if y is None else y[:n].to(context.device)
    again = _call(model, n, labels, context.rng("another seed"), None)
    if _problem(again, space_of(model), n) is None and _repeats(_as_stored(again, space_of(model), data), x[:n]):
        _refuse_seed(model, n)


def _repeats(x: Tensor, other: Tensor) -> bool:
    """Whether two blocks begin with the same samples, not all of which are equal."""
    return len(x) > 1 and not bool((x == x[:1]).all()) and torch.equal(x, other[: len(x)])


def _refuse_seed(model: Model, n: int) -> None:
    raise ModelError(
        f"{type(model).__name__}.sample gave the same {n} distinct samples in the same order under two seeds: draw "
        "from the rng that is passed."
    )
