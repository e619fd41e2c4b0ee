"""Encoders of the library timm: DINOv2, vision transformers, residual networks and a thousand others."""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

import torch
from annotated_types import Ge
from torch import Tensor, nn

from torchstone.models.encoders.images import image_side
from torchstone.models.model import Discrete, Encoder, ModelError, Pretrained, Space
from torchstone.models.spaces import narrowed

__all__ = ["TimmEncoder", "timm_encoder"]


def timm_encoder(
    name: str,
    space: Space,
    *,
    weights: Path | None = None,
    pretrained: bool = True,
    size: Annotated[int, Ge(1)] | None = None,
    crop: bool = True,
) -> TimmEncoder:
    """A network of timm without its classifier, on images of any size. Nothing is ever downloaded.

    Weights load in whole or not at all. What they were trained on, and whether with labels or on the images of a test,
    they do not say.

    Reference: Wightman, "PyTorch Image Models", 2019, https://github.com/huggingface/pytorch-image-models.

    Args:
        name: what timm calls it, such as ``vit_small_patch14_dinov2`` or ``resnet18.a1_in1k``.
        space: images, grey or of three channels, bounded.
        weights: a ``.safetensors`` file, or one that ``torch.load`` reads with ``weights_only=True``; none takes the
            file that timm or huggingface_hub keep in their local caches.
        pretrained: whether there are weights; without, they are random as timm initialises them.
        size: the side that images are resized to; none takes the one that the weights were trained at.
        crop: whether images are first resized to a little more, and the margin is cut off, as timm evaluates; of small
            images that fill their frame the margin is missed.

    Raises:
        ModelError: where timm is not installed or has no such network, weights are missing or of another network, or
            the data are no images.
    """
    timm = _timm()
    _require_name(timm, name)
    settings = _size_settings(timm, name, size)

    fresh = _Fresh(name, tuple(settings.items()))
    if pretrained:
        state = _state(weights if weights is not None else _cached(timm, name))
        network = _loaded(timm, name, state, settings)
    elif weights is None:
        network = fresh()
    else:
        raise ModelError(
            "model.pretrained=false draws random weights, and model.weights names a file: give one of them."
        )
    shown = timm.data.resolve_model_data_config(network)
    learned = f"weights of timm's {name}" if pretrained else ""
    return TimmEncoder(space, network, fresh, shown, size or shown["input_size"][-1], crop, learned)


@final
@dataclass(frozen=True)
class _Fresh:
    """Makes a network of timm without its classifier, its weights drawn from the global generator."""

    name: str
    settings: tuple[tuple[str, Any], ...]

    def __call__(self) -> nn.Module:
        network: nn.Module = _timm().create_model(self.name, pretrained=False, num_classes=0, **dict(self.settings))
        return network


@final
class TimmEncoder(nn.Module, Encoder, Pretrained):
    """A network of timm, and the way from examples to what it takes.

    Levels are spread over [0, 1], a grey channel is repeated, the shorter side is resized (by timm's interpolation,
    antialiased, and cut off at 0 and 1, as of images in files), the centre is taken, and mean and deviation of the
    network's own training data are taken out.

    Args:
        space: images.
        network: what is asked for features, ``(N, 3, S, S)`` to ``(N, D)``.
        fresh: makes another like it, with weights drawn from the global generator.
        config: timm's data configuration: interpolation, mean, std and crop_pct.
        size: the side S.
        crop: whether the margin is cut off.
        pretraining: whose weights they are, empty for random ones.

    Raises:
        ModelError: where the data are no images of one or three channels, or unbounded.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        space: Space,
        network: nn.Module,
        fresh: Callable[[], nn.Module],
        config: dict[str, Any],
        size: int,
        crop: bool,
        pretraining: str,
    ) -> None:
        super().__init__()
        self.pretraining = pretraining
        self.space = narrowed(space, space.support, conditional=False)
        self.low, self.reach = _range(space)
        self.size, self.interpolation = size, str(config["interpolation"])
        self.resized = int(size / config["crop_pct"]) if crop else size
        self.network = network
        self.drawing = _Drawing(network, fresh)
        self.register_buffer("mean", torch.tensor(config["mean"])[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(config["std"])[:, None, None], persistent=False)
        self.eval()

    def encode(self, x: Tensor) -> Tensor:
        """The network's features before its classifier, ``(N, D)``."""
        features: Tensor = self.network(self.images(x))
        return features

    def images(self, x: Tensor) -> Tensor:
        """What the network is given of examples as stored, ``(N, 3, S, S)``."""
        from torchvision.transforms.v2 import InterpolationMode, functional

        grey_or_colour = ((x.to(self.mean) - self.low) / self.reach).reshape(len(x), -1, *self.space.event_shape[-2:])
        mode = InterpolationMode(self.interpolation)
        resized = functional.resize(grey_or_colour.expand(-1, 3, -1, -1), [self.resized], mode, antialias=True)
        seen: Tensor = functional.center_crop(resized.clamp(0, 1), [self.size])
        return (seen - self.mean) / self.deviation


