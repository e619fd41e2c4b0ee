"""Fitting reference models, and keeping what was fitted by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from torchstone.harness.checkpoints import checkpoint_facts, load_checkpoint, save_checkpoint
from torchstone.harness.errors import InputError
from torchstone.harness.identity import state_digest, weights_digest
from torchstone.models.checks import space_of
from torchstone.models.model import Budget, Encoder, Model, Split, Trainable
from torchstone.models.randomness import generator, seeded
from torchstone.results.record import canonical
from torchstone.suites.data.dataset import Dataset

__all__ = ["fit", "fit_key", "fitted"]


def fit_key(model: list[Any], code: str, data: list[Any], steps: int, seed: int, device: torch.device) -> str:
    """What a fit depends on, as one digest: first state and settings, code, data, budget, seed, kind of device."""
    facts = [model, code, data, steps, seed, device.type, torch.__version__]
    return hashlib.sha256(canonical({"facts": facts})).hexdigest()


def fit(model: Trainable, data: Dataset, steps: int, seed: int, progress: Callable[[str, int, int], None]) -> None:
    """Train ``model`` on the training split, choosing on the validation split; the test split stays closed.

    A model whose space has no classes is given no labels, and an encoder no order from which they could be guessed.
    """
    budget = Budget(steps, lambda done, total: progress("fit", done, total))
    if isinstance(model, torch.nn.Module):
        model.train()
    with seeded(generator(seed, "fit/global")):
        train, validation = (_shown(model, data.split(name), seed) for name in ("train", "validation"))
        model.fit(train, validation, budget, rng=generator(seed, "fit"))
    if isinstance(model, torch.nn.Module):
        model.eval()


def _shown(model: Trainable, split: Split, seed: int) -> Split:
    """What ``model`` may see of a split that it is fitted on."""
    y = split.y if space_of(model).classes is not None else None
    if y is not None or not isinstance(model, Encoder):
        return Split(split.x, y, split.ids, split.intensities)
    order = torch.randperm(len(split), generator=generator(seed, "fit/order"))
    intensities = None if split.intensities is None else split.intensities[order]
    return Split(split.x[order], None, torch.arange(len(split)), intensities)


def fitted(model: Model, key: str | None, folder: Path, refit: Callable[[], None], build: Callable[[], Model]) -> bool:
    """Load what was fitted under ``key`` from ``folder``, or call ``refit`` and keep the result.

    What is kept is only ever weights: where a fit leaves something in the model that its weights do not hold, so that
    loading them into the model that ``build`` makes does not give the fitted one, nothing is kept.

    Returns:
        Whether it was found. What cannot be kept is fitted anew; so is what is found damaged.
    """
    if key is None or not isinstance(model, torch.nn.Module):
        refit()
        return False
    path = folder / f"{key}.safetensors"
    if path.exists() and _load(model, path):
        return True
    refit()
    save_checkpoint(model, path, {"model": type(model).__name__, "key": key, "weights": weights_digest(model)})
    if not _gives(build(), model, path):
        path.unlink()
    return False


def _load(model: Model, path: Path) -> bool:
    """Load weights that are whole; whether they are."""
    assert isinstance(model, torch.nn.Module)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        load_checkpoint(model, path)
        whole = checkpoint_facts(path).get("weights") == weights_digest(model)
    except InputError:
        whole = False
    if not whole:
        model.load_state_dict(before)
    model.eval()
    return whole


def _gives(fresh: Model, model: torch.nn.Module, path: Path) -> bool:
    """Whether loading ``path`` into a fresh model gives ``model``."""
    assert isinstance(fresh, torch.nn.Module)
    fresh.to(next((value.device for value in model.state_dict().values()), torch.device("cpu"))).eval()
    return _load(fresh, path) and state_digest(fresh) == state_digest(model)
