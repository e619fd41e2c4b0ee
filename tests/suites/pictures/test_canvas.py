"""Every picture is a PNG file of one width and one look, whoever asks for it."""

import struct

import matplotlib
import pytest
import torch

from torchstone.suites.pictures.audits import mass_meter, pit
from torchstone.suites.pictures.canvas import DOTS, WIDTH, encoded, figure
from torchstone.suites.pictures.images import as_images


def size(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n" and png[12:16] == b"IHDR"
    return struct.unpack(">II", png[16:24])


def test_a_picture_is_a_png_file_of_the_common_width():
    width, height = size(pit(torch.rand(50, generator=torch.Generator().manual_seed(0))))
    assert width == WIDTH * DOTS and 200 < height < width


def test_equal_figures_are_equal_bytes():
    assert mass_meter({"tiny": 0.5}) == mass_meter({"tiny": 0.5}) != mass_meter({"tiny": 0.6})


def test_settings_of_ones_own_play_no_part():
    plain = mass_meter({"tiny": 0.5})
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 10}):
        assert mass_meter({"tiny": 0.5}) == plain
        assert matplotlib.rcParams["font.size"] == 30


def test_no_global_state_is_touched():
    import sys

    before = dict(matplotlib.rcParams)
    mass_meter({"tiny": 0.5})
    assert dict(matplotlib.rcParams) == before
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_what_draws_badly_raises_and_leaves_the_look_alone():
    @encoded
    def broken():
        figure(2.0)
        raise ValueError("no such thing")

    before = dict(matplotlib.rcParams)
    with pytest.raises(ValueError, match="no such thing"):
        broken()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("shape", "shown"),
    [((2, 8, 6), (2, 8, 6, 3)), ((2, 1, 8, 6), (2, 8, 6, 3)), ((2, 3, 8, 6), (2, 8, 6, 3)), ((2, 5), (2, 1, 5, 3))],
)
def test_events_become_images(shape, shown):
    x = torch.arange(torch.Size(shape).numel()).reshape(shape)
    images = as_images(x, 1)
    assert images.shape == shown and images.min() == 0.0 and images.max() == 1.0


def test_channels_come_first():
    red = torch.zeros(1, 3, 4, 4)
    red[:, 0] = 255
    assert as_images(red, 1)[0, 0, 0].tolist() == [1.0, 0.0, 0.0]


def test_a_common_scale_and_what_is_not_finite():
    x = torch.tensor([[0.0, 8.0, 16.0, float("nan")]])
    assert as_images(x, 1, low=0, high=16)[0, 0, :, 0].tolist() == [0.0, 0.5, 1.0, 0.0]
    assert as_images(torch.zeros(1, 4), 1).max() == 0.0
