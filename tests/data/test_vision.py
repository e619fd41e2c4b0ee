"""Files of the official formats, only smaller, read by torchvision's own loaders with nothing but the md5 taken out."""

from __future__ import annotations

import pickle
import struct
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from torchstone.models.model import Discrete, Space
from torchstone.models.randomness import generator
from torchstone.suites.data import DataError, Dataset
from torchstone.suites.data.vision import celeba, cifar10, cifar100, fashion_mnist, mnist, svhn

RNG = np.random.default_rng(0)


@pytest.fixture
def no_md5(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import utils

    monkeypatch.setattr(utils, "check_md5", lambda path, md5: True)


def idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    )


def write_mnist(root: Path, folder: str = "MNIST", train: int = 60, test: int = 20) -> np.ndarray:
    raw = root / folder / "raw"
    images = RNG.integers(0, 256, (train + test, 28, 28), dtype=np.uint8)
    labels = np.arange(train + test) % 10
    idx(raw / "train-images-idx3-ubyte", images[:train])
    idx(raw / "train-labels-idx1-ubyte", labels[:train])
    idx(raw / "t10k-images-idx3-ubyte", images[train:])
    idx(raw / "t10k-labels-idx1-ubyte", labels[train:])
    return images


def write_cifar(root: Path, hundred: bool) -> np.ndarray:
    folder = root / ("cifar-100-python" if hundred else "cifar-10-batches-py")
    folder.mkdir(parents=True)
    names = ["train", "test"] if hundred else [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    images = RNG.integers(0, 256, (len(names), 12, 3072), dtype=np.uint8)
    for name, batch in zip(names, images, strict=True):
        labels = {"fine_labels" if hundred else "labels": [i % 10 for i in range(12)]}
        (folder / name).write_bytes(pickle.dumps({"data": batch} | labels))
    meta = {"fine_label_names": ["a"] * 100} if hundred else {"label_names": ["a"] * 10}
    (folder / ("meta" if hundred else "batches.meta")).write_bytes(pickle.dumps(meta))
    return images.reshape(-1, 3, 32, 32)


def write_svhn(root: Path) -> dict[str, np.ndarray]:
    images = {"train": RNG.integers(0, 256, (32, 32, 3, 30), dtype=np.uint8)}
    images["test"] = RNG.integers(0, 256, (32, 32, 3, 11), dtype=np.uint8)
    for name, array in images.items():
        labels = 1 + np.arange(array.shape[3])[:, None] % 10
        scipy.io.savemat(root / f"{name}_32x32.mat", {"X": array, "y": labels.astype(np.uint8)})
    return images


def write_celeba(root: Path) -> None:
    base = root / "celeba"
    (base / "img_align_celeba").mkdir(parents=True)
    names = [f"{i:06d}.jpg" for i in range(1, 10)]
    for name in names:
        pixels = RNG.integers(0, 256, (218, 178, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(base / "img_align_celeba" / name)
    (base / "list_eval_partition.txt").write_text("".join(f"{n} {i // 3}\n" for i, n in enumerate(names)))
    (base / "identity_CelebA.txt").write_text("".join(f"{n} {i}\n" for i, n in enumerate(names)))
    for file in ("list_bbox_celeba.txt", "list_landmarks_align_celeba.txt", "list_attr_celeba.txt"):
        (base / file).write_text("9\na b\n" + "".join(f"{n}  1 -1\n" for n in names))


def write_amat(root: Path) -> np.ndarray:
    images = RNG.integers(0, 2, (3, 4, 784))
    for name, part in zip(("train", "valid", "test"), images, strict=True):
        np.savetxt(root / f"binarized_mnist_{name}.amat", part, fmt="%d")
    return images.reshape(3, 4, 28, 28)


@pytest.mark.parametrize(("factory", "folder"), [(mnist, "MNIST"), (fashion_mnist, "FashionMNIST")])
def test_mnist(tmp_path: Path, factory: Callable[..., Dataset], folder: str, check_dataset) -> None:
    images = write_mnist(tmp_path, folder)
    data = factory(tmp_path)
    check_dataset(data)
    assert data.space == Space((28, 28), Discrete(256), 10)
    assert [len(split) for split in data.splits.values()] == [50, 10, 20]
    for split in data.splits.values():
        assert split.x.dtype == torch.uint8
        assert np.array_equal(split.x, images[split.ids])
    assert data.splits["validation"].ids.tolist() == list(range(50, 60))
    assert data.splits["test"].y.tolist() == [i % 10 for i in range(60, 80)]


def test_binarisation_is_part_of_the_identity(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    write_amat(tmp_path)
    every = [mnist(tmp_path, binarise=mode) for mode in ("none", "static", "dynamic", "threshold")]
    assert [data.name for data in every] == ["mnist", "mnist-static", "mnist-dynamic", "mnist-threshold"]
    assert [data.variant["binarise"] for data in every] == ["none", "static", "dynamic", "threshold"]
    assert len({data.fingerprint for data in every}) == 4
    assert [data.space.support for data in every] == [Discrete(256)] + [Discrete(2)] * 3


def test_threshold(tmp_path: Path, check_dataset) -> None:
    images = write_mnist(tmp_path)
    data = mnist(tmp_path, binarise="threshold")
    check_dataset(data)
    for split in data.splits.values():
        assert np.array_equal(split.x, images[split.ids] > 127)
        assert split.x.dtype == torch.uint8 and split.intensities is None


def test_dynamic(tmp_path: Path, check_dataset) -> None:
    """The draws have the intensities as means: |z| < 4 fails once in 16,000, and everything is seeded."""
    images = write_mnist(tmp_path)
    data = mnist(tmp_path, binarise="dynamic")
    check_dataset(data)
    assert data.fingerprint == mnist(tmp_path, binarise="dynamic").fingerprint
    for name, split in data.splits.items():
        p = images[split.ids] / 255
        z = (split.x.numpy() - p).sum() / np.sqrt((p * (1 - p)).sum())
        assert abs(z) < 4 and set(split.x.unique().tolist()) == {0, 1}
        assert (split.intensities is None) == (name != "train")
    train = data.splits["train"]
    assert torch.allclose(train.intensities, torch.from_numpy(images[:50] / 255).float())
    first, second = (train.minibatch(50, generator(seed, "visit"))[0] for seed in (0, 0))
    assert torch.equal(first, second) and not torch.equal(first, train.minibatch(50, generator(1, "visit"))[0])


def test_dynamic_keeps_black_black_and_white_white(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    images = np.zeros((6, 28, 28))
    images[:, :14] = 255
    for part in ("train", "t10k"):
        idx(raw / f"{part}-images-idx3-ubyte", images)
        idx(raw / f"{part}-labels-idx1-ubyte", np.zeros(6))
    for split in mnist(tmp_path, binarise="dynamic").splits.values():
        assert np.array_equal(split.x, images[: len(split)] / 255)


def test_static(tmp_path: Path, check_dataset) -> None:
    images = write_amat(tmp_path)
    data = mnist(tmp_path, binarise="static")
    check_dataset(data)
    assert data.space == Space((28, 28), Discrete(2))
    assert all(np.array_equal(split.x, part) for split, part in zip(data.splits.values(), images, strict=True))
    assert data.splits["test"].ids.tolist() == [8, 9, 10, 11]


@pytest.mark.parametrize("content", [b"", b"0 1 0\n", b"2 " * 784, b"x" + b"0 " * 784])
def test_static_rejects_other_text(tmp_path: Path, content: bytes) -> None:
    write_amat(tmp_path)
    (tmp_path / "binarized_mnist_valid.amat").write_bytes(content)
    with pytest.raises(
        DataError, match=r"binarized_mnist_valid\.amat is not text of zeros and ones, 784 in a line: fetch"
    ):
        mnist(tmp_path, binarise="static")


def test_static_names_the_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"binarized_mnist_train\.amat is missing: get .* with data\.root=PATH\.$"):
        mnist(tmp_path, binarise="static")


@pytest.mark.parametrize(("factory", "classes"), [(cifar10, 10), (cifar100, 100)])
def test_cifar(tmp_path: Path, factory: Callable[..., Dataset], classes: int, check_dataset, no_md5: None) -> None:
    images = write_cifar(tmp_path, hundred=classes == 100)
    data = factory(tmp_path)
    check_dataset(data)
    assert data.space == Space((3, 32, 32), Discrete(256), classes)
    assert [len(split) for split in data.splits.values()] == ([10, 2, 12] if classes == 100 else [50, 10, 12])
    for split in data.splits.values():
        assert split.x.dtype == torch.uint8 and np.array_equal(split.x, images[split.ids])
        assert split.y.tolist() == [i % 12 % 10 for i in split.ids.tolist()]


def test_cifar_is_not_unpickled_before_its_md5_is_right(tmp_path: Path) -> None:
    write_cifar(tmp_path, hundred=False)
    with pytest.raises(
        DataError, match=r"^The files of cifar10 are not in .*, or are not the official ones: fetch them"
    ):
        cifar10(tmp_path)


def test_svhn(tmp_path: Path, check_dataset, no_md5: None) -> None:
    images = write_svhn(tmp_path)
    data = svhn(tmp_path)
    check_dataset(data)
    assert data.space == Space((3, 32, 32), Discrete(256), 10)
    assert [len(split) for split in data.splits.values()] == [25, 5, 11]
    assert np.array_equal(data.splits["test"].x, images["test"].transpose(3, 2, 0, 1))
    assert data.splits["test"].y.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_celeba(tmp_path: Path, check_dataset, no_md5: None) -> None:
    write_celeba(tmp_path)
    data = celeba(tmp_path, size=16)
    check_dataset(data)
    assert data.space == Space((3, 16, 16), Discrete(256), None)
    assert [len(split) for split in data.splits.values()] == [3, 3, 3]
    assert data.variant["size"] == 16 and "antialiased" in data.variant["resize"]
    with Image.open(tmp_path / "celeba" / "img_align_celeba" / "000004.jpg") as image:
        expected = image.crop((0, 20, 178, 198)).resize((16, 16), Image.Resampling.BICUBIC)
    assert np.array_equal(data.splits["validation"].x[0].permute(1, 2, 0), np.array(expected))
    assert data.fingerprint != celeba(tmp_path, size=17).fingerprint


@pytest.mark.parametrize("factory", [mnist, fashion_mnist, cifar10, cifar100, svhn, celeba])
def test_missing_files_are_one_sentence(tmp_path: Path, factory: Callable[..., Dataset]) -> None:
    with pytest.raises(DataError) as caught:
        factory(tmp_path / "nowhere")
    message = str(caught.value)
    assert message.startswith(f"The files of {factory.__name__} are not in {tmp_path / 'nowhere'}")
    assert message.endswith("fetch them with data.download=true, or say where they are with data.root=PATH.")


@pytest.mark.parametrize("factory", [mnist, cifar10, svhn])
def test_a_broken_network_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: Callable[..., Dataset]
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(
        DataError, match=rf"^{factory.__name__} could not be downloaded to .*: check the network, .*PATH\.$"
    ):
        factory(tmp_path, download=True)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage!",
        struct.pack(">4I", 0x0803, 9, 28, 28) + bytes(100),
        struct.pack(">4I", 0x0803, 60, 1, 1) + bytes(60),
    ],
)
def test_damaged_files_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(
        DataError, match=r"^The files of mnist in .* cannot be read \(.*\): delete them and fetch them anew"
    ):
        mnist(tmp_path)


def test_labels_without_images_are_an_error(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    idx(tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte", np.zeros(3))
    with pytest.raises(DataError, match=r"mnist in .* has too few images or labels: fetch it anew"):
        mnist(tmp_path)


def test_one_byte_changes_the_fingerprint(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    before = mnist(tmp_path).fingerprint
    file = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert mnist(tmp_path).fingerprint != before
