"""torch-fidelity's extractors, Inception and DINOv2, from weights that are there: nothing is downloaded.

Importing torch-fidelity takes a second; it is imported where an extractor is made.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import ClassVar, final

import torch
from torch import Tensor

from torchstone.models.model import Discrete, Space
from torchstone.results.record import Flat
from torchstone.suites.features.extractor import Extractor, ExtractorError, Features
from torchstone.suites.features.weights import file_hash

__all__ = ["DinoExtractor", "InceptionExtractor", "as_bytes"]

INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
DINO, DINO_FOLDER, DINO_WEIGHTS = "dinov2-vit-l-14", "facebookresearch_dinov2_main", "dinov2_vitl14_pretrain.pth"


@final
class InceptionExtractor(Extractor):
    """The pooled features, 2,048, and the logits without bias of the Inception network of 2015 that FIDs are told in.

    Args:
        path: its weights; None for torch's cache of checkpoints, where torch-fidelity keeps them.

    Raises:
        ExtractorError: where there are no weights, or the file holds something else.
    """

    name: ClassVar[str] = "inception-2015-12-05"
    classes: ClassVar[str] = "1,008 classes of ImageNet: of little meaning for other images"

    def __init__(self, path: Path | None = None) -> None:
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

        self.path = path or Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION
        if not self.path.is_file():
            raise ExtractorError(
                f"suite.extractor=inception: there are no weights at {self.path}; fetch {URL_INCEPTION_V3} and put it "
                "there, or name another place with suite.weights=PATH."
            )
        _check_pickle(self.path)
        try:
            self.network = FeatureExtractorInceptionV3(
                self.name, ["2048", "logits_unbiased"], feature_extractor_weights_path=str(self.path)
            )
        except (RuntimeError, AttributeError, TypeError) as error:
            raise ExtractorError(
                f"suite.weights={self.path}: the file holds no weights of this network ({_short(error)}); give "
                f"torch-fidelity's {INCEPTION}."
            ) from error

    @property
    def facts(self) -> Flat:
        """Name, weights, resize, size."""
        return {
            "extractor": self.name,
            "extractor_weights": file_hash(self.path),
            "resize": "299, bilinear as in TensorFlow 1, not antialiased (torch-fidelity)",
            "feature_dims": 2048,
        }

    def __call__(self, x: Tensor, space: Space, device: torch.device) -> Features:
        """Features of images of any size, grey or coloured."""
        with torch.no_grad():
            values, logits = self.network.to(device)(as_bytes(x, space).to(device))
        return Features(values.cpu(), logits.cpu())


@final
class DinoExtractor(Extractor):
    """The class token, 1,024 features, of DINOv2 ViT-L/14, from torch hub's cache of its code and weights.

    Source: Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", 2023, arXiv:2304.07193; Stein
    et al., "Exposing flaws of generative model evaluation metrics", 2023, arXiv:2306.04675, for its use here.

    Args:
        path: a folder in the form of torch hub's cache; None for the cache itself.

    Raises:
        ExtractorError: where code or weights are not in the cache, or cannot be loaded.
    """

    name: ClassVar[str] = DINO

    def __init__(self, path: Path | None = None) -> None:
        from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2

        hub = path or Path(torch.hub.get_dir())
        self.code, self.path = hub / DINO_FOLDER, hub / "checkpoints" / DINO_WEIGHTS
        for place, what in ((self.code / "hubconf.py", "code"), (self.path, "weights")):
            if not place.is_file():
                raise ExtractorError(
                    f"suite.extractor=dinov2: there is no {what} of it at {place}; where there is a network, "
                    "python -c \"import torch; torch.hub.load('facebookresearch/dinov2', 'dinov2_vitl14')\" puts it "
                    "into torch's own cache, and suite.weights=FOLDER names another."
                )
        _check_pickle(self.path)
        before = torch.hub.get_dir()
        torch.hub.set_dir(hub)
        try:
            self.network = FeatureExtractorDinoV2(DINO, ["dinov2"])
        except (RuntimeError, AttributeError, TypeError, OSError) as error:
            raise ExtractorError(
                f"suite.extractor=dinov2: what is in {self.code} and {self.path} cannot be loaded ({_short(error)}); "
                "fetch both anew."
            ) from error
        finally:
            torch.hub.set_dir(before)

    @property
    def facts(self) -> Flat:
        """Name, weights, code, resize."""
        code = hashlib.sha256()
        for file in sorted(self.code.rglob("*.py")):
            code.update(file.read_bytes())
        return {
            "extractor": self.name,
            "extractor_weights": file_hash(self.path),
            "extractor_code": code.hexdigest(),
            "resize": "224, bilinear as in TensorFlow 1, not antialiased (torch-fidelity)",
        }

    def __call__(self, x: Tensor, space: Space, device: torch.device) -> Features:
        """Features of images of any size, grey or coloured."""
        with torch.no_grad():
            (values,) = self.network.to(device)(as_bytes(x, space).to(device))
        return Features(values.cpu())


def as_bytes(x: Tensor, space: Space) -> Tensor:
    """Images as ``(N, 3, H, W)`` bytes: grey ones three times, levels spread evenly over 0 to 255 and rounded.

    Raises:
        ExtractorError: where the examples are no images.
    """
    shape = space.event_shape
    if (
        len(shape) not in (2, 3)
        or (len(shape) == 3 and shape[0] not in (1, 3))
        or not isinstance(space.support, Discrete)
    ):
        raise ExtractorError(
            f"These extractors take images of (H, W), (1, H, W) or (3, H, W) with integer levels, and examples are "
            f"{shape} on {space.support}; choose suite.extractor=auto."
        )
    images = x[:, None] if len(shape) == 2 else x
    scaled = images.double() * (255 / (space.support.levels - 1))
    return scaled.round().to(torch.uint8).expand(-1, 3, -1, -1)


def _check_pickle(path: Path) -> None:
    """Raise where a file holds more than tensors: torch-fidelity would run whatever it says."""
    try:
        torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ExtractorError(
            f"suite.weights={path}: it cannot be read as tensors and nothing else ({_short(error)}); fetch it anew."
        ) from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
