"""Features of a set of examples, computed once and kept by content: by the bytes of the set, and the extractor."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from torchstone.models.model import Space
from torchstone.suites.context import Context
from torchstone.suites.features.extractor import Extractor, ExtractorError, Features

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
    path = None if context.cache is None else context.cache / f"{_key(extractor, x, space)}.safetensors"
    found = None if path is None else _load(path, len(x))
    if found is None:
        found = _computed(extractor, x, space, context, what)
        if path is not None:
            _save(path, found)
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


def _key(extractor: Extractor, x: Tensor, space: Space) -> str:
    facts = [dict(extractor.facts), repr(space), str(x.dtype), list(x.shape), torch.__version__]
    sha = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    sha.update(x.contiguous().view(torch.uint8).reshape(-1).numpy().data)
    return sha.hexdigest()


def _load(path: Path, n: int) -> Features | None:
    """What is kept; None where nothing is, or it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        kept = load_file(path)
        found = Features(kept["values"], kept.get("logits"))
    except (OSError, SafetensorError, KeyError):
        return None
    return found if len(found) == n else None


def _save(path: Path, features: Features) -> None:
    """Whole or not at all; a cache that cannot be written costs time and nothing else."""
    from safetensors.torch import save

    tensors = {"values": features.values.contiguous()}
    if features.logits is not None:
        tensors["logits"] = features.logits.contiguous()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as stream:
            stream.write(save(tensors))
        os.replace(stream.name, path)
