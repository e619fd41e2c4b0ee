"""The image sets that papers report, through torchvision, which is imported only when one of them is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor

from torchstone.models.model import Discrete, Space, Split
from torchstone.suites.data.dataset import DataError, Dataset
from torchstone.suites.data.local import square

__all__ = ["celeba", "cifar10", "cifar100", "fashion_mnist", "mnist", "svhn"]

T = TypeVar("T")

_ROOT = Path("data")
_STATIC_ADDRESS = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"


def mnist(
    root: Path = _ROOT,
    download: bool = False,
    binarise: Literal["none", "static", "dynamic", "threshold"] = "none",
) -> Dataset:
    """MNIST, 28×28 grey; the last 10,000 training images are the validation split.

    Args:
        root: the folder with the files, in torchvision's layout.
        download: fetch the files if they are not there.
        binarise: none, 256 levels; static, the fixed binary files of Larochelle and Murray (2011), which have no labels
            and must lie in ``root``; dynamic, a Bernoulli draw with the intensities as probabilities, fresh at every
            visit in training and fixed elsewhere; threshold, 1 where the intensity is above 127.
    """
    from torchvision.datasets import MNIST

    if binarise == "static":
        return _static_mnist(root.expanduser())
    splits = _idx_splits("mnist", MNIST, root, download)
    return _grey("mnist", splits, binarise, licence="CC-BY-SA-3.0")


def fashion_mnist(
    root: Path = _ROOT, download: bool = False, binarise: Literal["none", "dynamic", "threshold"] = "none"
) -> Dataset:
    """Fashion-MNIST, 28×28 grey; the last 10,000 training images are the validation split.

    Args:
        root: the folder with the files, in torchvision's layout.
        download: fetch the files if they are not there.
        binarise: none, 256 levels; dynamic, a Bernoulli draw with the intensities as probabilities, fresh at every
            visit in training and fixed elsewhere; threshold, 1 where the intensity is above 127.
    """
    from torchvision.datasets import FashionMNIST

    splits = _idx_splits("fashion_mnist", FashionMNIST, root, download)
    return _grey("fashion_mnist", splits, binarise, licence="MIT")


def cifar10(root: Path = _ROOT, download: bool = False) -> Dataset:
    """CIFAR-10, 32×32 RGB; the last 5,000 training images are the validation split.

    Args:
        root: the folder with the files, in torchvision's layout.
        download: fetch the files if they are not there.
    """
    from torchvision.datasets import CIFAR10

    return _cifar("cifar10", CIFAR10, root, download, classes=10)


def cifar100(root: Path = _ROOT, download: bool = False) -> Dataset:
    """CIFAR-100 with its 100 fine labels, 32×32 RGB; the last 5,000 training images are the validation split.

    Args:
        root: the folder with the files, in torchvision's layout.
        download: fetch the files if they are not there.
    """
    from torchvision.datasets import CIFAR100

    return _cifar("cifar100", CIFAR100, root, download, classes=100)


def svhn(root: Path = _ROOT, download: bool = False) -> Dataset:
    """Street View House Numbers, cropped digits, 32×32 RGB; the last 5,000 training images are the validation split.

    The ``extra`` set of 531,131 easier images is not used.

    Args:
        root: the folder with the files, in torchvision's layout.
        download: fetch the files if they are not there.
    """
    from torchvision.datasets import SVHN

    def read(train: bool) -> tuple[Tensor, Tensor]:
        stored = SVHN(root.expanduser(), split="train" if train else "test", download=download)
        return torch.from_numpy(np.ascontiguousarray(stored.data)), torch.from_numpy(np.atleast_1d(stored.labels))

    splits = _with_validation("svhn", root, download, read, held_out=5000)
    licence = "not stated by its authors, who ask for non-commercial use"
    return Dataset("svhn", Space((3, 32, 32), Discrete(256), classes=10), splits, licence)


def celeba(root: Path = _ROOT, download: bool = False, size: Annotated[int, Interval(ge=8, le=178)] = 64) -> Dataset:
    """CelebA faces, aligned, without labels, in the official splits.

    Args:
        root: the folder with the files, in torchvision's layout.
        download: fetch the files if they are not there; this needs the package gdown.
        size: the central square of 178×178 pixels is resized to this, bicubic and antialiased.
    """
    from torchvision.datasets import CelebA

    splits, start = {}, 0
    for name, official in (("train", "train"), ("validation", "valid"), ("test", "test")):
        x = _read("celeba", root, download, partial(_faces, CelebA, official, root, download, size))
        splits[name] = Split(x, None, torch.arange(start, start + len(x)))
        start += len(x)
    variant: dict[str, str | int] = {"size": size, "resize": "centre crop 178, bicubic, antialiased"}
    licence = "non-commercial research only (https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html)"
    return Dataset("celeba", Space((3, size, size), Discrete(256)), splits, licence, variant)


def _faces(cls: Any, official: str, root: Path, download: bool, size: int) -> Tensor:
    stored = cls(root.expanduser(), split=official, target_type=[], download=download)
    x = torch.empty((len(stored), 3, size, size), dtype=torch.uint8)
    for i in range(len(stored)):
        image, _ = stored[i]
        x[i] = torch.from_numpy(np.array(square(image, size))).permute(2, 0, 1)
    return x


def _cifar(name: str, cls: Any, root: Path, download: bool, classes: int) -> Dataset:
    def read(train: bool) -> tuple[Tensor, Tensor]:
        stored = cls(root.expanduser(), train=train, download=download)
        return torch.from_numpy(stored.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(stored.targets)

    splits = _with_validation(name, root, download, read, held_out=5000)
    return Dataset(name, Space((3, 32, 32), Discrete(256), classes), splits, licence="not stated by its authors")


def _idx_splits(name: str, cls: Any, root: Path, download: bool) -> dict[str, Split]:
    def read(train: bool) -> tuple[Tensor, Tensor]:
        stored = cls(root.expanduser(), train=train, download=download)
        if stored.data.shape[1:] != (28, 28):
            raise ValueError(f"images of {tuple(stored.data.shape[1:])} pixels instead of 28×28")
        return stored.data, stored.targets

    return _with_validation(name, root, download, read, held_out=10000)


def _with_validation(
    name: str, root: Path, download: bool, read: Callable[[bool], tuple[Tensor, Tensor]], held_out: int
) -> dict[str, Split]:
    """The official training set without its end, its end (never more than a sixth of it), and the official test set."""
    x, y = _read(name, root, download, lambda: read(True))
    test_x, test_y = _read(name, root, download, lambda: read(False))
    if not len(x) == len(y) >= 2 or not len(test_x) == len(test_y) >= 1:
        raise DataError(f"{name} in {root} has too few images or labels: fetch it anew with data.download=true.")
    total, cut = len(x), len(x) - max(1, min(held_out, len(x) // 6))
    return {
        "train": Split(x[:cut], y[:cut], torch.arange(cut)),
        "validation": Split(x[cut:], y[cut:], torch.arange(cut, total)),
        "test": Split(test_x, test_y, torch.arange(total, total + len(test_x))),
    }


def _read(name: str, root: Path, download: bool, read: Callable[[], T]) -> T:
    """What ``read`` returns; whatever torchvision, or the network, has against it becomes one sentence."""
    try:
        return read()
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if download:
            message = (
                f"{name} could not be downloaded to {root.absolute()}, or not be read there ({reason}): "
                "check the network, delete damaged files, or name a folder that has them with data.root=PATH."
            )
        elif "not found" in reason:
            message = (
                f"The files of {name} are not in {root.absolute()}, or are not the official ones: "
                "fetch them with data.download=true, or say where they are with data.root=PATH."
            )
        else:
            message = (
                f"The files of {name} in {root.absolute()} cannot be read ({reason}): "
                "delete them and fetch them anew with data.download=true, or name another folder with data.root=PATH."
            )
        raise DataError(message) from error


def _grey(name: str, splits: dict[str, Split], binarise: str, licence: str) -> Dataset:
    """28×28 images as they are, or binarised; that is part of the name."""
    if binarise == "none":
        return Dataset(name, Space((28, 28), Discrete(256), 10), splits, licence, {"binarise": "none"})
    change = {"threshold": _threshold, "dynamic": _dynamic}[binarise]
    binary = {split: change(split, data) for split, data in splits.items()}
    return Dataset(f"{name}-{binarise}", Space((28, 28), Discrete(2), 10), binary, licence, {"binarise": binarise})


def _threshold(split: str, data: Split) -> Split:
    return Split((data.x > 127).to(torch.uint8), data.y, data.ids)


def _dynamic(split: str, data: Split) -> Split:
    """One fixed draw with the intensities as probabilities, which stay with the training split alone."""
    stream = np.random.PCG64(("train", "validation", "test").index(split))
    x = torch.empty_like(data.x)
    for i, image in enumerate(data.x):
        ticket = torch.from_numpy((stream.random_raw(image.numel()) % np.uint64(255)).astype(np.int64))
        x[i] = ticket.reshape(image.shape) < image
    return Split(x, data.y, data.ids, data.x / 255 if split == "train" else None)


def _static_mnist(root: Path) -> Dataset:
    """The binary MNIST of H. Larochelle and I. Murray, The Neural Autoregressive Distribution Estimator, 2011."""
    files: Mapping[str, str] = {"train": "train", "validation": "valid", "test": "test"}
    splits, start = {}, 0
    for name, part in files.items():
        x = _amat(root / f"binarized_mnist_{part}.amat")
        splits[name] = Split(x, None, torch.arange(start, start + len(x)))
        start += len(x)
    return Dataset(
        "mnist-static", Space((28, 28), Discrete(2)), splits, licence="CC-BY-SA-3.0", variant={"binarise": "static"}
    )


def _amat(path: Path) -> Tensor:
    """Images from lines of 784 zeros and ones."""
    if not path.is_file():
        raise DataError(
            f"{path.absolute()} is missing: get binarized_mnist_train.amat, _valid.amat and _test.amat by hand "
            f"from {_STATIC_ADDRESS} and say where they are with data.root=PATH."
        )
    symbols = np.fromfile(path, dtype=np.uint8)
    digits = symbols[~np.isin(symbols, np.frombuffer(b" \t\r\n", dtype=np.uint8))] - np.uint8(ord("0"))
    if len(digits) == 0 or len(digits) % 784 or digits.max() > 1:
        raise DataError(
            f"{path.absolute()} is not text of zeros and ones, 784 in a line: "
            f"fetch it anew from {_STATIC_ADDRESS}, or use data.binarise=dynamic."
        )
    return torch.from_numpy(digits.reshape(-1, 28, 28))
