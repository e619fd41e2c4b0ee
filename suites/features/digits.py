"""A small classifier of 8×8 digits, whose hidden layer stands where Inception stands for photographs.

Its weights ship with the package. ``python -m torchstone.harness.extractors`` trains them anew, on the training split.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from torchstone.models.model import Budget, Discrete, Discriminative, Space, Split, Trainable
from torchstone.models.training import minimise
from torchstone.results.record import Flat
from torchstone.suites.features.extractor import Extractor, ExtractorError, Features
from torchstone.suites.features.weights import file_hash

__all__ = ["SHAPE", "WEIGHTS", "DigitsClassifier", "DigitsExtractor"]

SHAPE = Space((8, 8), Discrete(17), classes=10)
WEIGHTS = Path(__file__).with_name("digits.safetensors")
HASH = "4ac9e72f32a7c61248935bed0260ce61b9617bc99cc1cd9bf5f9570bad9fba64"
FEATURES = 32


@final
class DigitsClassifier(nn.Module, Discriminative, Trainable):
    """Three convolutions and a layer of 32 features, from which the ten classes are told apart linearly.

    Features are scaled so that over the training split they vary by one on average.
    """

    scale: Tensor

    def __init__(self, space: Space = SHAPE, *, width: int = 32, dropout: float = 0.3) -> None:
        super().__init__()
        self.space = space
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1, stride=2),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1, stride=2),
            nn.GELU(),
        )
        self.hidden = nn.Linear(4 * width, FEATURES)
        self.dropout = nn.Dropout(dropout)
        self.classes = nn.Linear(FEATURES, 10)
        self.register_buffer("scale", torch.ones(()))
        self.eval()

    def features(self, x: Tensor) -> Tensor:
        """``(N, 32)`` of integers ``(N, 8, 8)`` from 0 to 16."""
        images = x[:, None].to(self.hidden.weight) / 8 - 1
        hidden = self.hidden(self.dropout(self.convolutions(images).flatten(1)))
        return nn.functional.gelu(hidden) / self.scale

    def logits(self, features: Tensor) -> Tensor:
        """``(N, 10)`` of features."""
        found: Tensor = self.classes(self.dropout(features * self.scale))
        return found

    def log_prob_label(self, x: Tensor) -> Tensor:
        """``log p(y|x)``, ``(N, 10)`` nats."""
        return self.logits(self.features(x)).log_softmax(1)

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Minimise the cross-entropy of the labels."""

        def nats(x: Tensor, y: Tensor | None) -> Tensor:
            assert y is not None
            return nn.functional.cross_entropy(self.logits(self.features(x)), y, reduction="none")

        self.scale.fill_(1.0)
        minimise(self, nats, train, validation, budget, rng=rng, batch=64, learning_rate=3e-3)
        with torch.no_grad():
            self.scale.copy_(self.features(train.batch(0, len(train))[0]).var(0).mean().sqrt())


@final
class DigitsExtractor(Extractor):
    """The hidden layer of `DigitsClassifier`, with the weights that ship, and its logits.

    Raises:
        ExtractorError: where the file of the weights is missing, or is another one.
    """

    name: ClassVar[str] = "digits-classifier"
    classes: ClassVar[str] = "ten digits, by a small classifier: no score of photographs"

    def __init__(self) -> None:
        from safetensors.torch import load_file

        if not WEIGHTS.is_file() or file_hash(WEIGHTS) != HASH:
            raise ExtractorError(f"{WEIGHTS} is missing or not the file that ships: install torchstone anew.")
        self.classifier = DigitsClassifier()
        self.classifier.load_state_dict(load_file(WEIGHTS))
        self.classifier.eval().requires_grad_(False)

    @property
    def facts(self) -> Flat:
        """Name, weights, size."""
        return {"extractor": self.name, "extractor_weights": HASH, "resize": "none", "feature_dims": FEATURES}

    def __call__(self, x: Tensor, space: Space, device: torch.device) -> Features:
        """Features of 8×8 images with 17 levels."""
        if (space.event_shape, space.support) != (SHAPE.event_shape, SHAPE.support):
            raise ExtractorError(
                f"suite.extractor=digits: it takes 8×8 images with 17 levels, and these are {space.event_shape} on "
                f"{space.support}; choose suite.extractor=auto."
            )
        self.classifier.to(device)
        with torch.no_grad():
            values = self.classifier.features(x.to(device).long())
            return Features(values.cpu(), self.classifier.logits(values).cpu())
