"""The examples that samples are held against: splits of the data, or a user's own pictures, features or moments."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from torchstone.models.model import Space
from torchstone.results.record import Flat
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import DataError, Dataset
from torchstone.suites.data.given import read_examples
from torchstone.suites.features.cache import extract
from torchstone.suites.features.extractor import Extractor, Features
from torchstone.suites.metrics.frechet import Moments, moments

__all__ = ["Reference", "of_path", "of_split"]

FEWEST = 20  # examples of a reference
SETS = 5  # of training examples, that a floor is a mean over


@final
@dataclass(frozen=True, slots=True)
class Reference:
    """What samples are compared with.

    Attributes:
        name: of the split, or of the file.
        features: of the examples, in random order; None where only moments are known.
        moments: of the features.
        facts: what a number depends on.
    """

    name: str
    features: Features | None
    moments: Moments
    facts: Flat

    def sets(self, n: int) -> tuple[Features, ...]:
        """Disjoint sets of ``n`` examples, as many as there are, and five at most."""
        assert self.features is not None
        starts = range(0, len(self.features) - n + 1, n)[:SETS]
        return tuple(Features(self.features.values[start : start + n]) for start in starts)


def of_split(data: Dataset, split: str, extractor: Extractor, context: Context) -> tuple[Tensor, Reference]:
    """The examples of a split in an order drawn by the seed, as stored, and their features."""
    whole = data.split(split)
    order = torch.randperm(len(whole), generator=context.rng(f"reference/{split}", device="cpu"))
    features = extract(extractor, whole.x, data.space, context, f"{split} examples").rows(order)
    return whole.x[order], Reference(split, features, moments(features.values), {"reference": split})


def of_path(path: Path, space: Space, extractor: Extractor, context: Context, dims: int) -> Reference:
    """A user's own reference: a folder of images, an archive of examples ``x``, of ``features``, or of moments.

    Moments are ``mu`` ``(D,)`` and ``sigma`` ``(D, D)``, as pytorch-fid and others keep them. They, and features, are
    taken to be of this very extractor: nothing in the file says so.

    Args:
        path: of the folder or archive.
        space: that of the data.
        extractor: of the features of examples.
        context: device, cache, seed.
        dims: how many features the extractor gives.

    Raises:
        DataError: where there is no such thing, or it does not go with the extractor.
    """
    features = None if path.is_dir() else _numbers(path)
    given = len(features.mean) if isinstance(features, Moments) else dims if features is None else features.shape[1]
    if given != dims:
        raise DataError(f"suite.reference={path}: it is of {given} features, and {extractor.name} gives {dims}.")
    if isinstance(features, Moments):
        return Reference(path.name, None, features, _facts(path, *features))
    if features is None:
        x = read_examples(path, space)
        features = extract(extractor, x, space, context, "the reference").values
    if len(features) < FEWEST:
        raise DataError(f"suite.reference={path}: it holds {len(features)} examples; give at least {FEWEST}.")
    order = torch.randperm(len(features), generator=context.rng("reference/own", device="cpu"))
    found = Features(features[order].float())
    return Reference(path.name, found, moments(found.values), _facts(path, found.values))


def _facts(path: Path, *contents: Tensor) -> Flat:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content.contiguous().view(torch.uint8).reshape(-1).numpy().data)
    return {"reference": path.name, "reference_hash": digest.hexdigest()}


def _numbers(path: Path) -> Tensor | Moments | None:
    """Features or moments of an archive; None where it holds examples."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = set(archive.files)
            arrays = {name: torch.from_numpy(archive[name]) for name in names & {"mu", "sigma", "features"}}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise DataError(
            f"suite.reference={path}: it cannot be read ({error}); give a folder of images, or an .npz archive."
        ) from error
    if {"mu", "sigma"} <= names:
        mean, covariance = arrays["mu"].double(), arrays["sigma"].double()
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            raise DataError(
                f"suite.reference={path}: mu has shape {tuple(mean.shape)} and sigma {tuple(covariance.shape)}; give "
                "(D,) and (D, D)."
            )
        _check_covariance(path, mean, covariance)
        return Moments(mean, covariance)
    if "features" in names:
        features = arrays["features"]
        if features.ndim != 2 or len(features) < 2 or not bool(features.isfinite().all()):
            raise DataError(
                f"suite.reference={path}: features has shape {tuple(features.shape)}; give finite (N, D), N at least 2."
            )
        return features
    return None


def _check_covariance(path: Path, mean: Tensor, covariance: Tensor) -> None:
    """Raise where these are no moments: not finite, not symmetric, or with a variance below zero."""
    sane = bool(mean.isfinite().all() & covariance.isfinite().all())
    scale = float(covariance.abs().max()) if sane else 0.0
    if not sane or not torch.allclose(covariance, covariance.T, atol=1e-6 * scale):
        raise DataError(f"suite.reference={path}: mu and sigma must be finite, and sigma symmetric.")
    if float(torch.linalg.eigvalsh(covariance)[0]) < -1e-6 * scale:
        raise DataError(f"suite.reference={path}: sigma has variances below zero, and is no covariance.")
