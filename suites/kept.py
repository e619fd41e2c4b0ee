"""What is costly and follows from content alone, kept in files by a digest of that content."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["content_key", "kept_tensors"]


def content_key(facts: Sequence[Any], tensors: Sequence[Tensor]) -> str:
    """sha256 over ``facts``, which JSON can hold, the version of torch, and every byte of ``tensors``."""
    shapes = [[str(each.dtype), list(each.shape)] for each in tensors]
    sha = hashlib.sha256(json.dumps([*facts, shapes, torch.__version__], sort_keys=True).encode())
    for each in tensors:
        sha.update(each.contiguous().view(torch.uint8).reshape(-1).numpy().data)
    return sha.hexdigest()


def kept_tensors(
    folder: Path | None,
    key: str,
    make: Callable[[], Mapping[str, Tensor]],
    whole: Callable[[Mapping[str, Tensor]], bool],
) -> Mapping[str, Tensor]:
    """What ``make`` makes, from the file of ``key`` where it is there and ``whole``; a damaged one is made anew.

    Args:
        folder: where the files are; None keeps nothing.
        key: of the content that they follow from.
        make: makes them.
        whole: whether what was found has all that it ought to have.
    """
    path = None if folder is None else folder / f"{key}.safetensors"
    found = None if path is None else _load(path)
    if found is None or not whole(found):
        found = make()
        if path is not None:
            _save(path, found)
    return found


def _load(path: Path) -> Mapping[str, Tensor] | None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: Mapping[str, Tensor] = load_file(path)
    except (OSError, SafetensorError):
        return None
    return tensors


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Whole or not at all; a cache that cannot be written costs time and nothing else."""
    from safetensors.torch import save

    content = save({name: each.contiguous() for name, each in tensors.items()})
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as stream:
            stream.write(content)
        os.replace(stream.name, path)
