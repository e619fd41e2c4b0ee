"""Which extractor is taken: the one that is asked for, or the one that suits the data."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from torchstone.models.model import Space
from torchstone.suites.features.digits import SHAPE, DigitsExtractor
from torchstone.suites.features.extractor import Extractor, ExtractorError
from torchstone.suites.features.fidelity import DinoExtractor, InceptionExtractor
from torchstone.suites.features.projection import ProjectionExtractor

__all__ = ["Choice", "chosen"]

Choice: TypeAlias = Literal["auto", "inception", "dinov2", "digits", "projection"]
SMALLEST = 32  # pixels across, from which Inception has something to look at


def chosen(choice: Choice, weights: Path | None, space: Space) -> Extractor:
    """The extractor for examples of ``space``.

    ``auto`` takes the digits classifier for 8×8 images with 17 levels, Inception for colour images from 32×32 on, and
    for all others a random projection, which says that it is a toy.

    Raises:
        ExtractorError: where it cannot be had.
    """
    if weights is not None and choice not in ("inception", "dinov2"):
        raise ExtractorError(
            f"suite.weights={weights}: weights are named for suite.extractor=inception or dinov2, not for {choice}."
        )
    if choice == "auto":
        choice = _suited(space)
    match choice:
        case "inception":
            return InceptionExtractor(weights)
        case "dinov2":
            return DinoExtractor(weights)
        case "digits":
            return DigitsExtractor()
        case _:
            return ProjectionExtractor(space)


def _suited(space: Space) -> Choice:
    if (space.event_shape, space.support) == (SHAPE.event_shape, SHAPE.support):
        return "digits"
    match space.event_shape:
        case (3, height, width) if min(height, width) >= SMALLEST:
            return "inception"
    return "projection"
