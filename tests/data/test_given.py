"""Samples that were drawn elsewhere: each is given once, and what cannot be read is named."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from torchstone.models import Continuous, Discrete, ModelError, Space
from torchstone.models.randomness import generator
from torchstone.suites.data.given import GivenSamples, samples

GREY, COLOUR = Space((8, 8), Discrete(17)), Space((3, 8, 8), Discrete(256))


def folder(path, n=5, mode="RGB", size=(8, 8)):
    rng = np.random.default_rng(0)
    for i in range(n):
        shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode).save(path / f"{i:03}.png")
    return path


def draw(model, n):
    return model.sample(n, rng=generator(0, "draw"))


def test_each_sample_is_given_once_in_an_order_of_the_seed(tmp_path):
    model = samples(folder(tmp_path, 20), COLOUR)
    x = draw(model, 20)
    assert len(x.unique(dim=0)) == 20 and x.dtype == torch.int64
    assert not torch.equal(x, model.sample(20, rng=generator(1, "draw")))
    with pytest.raises(ModelError, match=r"holds 20 samples and 21 are asked for; give more, or set suite.samples=20"):
        draw(model, 21)


def test_bytes_stand_for_fewer_levels_spread_evenly(tmp_path):
    levels = np.arange(64).reshape(8, 8) % 17
    Image.fromarray((levels * 255 / 16).round().astype(np.uint8)).save(tmp_path / "a.png")
    assert torch.equal(draw(samples(tmp_path, GREY), 1)[0], torch.from_numpy(levels))


@pytest.mark.parametrize("channel", [True, False])
def test_an_archive_may_write_the_single_channel_out_or_not(tmp_path, channel):
    x = np.zeros((4, 1, 8, 8) if channel else (4, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", x=x)
    space = Space((1, 8, 8), Discrete(256))
    assert samples(tmp_path / "x.npz", space).x.shape == (4, 1, 8, 8)


def test_real_numbers_stay_as_they_are(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.array([[0.25, -3.0]], dtype=np.float32))
    x = draw(samples(tmp_path / "x.npz", Space((2,), Continuous(float("-inf"), float("inf")))), 1)
    assert x.tolist() == [[0.25, -3.0]]


def test_what_cannot_be_read_or_is_of_another_kind_is_named(tmp_path):
    def words(name, space, make):
        path = tmp_path / name
        path.mkdir()
        with pytest.raises(ModelError) as error:
            samples(make(path), space)
        return str(error.value)

    def mixed(path):
        folder(path, 3)
        Image.new("RGB", (9, 8)).save(path / "odd.png")
        return path

    def alpha(path):
        return folder(path, 2, "RGBA")

    def raw(path):
        Image.fromarray(np.full((8, 8), 16, dtype=np.uint8)).save(path / "raw.png")
        return path

    def broken(path):
        folder(path, 2)
        (path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
        return path

    def archive(**arrays):
        def made(path):
            np.savez(path / "x.npz", **arrays)
            return path / "x.npz"

        return made

    assert "odd.png is 9×8 pixels" in words("mixed", COLOUR, mixed)
    assert "has mode RGBA" in words("alpha", COLOUR, alpha)
    assert "bad.png cannot be read as an image" in words("broken", COLOUR, broken)
    assert "holds no images" in words("empty", COLOUR, lambda path: path)
    assert "holds examples of shape (3, 9, 9)" in words("size", COLOUR, lambda p: folder(p, 2, size=(9, 9)))
    assert "outside of Discrete" in words("levels", GREY, archive(x=np.full((2, 8, 8), 40, dtype=np.uint8)))
    assert "there is no such file" in words("none", COLOUR, lambda path: path / "nothing.npz")
    assert "as if bytes were levels" in words("raw", GREY, lambda p: raw(p))
    assert "give values of that kind" in words("float", GREY, archive(x=np.zeros((2, 8, 8))))
    assert "give an archive with x" in words(
        "splits", GREY, archive(**{f"{s}_x": np.zeros((2, 8, 8), np.uint8) for s in ("train", "validation", "test")})
    )
    assert "images hold integers" in words("real", Space((8, 8), Continuous()), lambda p: folder(p, 2, "L"))


def test_a_loop_of_links_ends(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    folder(inside, 3)
    os.symlink(tmp_path, inside / "loop")
    assert len(samples(tmp_path, COLOUR).x) == 3


def test_it_is_a_sampler_and_nothing_else():
    given = GivenSamples(GREY, torch.zeros(3, 8, 8, dtype=torch.uint8), "three")
    assert given.space.classes is None and draw(given, 2).shape == (2, 8, 8)
