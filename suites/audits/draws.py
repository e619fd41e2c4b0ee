"""Samples of a model, drawn in batches and held to the space that it declares."""

from __future__ import annotations

import torch
from torch import Tensor

from torchstone.models.model import Discrete, ModelError, Sampler
from torchstone.suites.audits.subject import Subject

__all__ = ["samples"]


def samples(subject: Subject, n: int, purpose: str) -> tuple[Tensor, Tensor | None]:
    """``n`` independent samples of the model on the CPU, and the labels, drawn uniformly, that they were drawn for.

    Raises:
        ModelError: where they do not have the shape, the type or the range that the model declares.
    """
    model, space = subject.model, subject.space
    assert isinstance(model, Sampler)
    y = subject.labels(n, subject.rng(f"{purpose}/labels"))
    drawn = []
    with torch.no_grad():
        for block, start in enumerate(range(0, n, subject.context.batch_size)):
            count = min(subject.context.batch_size, n - start)
            labels = None if y is None else y[start : start + count].to(subject.context.device)
            drawn.append(model.sample(count, labels, rng=subject.context.rng(f"audit/{purpose}", block)).cpu())
            if drawn[-1].shape != (count, *space.event_shape):
                raise ModelError(
                    f"{type(model).__name__}.sample({count}) returned shape {tuple(drawn[-1].shape)}; return "
                    f"{(count, *space.event_shape)}."
                )
    x = torch.cat(drawn)
    if isinstance(space.support, Discrete):
        if x.is_floating_point() or not bool(((x >= 0) & (x < space.support.levels)).all()):
            raise ModelError(
                f"{type(model).__name__}.sample left its discrete support; return integers from 0 to "
                f"{space.support.levels - 1}."
            )
        x = x.long()
    return x, y
