from __future__ import annotations

import math
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from torchstone.models.model import Continuous, Discrete, Space
from torchstone.suites.data import DataError
from torchstone.suites.data.local import folder, npz, text

RNG = np.random.default_rng(0)


def write_images(root: Path, count: int = 30, shape: tuple[int, ...] = (6, 5, 3), suffix: str = ".png") -> np.ndarray:
    root.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (count, *shape), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(root / f"{i:03d}{suffix}")
    return pixels


def save(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)
    return path


# Images.


@pytest.mark.parametrize("shape", [(6, 5, 3), (6, 5)])
def test_folder_of_images(tmp_path: Path, shape: tuple[int, ...], check_dataset) -> None:
    pixels = write_images(tmp_path / "photos", shape=shape)
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    (tmp_path / "photos" / "._000.png").write_bytes(b"left by another system")
    data = folder(tmp_path / "photos")
    check_dataset(data)
    assert data.name == "folder:photos" and data.variant == {}
    assert data.space == Space((3, 6, 5) if len(shape) == 3 else (6, 5), Discrete(256))
    assert [len(split) for split in data.splits.values()] == [24, 3, 3]
    for split in data.splits.values():
        expected = pixels[split.ids]
        assert np.array_equal(split.x, expected.transpose(0, 3, 1, 2) if len(shape) == 3 else expected)


def test_subfolders_are_classes_only_if_all_images_lie_in_them(tmp_path: Path, check_dataset) -> None:
    for name in ("b", "a/deep", "c"):
        write_images(tmp_path / name, 10, suffix=".bmp")
    data = folder(tmp_path)
    check_dataset(data)
    assert data.space.classes == 3
    for split in data.splits.values():
        assert split.y.tolist() == [i // 10 for i in split.ids.tolist()]
    write_images(tmp_path, 1)
    assert folder(tmp_path).space.classes is None
    assert folder(tmp_path / "b").space.classes is None


def test_resizing_and_conversion_are_recorded(tmp_path: Path, check_dataset) -> None:
    write_images(tmp_path, 15, (6, 9, 3))
    write_images(tmp_path / "grey", 15, (8, 7))
    data = folder(tmp_path, size=4, mode="L")
    check_dataset(data)
    assert data.space.event_shape == (4, 4)
    assert data.variant == {"size": 4, "resize": "centre crop, bicubic, antialiased", "mode": "L"}
    assert folder(tmp_path, size=4, mode="RGB").space.event_shape == (3, 4, 4)


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    write_images(tmp_path)
    Image.new("RGB", (9, 2)).save(tmp_path / "000.png")
    with pytest.raises(DataError, match=r"000\.png is 9×2 pixels, and most images are 5×6: .* data\.size=32\.$"):
        folder(tmp_path)


def test_an_image_of_another_mode_is_named(tmp_path: Path) -> None:
    write_images(tmp_path)
    Image.new("L", (5, 6)).save(tmp_path / "000.png")
    with pytest.raises(DataError, match=r"000\.png has mode L, .* data\.mode=RGB or data\.mode=L\.$"):
        folder(tmp_path)


@pytest.mark.parametrize("mode", ["RGBA", "P", "1"])
def test_other_modes_need_conversion(tmp_path: Path, mode: str) -> None:
    for i in range(20):
        Image.fromarray(RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8)).convert(mode).save(tmp_path / f"{i}.png")
    with pytest.raises(DataError, match=rf"0\.png has mode {mode}, and all images must be L, or all RGB"):
        folder(tmp_path)
    assert folder(tmp_path, mode="RGB").space.event_shape == (3, 6, 6)


