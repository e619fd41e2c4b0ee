"""Fitting reference models, and keeping what was fitted by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch

from torchstone.harness.checkpoints import load_checkpoint, save_checkpoint
from torchstone.harness.errors import InputError
from torchstone.models.model import Budget, Model, Trainable
from torchstone.models.randomness import generator, seeded
from torchstone.suites.data.dataset import Dataset

__all__ = ["fit", "fit_key", "fitted"]


def fit_key(model_digest: str, code: str, data: Dataset, steps: int, seed: int, device: torch.device) -> str:
    """What a fit depends on, as one digest: code, settings and first weights, data, budget, seed, kind of device."""
    facts = [model_digest, code, data.fingerprint, steps, seed, device.type, torch.__version__]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def fit(model: Trainable, data: Dataset, steps: int, seed: int, progress: Callable[[str, int, int], None]) -> None:
    """Train ``model`` on the training split, choosing on the validation split; the test split stays closed."""
    budget = Budget(steps, lambda done, total: progress("fit", done, total))
    if isinstance(model, torch.nn.Module):
        model.train()
    with seeded(generator(seed, "fit/global")):
        model.fit(data.split("train"), data.split("validation"), budget, rng=generator(seed, "fit"))
    if isinstance(model, torch.nn.Module):
        model.eval()


def fitted(model: Model, key: str | None, folder: Path, refit: Callable[[], None]) -> bool:
    """Load what was fitted under ``key`` from ``folder``, or call ``refit`` and keep the result.

    Returns:
        Whether it was found. What cannot be kept (a model that is no module, or whose content has no digest) is fitted
        anew; so is what is found damaged.
    """
    if key is None or not isinstance(model, torch.nn.Module):
        refit()
        return False
    path = folder / f"{key}.safetensors"
    if path.exists():
        try:
            load_checkpoint(model, path)
            model.eval()
            return True
        except InputError:
            pass
    refit()
    save_checkpoint(model, path, {"model": type(model).__name__, "key": key})
    return False