@final
class _Drawing(nn.Module):
    """Draws all weights of a network as timm does, once its layers have drawn theirs as torch does."""

    def __init__(self, network: nn.Module, fresh: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.drawn, self.fresh = (network,), fresh  # in a tuple, for the network is a part of the encoder only once

    def reset_parameters(self) -> None:
        self.drawn[0].load_state_dict(self.fresh().state_dict())


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise ModelError("timm is not installed: `pip install torchstone[timm]`.") from error
    return timm


def _require_name(timm: Any, name: str) -> None:
    """Raise ModelError where timm has no network ``name``, or none with the tag after its dot."""
    known = timm.list_models()
    if ":" in name or "/" in name or name.partition(".")[0] not in known:
        near = difflib.get_close_matches(name.rpartition("/")[2].partition(".")[0], known, n=3, cutoff=0.3)
        raise ModelError(
            f"timm has no network {name!r}; near it are {', '.join(near) or 'none'}; timm.list_models() lists all."
        )
    tags = timm.list_pretrained(f"{name.partition('.')[0]}.*")
    if "." in name and name not in tags:
        raise ModelError(f"timm has no weights {name!r} of that network; it has {', '.join(tags) or 'none'}.")


def _size_settings(timm: Any, name: str, size: int | None) -> dict[str, Any]:
    """What the factory of a network has to be told of a size other than its own."""
    fixed = timm.get_pretrained_cfg(name).fixed_input_size
    return {"img_size": size} if fixed and size is not None else {}


def _loaded(timm: Any, name: str, state: dict[str, Tensor], settings: dict[str, Any]) -> nn.Module:
    """The network with all of ``state`` in it, its classifier taken off afterwards."""
    classifier = timm.get_pretrained_cfg(name).classifier
    weight = state.get(f"{classifier if isinstance(classifier, str) else (classifier or ('',))[0]}.weight")
    classes = 0 if weight is None else len(weight)
    source = {"state_dict": dict(state), "num_classes": classes, "source": "", "label_offset": 0}
    try:
        network: nn.Module = timm.create_model(
            name, pretrained=True, num_classes=classes, pretrained_cfg_overlay=source, **settings
        )
    except (RuntimeError, KeyError, ValueError) as error:
        raise ModelError(
            f"The weights do not fit {name}, and are not loaded in part: {' '.join(str(error).split())}"
        ) from error
    if classes:
        network.reset_classifier(0)  # type: ignore[operator]
    return network


def _state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that can run no code when it is read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ModelError(
            f"model.weights={path}: it cannot be read ({' '.join(str(error).split())[:200]}); give a "
            ".safetensors file, or a state dictionary that torch.load reads with weights_only=True."
        ) from error
    state = state.get("state_dict", state.get("model", state)) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(each, Tensor) for each in state.values()):
        raise ModelError(f"model.weights={path}: it holds no state dictionary; save model.state_dict() and no more.")
    return state


def _cached(timm: Any, name: str) -> Path:
    """The file of weights in the cache of huggingface_hub or of torch. Raises ModelError where there is none."""
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(name)
    names = ("model.safetensors", "pytorch_model.bin") if config.hf_hub_id else ()
    found = [try_to_load_from_cache(config.hf_hub_id, config.hf_hub_filename or each) for each in names]
    checkpoints = Path(torch.hub.get_dir()) / "checkpoints"
    places = [Path(each) for each in found if isinstance(each, str)]
    places += [checkpoints / config.url.rpartition("/")[2]] if config.url else []
    for place in places:
        if place.is_file():
            return place
    fetch = f"on a machine with a network `hf download {config.hf_hub_id}`; " if config.hf_hub_id else ""
    raise ModelError(
        f"The weights of {name} are not on this machine, and nothing is downloaded: set model.weights=PATH to a "
        f".safetensors file of them ({fetch}or copy them to {checkpoints}), or model.pretrained=false for random ones."
    )


def _range(space: Space) -> tuple[float, float]:
    """The least value of images of one or three channels, and how far above it the greatest is."""
    image_side(space, "timm")
    support, channels = space.support, space.event_shape[0] if len(space.event_shape) == 3 else 1
    if channels not in (1, 3):
        raise ModelError(f"timm takes images of one or three channels, and these have {channels}.")
    if isinstance(support, Discrete):
        return 0.0, float(support.levels - 1)
    if not support.bounded:
        raise ModelError("timm takes images whose values are bounded, and these are not: bring them to [0, 1].")
    return support.low, support.high - support.low