def test_sixteen_bits_are_not_cut_to_eight(tmp_path: Path) -> None:
    write_images(tmp_path)
    Image.fromarray(np.full((6, 5), 40000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png has mode I;16, which is not 8 bits a channel"):
        folder(tmp_path, mode="RGB")


@pytest.mark.parametrize("damage", ["text", "truncated", "empty"])
def test_an_unreadable_image_is_named(tmp_path: Path, damage: str) -> None:
    write_images(tmp_path, shape=(60, 50, 3))
    content = (tmp_path / "007.png").read_bytes()
    (tmp_path / "007.png").write_bytes({"text": b"not an image", "truncated": content[:500], "empty": b""}[damage])
    with pytest.raises(DataError, match=r"007\.png cannot be read as an image \(.*\): repair it, or take it out"):
        folder(tmp_path)


def test_no_folder_and_no_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is not a folder; give a folder of images, as in data=folder:PATH\.$"):
        folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no images; give a folder with files such as \.bmp"):
        folder(tmp_path)
    write_images(tmp_path, 4)
    with pytest.raises(DataError, match="give at least 10 different examples"):
        folder(tmp_path)


# Arrays.


def test_npz_of_integers(tmp_path: Path, check_dataset) -> None:
    x, y = RNG.integers(0, 5, (50, 2, 9)), RNG.integers(0, 3, 50)
    x[0, 0, 0] = 4
    data = npz(save(tmp_path / "mine.npz", x=x, y=np.r_[y[:-1], 2]))
    check_dataset(data)
    assert data.name == "npz:mine" and data.space == Space((2, 9), Discrete(5), 3) and data.variant == {"levels": 5}
    for split in data.splits.values():
        assert split.x.dtype == torch.uint8 and np.array_equal(split.x, x[split.ids])
    wide = npz(tmp_path / "mine.npz", levels=300)
    assert wide.space.support == Discrete(300) and wide.splits["test"].x.dtype == torch.int32


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", ">i4", "uint64"])
def test_npz_takes_every_integer_type(tmp_path: Path, dtype: str) -> None:
    x = RNG.integers(0, 2, (40, 12)).astype(dtype)
    data = npz(save(tmp_path / "a.npz", x=x))
    assert data.space == Space((12,), Discrete(2))
    assert all(np.array_equal(split.x, x[split.ids]) for split in data.splits.values())


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f8"])
def test_npz_takes_real_numbers_unchanged(tmp_path: Path, dtype: str, check_dataset) -> None:
    x = RNG.normal(size=(40, 3)).astype(dtype)
    data = npz(save(tmp_path / "a.npz", x=x))
    check_dataset(data)
    assert data.space == Space((3,), Continuous(-math.inf, math.inf)) and data.variant == {}
    assert all(np.array_equal(split.x, x[split.ids]) for split in data.splits.values())


def test_npz_with_splits_of_its_own(tmp_path: Path, check_dataset) -> None:
    parts = {"test": 4, "train": 9, "validation": 3}
    arrays = {f"{name}_x": RNG.integers(0, 256, (n, 5), dtype=np.uint8) for name, n in parts.items()}
    labels = {f"{name}_y": np.arange(n) for name, n in parts.items()}
    data = npz(save(tmp_path / "a.npz", **arrays, **labels))
    check_dataset(data)
    assert data.space.classes == 9
    assert data.splits["test"].ids.tolist() == [12, 13, 14, 15]
    for name, split in data.splits.items():
        assert np.array_equal(split.x, arrays[f"{name}_x"]) and np.array_equal(split.y, labels[f"{name}_y"])
    assert npz(save(tmp_path / "b.npz", **arrays)).space.classes is None


GOOD = np.arange(40).reshape(20, 2)
BAD = {
    "neither x": {"data": GOOD},
    "a stray array": {"x": GOOD, "labels": np.zeros(20)},
    "no array": {},
    "a split without its labels": {"train_x": GOOD, "validation_x": GOOD, "test_x": GOOD, "test_y": np.zeros(20, int)},
    "objects": {"x": np.array([{}, []] * 10, dtype=object)},
    "text": {"x": np.array([["a"]] * 20)},
    "complex": {"x": np.ones((20, 2), complex)},
    "one axis": {"x": np.arange(20)},
    "nothing": {"x": np.zeros((0, 3))},
    "an empty event": {"x": np.zeros((20, 0))},
    "NaN": {"x": np.where(GOOD == 7, np.nan, GOOD)},
    "infinity": {"x": np.where(GOOD == 7, np.inf, GOOD)},
    "negative": {"x": GOOD - 1},
    "huge": {"x": GOOD + 2**40},
    "two few labels": {"x": GOOD, "y": np.arange(19)},
    "labels in columns": {"x": GOOD, "y": np.zeros((20, 1), int)},
    "real labels": {"x": GOOD, "y": np.zeros(20)},
    "negative labels": {"x": GOOD, "y": np.arange(20) - 1},
    "different events": {"train_x": GOOD, "validation_x": GOOD, "test_x": GOOD[:, :1]},
    "different kinds": {"train_x": GOOD, "validation_x": GOOD, "test_x": GOOD / 2},
}
SAYS = {
    "neither x": "holds data; it must hold x, or train_x",
    "a stray array": "holds labels, x; it must hold x, or train_x",
    "no array": "holds no array; it must hold x",
    "a split without its labels": "and for labels the same with y, and nothing else",
    "objects": r"cannot be read \(Object arrays cannot be loaded .*\): write it with numpy.savez from arrays",
    "text": "holds examples of type <U1; save them as integers or",
    "complex": "holds examples of type complex128; save them as",
    "one axis": r"shape \(20,\); save an array of shape \(N, ...\) .* for example x.reshape\(-1, 1\)",
    "nothing": r"shape \(0, 3\); save an array",
    "an empty event": r"shape \(20, 0\); save an array",
    "NaN": "that are NaN or infinite: take them out",
    "infinity": "that are NaN or infinite: take them out",
    "negative": "integers from -1 to 38, and they must lie between 0 and 38: shift them",
    "huge": "and they must lie between 0 and 2147483647",
    "two few labels": r"labels y of type int64 and shape \(19,\); save integers .* one for each of the 20 examples",
    "labels in columns": r"shape \(20, 1\); save integers",
    "real labels": "type float64 and shape",
    "negative labels": "save integers 0, 1, 2",
    "different events": r"splits of different kinds \(int64 \(2,\), int64 \(2,\), int64 \(1,\)\); give all three",
    "different kinds": "splits of different kinds .*float64",
}


@pytest.mark.parametrize("case", BAD)
def test_bad_archives_are_one_sentence(tmp_path: Path, case: str) -> None:
    path = save(tmp_path / "bad.npz", **BAD[case])
    with pytest.raises(DataError, match=SAYS[case]) as caught:
        npz(path)
    assert str(caught.value).startswith(str(path)) and str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_levels_must_fit(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"from 0 to 39, and they must lie between 0 and 9: .* raise data\.levels=10\.$"
    ):
        npz(save(tmp_path / "a.npz", x=GOOD), levels=10)
    with pytest.raises(DataError, match=r"^data\.levels=10 is for integers, and .* holds float64: leave it out\.$"):
        npz(save(tmp_path / "b.npz", x=GOOD / 2), levels=10)


class Harmful:
    """Says so if it is ever unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("unpickled",))


def test_other_files_are_not_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match=r"a\.npz is not an \.npz archive, or is damaged; write one with numpy\.savez"):
        npz(path)
    for content in (b"", b"text", pickle.dumps(Harmful())):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"is not an \.npz archive, or is damaged"):
            npz(path)
    np.save(tmp_path / "b.npy", GOOD)
    with pytest.raises(DataError, match=r"is not an \.npz archive, or is damaged"):
        npz(tmp_path / "b.npy")


def test_pickles_inside_an_archive_are_not_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", pickle.dumps(Harmful()))
    with pytest.raises(DataError, match=r"a\.npz cannot be read \(.*magic string.*\): write it with numpy\.savez"):
        npz(tmp_path / "a.npz")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_archive_is_one_sentence_or_still_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "a.npz"
    data.draw(st.sampled_from([np.savez, np.savez_compressed]))(path, x=GOOD)
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), position]))])
    try:
        read = npz(path)
    except DataError as error:
        assert str(error).endswith(".")
    else:
        assert all(np.array_equal(split.x, GOOD[split.ids]) for split in read.splits.values())


# Text.


def test_text_is_cut_into_windows(tmp_path: Path, check_dataset) -> None:
    content = bytes(RNG.integers(0, 256, 1007, dtype=np.uint8))
    (tmp_path / "book.txt").write_bytes(content)
    data = text(tmp_path / "book.txt", length=10)
    check_dataset(data)
    assert data.name == "text:book" and data.text and data.space == Space((10,), Discrete(256))
    assert [len(split) for split in data.splits.values()] == [80, 10, 10]
    assert data.variant == {"window": 10, "unused_bytes": 7}
    for split, start in zip(data.splits.values(), (0, 805, 906), strict=True):
        assert split.x.dtype == torch.uint8
        assert split.x.numpy().tobytes() == content[start : start + 10 * len(split)]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.integers(1, 30))
def test_no_byte_is_lost_in_silence(tmp_path_factory: pytest.TempPathFactory, content: bytes, length: int) -> None:
    path = tmp_path_factory.mktemp("corpus") / "a"
    path.write_bytes(content)
    try:
        data = text(path, length=length)
    except DataError as error:
        assert f"has {len(content)} bytes, too few for a " in str(error)
        assert len(content) < 10 * length
        return
    assert sum(split.x.numel() for split in data.splits.values()) + data.variant["unused_bytes"] == len(content)
    ids = torch.cat([split.ids for split in data.splits.values()])
    assert ids.tolist() == list(range(len(ids)))


def test_the_suggested_window_fits(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"0123456789" * 5)
    with pytest.raises(DataError, match=r"give at least 640 bytes, or shorter windows, such as data\.length=5\.$"):
        text(tmp_path / "a.txt")
    assert len(text(tmp_path / "a.txt", length=5).split("test")) == 1


def test_a_folder_of_text_is_one_corpus(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_bytes(b"b" * 50)
    (tmp_path / "a.txt").write_bytes(b"a" * 50)
    (tmp_path / "sub" / "c.txt").write_bytes(b"c" * 50)
    (tmp_path / "other.md").write_bytes(b"x" * 50)
    corpus = text(tmp_path, length=5)
    joined = b"".join(split.x.numpy().tobytes() for split in corpus.splits.values())
    assert joined == b"a" * 50 + b"b" * 50 + b"c" * 50


def test_missing_text_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere cannot be read \(.*\): give a file, or a folder of \.txt files\.$"):
        text(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no \.txt files; give a folder that does, or one file of any name\.$"):
        text(tmp_path)


# All of them.


def test_one_byte_changes_the_fingerprint(tmp_path: Path) -> None:
    pixels = write_images(tmp_path / "images")
    before = folder(tmp_path / "images").fingerprint
    pixels[3, 0, 0, 0] ^= 1
    Image.fromarray(pixels[3]).save(tmp_path / "images" / "003.png")
    assert folder(tmp_path / "images").fingerprint != before
    one, two = (npz(save(tmp_path / f"{i}.npz", x=GOOD + (GOOD == 3) * i)).fingerprint for i in (0, 1))
    assert one != two
    (tmp_path / "a.txt").write_bytes(b"a" * 999 + b"b")
    before = text(tmp_path / "a.txt", length=10).fingerprint
    (tmp_path / "a.txt").write_bytes(b"a" * 999 + b"c")
    assert text(tmp_path / "a.txt", length=10).fingerprint != before
