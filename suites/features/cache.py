"""Features of a set of examples, computed once and kept by content: by the bytes of the set, and the extractor."""

from __future__ import annotations

import torch
from torch import Tensor

from torchstone.models.model import Space
from torchstone.suites.context import Context
from torchstone.suites.features.extractor import Extractor, ExtractorError, Features
from torchstone.suites.kept import content_key, kept_tensors

__all__ = ["extract"]


def extract(extractor: Extractor, x: Tensor, space: Space, context: Context, what: str) -> Features:
    """Features of ``x``, ``(N, *event)`` as stored, from the context's cache or by asking the extractor in batches.

    Args:
        extractor: asked.
        x: the examples.
        space: that they are of.
        context: device, batch size, cache, progress.
        what: they are, for progress and errors.

    Raises:
        ExtractorError: where features are not finite.
    """
    key = content_key([dict(extractor.facts), repr(space)], [x])
    kept = kept_tensors(
        context.cache,
        key,
        lambda: _tensors(_computed(extractor, x, space, context, what)),
        lambda each: len(each.get("values", ())) == len(x),
    )
    found = Features(kept["values"], kept.get("logits"))
    if not bool(found.values.isfinite().all()):
        raise ExtractorError(
            f"{extractor.name} gives features of {what} that are not finite; choose another extractor."
        )
    return found


def _computed(extractor: Extractor, x: Tensor, space: Space, context: Context, what: str) -> Features:
    parts: list[Features] = []

    def ask(start: int, stop: int) -> Tensor:
        answer = extractor(x[start:stop], space, context.device)
        parts.append(answer)
        return answer.values

    for _, stop, _ in context.batches(len(x), ask):
        context.progress(f"features of {what}", stop, len(x))
    logits = [part.logits for part in parts if part.logits is not None]
    return Features(torch.cat([part.values for part in parts]), torch.cat(logits) if logits else None)


def _tensors(features: Features) -> dict[str, Tensor]:
    return {"values": features.values} | ({} if features.logits is None else {"logits": features.logits})
