"""A user's own data: a folder of images, an archive of NumPy arrays, a corpus of bytes."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
import torch
from annotated_types import Ge, Interval
from numpy.typing import NDArray
from torch import Tensor

from torchstone.models.model import Continuous, Discrete, Space, Split
from torchstone.suites.data.dataset import DataError, Dataset
from torchstone.suites.data.splitting import select, split_by_content, tenths

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["archive", "folder", "images", "npz", "square", "text"]

T = TypeVar("T")

_LICENCE = "not stated (a user's own data)"
_IMAGES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"))
_DAMAGE = (ValueError, OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)
_CONVERTIBLE = frozenset(("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"))
_GIVEN = ("train_x", "validation_x", "test_x", "train_y", "validation_y", "test_y")
_ARCHIVES = (("x",), ("x", "y"), _GIVEN[:3], _GIVEN)


def folder(
    path: Path,
    size: Annotated[int, Interval(ge=1, le=4096)] | None = None,
    mode: Literal["L", "RGB"] | None = None,
) -> Dataset:
    """The images below a folder, split by content: 80 % train, 10 % validation, 10 % test.

    Grey images have shape ``(H, W)``, colour images ``(3, H, W)``. Where every image lies in a subfolder, and there are
    at least two of these, the subfolders are the classes, in the order of their names.

    Args:
        path: the folder; its subfolders are searched too.
        size: resize every image to size × size, after cropping it to its central square; None takes them as they are.
        mode: convert every image to grey (L) or to colour (RGB); None takes them as they are.
    """
    files = _image_files(path)
    x = _stacked(files, size, mode)
    y, classes = _classes(path, files)
    splits = select(x, y, split_by_content(x, tenths(len(x))))
    variant: dict[str, str | int] = (
        {} if size is None else {"size": size, "resize": "centre crop, bicubic, antialiased"}
    )
    variant |= {} if mode is None else {"mode": mode}
    return Dataset(
        f"folder:{path.resolve().name}", Space(tuple(x.shape[1:]), Discrete(256), classes), splits, _LICENCE, variant
    )


def images(path: Path) -> Tensor:
    """The images below a folder as they are, ``(N, H, W)`` or ``(N, 3, H, W)`` bytes, in the order of their names.

    Raises:
        DataError: where there are none, one is broken, or they differ in size or mode.
    """
    return _stacked(_image_files(path), None, None)


def archive(path: Path) -> Tensor:
    """The array ``x`` of an ``.npz`` archive, ``(N, *event)``: bytes or int32 for integers, or real numbers.

    Raises:
        DataError: where there is none, or it holds no examples.
    """
    arrays = _arrays(path)
    if "x" not in arrays:
        raise DataError(f"{path} holds {', '.join(arrays)}; give an archive with x: numpy.savez(PATH, x=...).")
    _check_events(path, [arrays["x"]])
    _, dtype = _support(path, [arrays["x"]], None)
    return torch.from_numpy(np.ascontiguousarray(arrays["x"], dtype=dtype))


def square(image: Image, size: int) -> Image:
    """Crop an image to its largest central square and resize that to ``size``, bicubic and antialiased."""
    from PIL.Image import Resampling

    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((size, size), Resampling.BICUBIC)


def npz(path: Path, levels: Annotated[int, Interval(ge=2, le=2**31)] | None = None) -> Dataset:
    """The arrays of an ``.npz`` archive, never unpickled.

    It holds ``x``, and ``y`` if there are labels, to be split by content: 80 % train, 10 % validation, 10 % test. Or it
    holds ``train_x``, ``validation_x`` and ``test_x``, and ``train_y`` and so on if there are labels. Integers are
    discrete data; floating-point numbers are continuous data, and taken unchanged.

    Args:
        path: the archive.
        levels: how many values, from 0 on, an integer can take; None takes 256 for arrays of bytes (uint8), and for
            other integers one more than the largest in the archive.
    """
    arrays = _arrays(path)
    xs = [array for name, array in arrays.items() if name.endswith("x")]
    _check_events(path, xs)
    ys = [_labels(path, name, arrays) for name in arrays if name.endswith("y")]
    support, dtype = _support(path, xs, levels)
    tensors = [torch.from_numpy(np.ascontiguousarray(array, dtype=dtype)) for array in xs]
    splits = _divided(tensors[0], ys[0] if ys else None) if "x" in arrays else _given(tensors, ys)
    classes = 1 + max(int(y.max()) for y in ys) if ys else None
    space = Space(tuple(xs[0].shape[1:]), support, classes)
    variant = {"levels": support.levels} if isinstance(support, Discrete) else {}
    return Dataset(f"npz:{path.stem}", space, splits, _LICENCE, variant)


def text(path: Path, length: Annotated[int, Ge(1)] = 64) -> Dataset:
    """The bytes of a file, or of the ``.txt`` files of a folder one after the other, cut into windows.

    The first 80 % of the bytes are for training, the next 10 % for validation, the last 10 % for the test. Bytes at
    the end of such a region that do not fill a window are left out; the variant says how many.

    Args:
        path: the file or folder.
        length: bytes in one window.
    """
    data = _corpus(path)
    cuts = [0, len(data) * 8 // 10, len(data) * 9 // 10, len(data)]
    splits, used = {}, 0
    for name, start, stop in zip(("train", "validation", "test"), cuts, cuts[1:], strict=False):
        count = (stop - start) // length
        if count == 0:
            raise DataError(
                f"{path} has {len(data)} bytes, too few for a {name} window of {length}: "
                f"give at least {10 * length} bytes, or shorter windows, such as data.length={max(1, len(data) // 10)}."
            )
        x = torch.from_numpy(data[start : start + count * length].reshape(count, length))
        splits[name] = Split(x, None, torch.arange(used, used + count))
        used += count
    variant = {"window": length, "unused_bytes": len(data) - used * length}
    return Dataset(f"text:{path.resolve().stem}", Space((length,), Discrete(256)), splits, _LICENCE, variant, text=True)


def _image_files(path: Path) -> list[Path]:
    if not path.is_dir():
        raise DataError(f"{path} is not a folder; give a folder of images, as in data=folder:PATH.")
    inside = {file: file.relative_to(path).parts for file in path.rglob("*") if file.suffix.lower() in _IMAGES}
    files = [file for file, parts in inside.items() if file.is_file() and not any(p.startswith(".") for p in parts)]
    if not files:
        raise DataError(f"{path} holds no images; give a folder with files such as {', '.join(sorted(_IMAGES))}.")
    return sorted(files, key=inside.__getitem__)


def _decoded(file: Path, read: Callable[[Image], T]) -> T:
    """What ``read`` makes of the opened image."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            return read(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{file} cannot be read as an image ({error}): repair it, or take it out of the folder."
        ) from error


def _common_shape(files: Sequence[Path], size: int | None, mode: str | None) -> tuple[int, ...]:
    """The event shape of all these images, known from their headers."""
    headers = [_decoded(file, lambda image: (image.size, image.mode)) for file in files]
    modes = [found for _, found in headers]
    for file, found in zip(files, modes, strict=True):
        if found not in _CONVERTIBLE:
            raise DataError(f"{file} has mode {found}, which is not 8 bits a channel: save it as such, or take it out.")
    odd, usual = _odd_one(modes)
    if mode is None and (odd is not None or usual not in ("L", "RGB")):
        raise DataError(
            f"{files[odd or 0]} has mode {modes[odd or 0]}, and all images must be L, or all RGB: "
            f"convert them, for data=folder:PATH with data.mode=RGB or data.mode=L."
        )
    odd, (width, height) = _odd_one([found for found, _ in headers])
    if size is None and odd is not None:
        raise DataError(
            f"{files[odd]} is {headers[odd][0][0]}×{headers[odd][0][1]} pixels, and most images are {width}×{height}: "
            f"bring them to one size, for data=folder:PATH with, for example, data.size=32."
        )
    area = (height, width) if size is None else (size, size)
    return area if (mode or usual) == "L" else (3, *area)


def _odd_one(values: Sequence[T]) -> tuple[int | None, T]:
    """The index of the first value that differs from the most frequent one, and that one."""
    usual = Counter(values).most_common(1)[0][0]
    return next((i for i, value in enumerate(values) if value != usual), None), usual


def _stacked(files: Sequence[Path], size: int | None, mode: str | None) -> Tensor:
    x = torch.empty((len(files), *_common_shape(files, size, mode)), dtype=torch.uint8)
    for i, file in enumerate(files):
        x[i] = _pixels(file, size, mode)
    return x


def _pixels(file: Path, size: int | None, mode: str | None) -> Tensor:
    """One image, ``(H, W)`` or ``(3, H, W)`` in uint8."""

    def read(image: Image) -> Tensor:
        converted = image if mode is None else image.convert(mode)
        pixels = torch.from_numpy(np.array(converted if size is None else square(converted, size)))
        return pixels if pixels.ndim == 2 else pixels.permute(2, 0, 1)

    return _decoded(file, read)


def _classes(path: Path, files: Sequence[Path]) -> tuple[Tensor | None, int | None]:
    """Labels and their number, if the subfolders are classes."""
    parts = [file.relative_to(path).parts for file in files]
    names = sorted({part[0] for part in parts})
    if len(names) < 2 or any(len(part) == 1 for part in parts):
        return None, None
    return torch.tensor([names.index(part[0]) for part in parts]), len(names)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of the archive: x before y, train before validation before test."""
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is not an .npz archive, or is damaged; write one with numpy.savez(PATH, x=...).")
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {name.removesuffix(".npy"): _member(archive, name) for name in archive.namelist()}
    except (*_DAMAGE, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path} cannot be read ({reason}): write it with numpy.savez from arrays of numbers, not of objects."
        ) from error
    for names in _ARCHIVES:
        if set(names) == set(arrays):
            return {name: arrays[name] for name in names}
    raise DataError(
        f"{path} holds {', '.join(sorted(arrays)) or 'no array'}; it must hold x, or train_x, validation_x and test_x, "
        f"and for labels the same with y, and nothing else: write it with numpy.savez(PATH, x=..., y=...)."
    )


def _member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _check_events(path: Path, xs: Sequence[NDArray[Any]]) -> None:
    for x in xs:
        if x.dtype.kind not in "buif" or x.dtype.itemsize > 8:
            raise DataError(f"{path} holds examples of type {x.dtype}; save them as integers or as float64 or shorter.")
        if x.ndim < 2 or x.size == 0:
            raise DataError(
                f"{path} holds examples of shape {x.shape}; save an array of shape (N, ...) with at least one axis "
                f"after the first, and nothing empty, for example x.reshape(-1, 1)."
            )
    kinds = {(x.shape[1:], x.dtype.kind == "f") for x in xs}
    if len(kinds) > 1:
        found = ", ".join(f"{x.dtype} {x.shape[1:]}" for x in xs)
        raise DataError(f"{path} holds splits of different kinds ({found}); give all three the same type and shape.")


def _labels(path: Path, name: str, arrays: Mapping[str, NDArray[Any]]) -> Tensor:
    y, count = arrays[name], len(arrays[name[:-1] + "x"])
    if y.dtype.kind not in "ui" or y.shape != (count,) or int(y.min()) < 0 or int(y.max()) >= 2**31:
        raise DataError(
            f"{path} holds labels {name} of type {y.dtype} and shape {y.shape}; save integers 0, 1, 2, ..., "
            f"one for each of the {count} examples."
        )
    return torch.from_numpy(y.astype(np.int64))


def _support(path: Path, xs: Sequence[NDArray[Any]], levels: int | None) -> tuple[Discrete | Continuous, np.dtype[Any]]:
    """What values the examples take, and the type to store them in."""
    if xs[0].dtype.kind == "f":
        if levels is not None:
            raise DataError(f"data.levels={levels} is for integers, and {path} holds {xs[0].dtype}: leave it out.")
        if not all(np.isfinite(x).all() for x in xs):
            raise DataError(f"{path} holds examples that are NaN or infinite: take them out, and save it again.")
        return Continuous(-math.inf, math.inf), np.result_type(*xs).newbyteorder("=")
    low, high = min(int(x.min()) for x in xs), max(int(x.max()) for x in xs)
    count = _levels(xs, high) if levels is None else levels
    if low < 0 or high >= min(count, 2**31):
        raise DataError(
            f"{path} holds integers from {low} to {high}, and they must lie between 0 and {min(count, 2**31) - 1}: "
            f"shift them to start at 0, or raise data.levels={count}."
        )
    return Discrete(count), np.dtype(np.uint8 if count <= 256 else np.int32)


def _levels(xs: Sequence[NDArray[Any]], high: int) -> int:
    """Bytes are 256 levels even where the largest is missing: the constant of dequantisation must not hang on that."""
    return 256 if all(x.dtype == np.uint8 for x in xs) else max(2, high + 1)


def _divided(x: Tensor, y: Tensor | None) -> dict[str, Split]:
    return select(x, y, split_by_content(x, tenths(len(x))))


def _given(xs: Sequence[Tensor], ys: Sequence[Tensor]) -> dict[str, Split]:
    """The splits as they are in the archive, with ids that go on from one to the next."""
    splits, start = {}, 0
    for i, name in enumerate(("train", "validation", "test")):
        ids = torch.arange(start, start + len(xs[i]))
        splits[name] = Split(xs[i], ys[i] if ys else None, ids)
        start += len(ids)
    return splits


def _corpus(path: Path) -> NDArray[np.uint8]:
    files = sorted(path.rglob("*.txt"), key=lambda file: file.relative_to(path).parts) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} holds no .txt files; give a folder that does, or one file of any name.")
    try:
        return np.concatenate([np.fromfile(file, dtype=np.uint8) for file in files])
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}): give a file, or a folder of .txt files.") from error
