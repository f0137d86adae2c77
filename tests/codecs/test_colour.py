"""Luma and chroma to RGB and back."""

import hashlib
from pathlib import Path

import av
import numpy as np
import pytest

from fewbits.codecs.colour import MATRICES, Colour, Planes, to_planes, to_rgb

COLOURS = [Colour(matrix, full) for matrix in MATRICES for full in (False, True)]


def planes_of(frame: av.VideoFrame) -> Planes:
    first, second, third = (np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width]
                            for plane in frame.planes)
    return first, second, third


@pytest.mark.parametrize("colour", COLOURS, ids=str)
def test_all_planes_become_the_rgb_of_ffmpeg(colour: Colour) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 64), np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, "yuv420p")
    expected = frame.reformat(format="rgb24", src_colorspace={"bt601": 5, "bt709": 1, "bt2020": 9}[colour.matrix],
                              src_color_range=2 if colour.full_range else 1).to_ndarray()
    assert np.abs(to_rgb(planes_of(frame), colour).astype(int) - expected).max() <= 1  # 0 where FFmpeg has SIMD of x86


def test_bunny_comes_as_the_pictures_it_was_made_of(shared_data: Path) -> None:
    lines = (shared_data / "video" / "bunny_frames_rgb_sha256.txt").read_text().splitlines()
    with av.open(str(shared_data / "video" / "bunny_1280x720_132f.mkv")) as container:
        for line, frame in zip(lines[:3], container.decode(video=0), strict=False):
            rgb = to_rgb(planes_of(frame), Colour())
            assert hashlib.sha256(rgb.tobytes()).hexdigest() == line.split()[0]
            assert np.abs(rgb.astype(int) - frame.to_ndarray(format="rgb24")).max() <= 1
            check_way_back(planes_of(frame), rgb, Colour())


@pytest.mark.parametrize("colour", COLOURS, ids=str)
def test_planes_come_back(colour: Colour) -> None:
    """Where no channel is at its end, within a level and without drift."""
    random = np.random.default_rng(0)
    luma = random.integers(70, 180, (64, 80), np.uint8)
    cb, cr = random.integers(100, 156, (2, 32, 40), np.uint8)
    check_way_back((luma, cb, cr), to_rgb((luma, cb, cr), colour), colour)


def check_way_back(planes: Planes, rgb: np.ndarray, colour: Colour) -> None:
    height, width = planes[0].shape
    inside = ((rgb > 0) & (rgb < 255)).all(axis=-1).reshape(height // 2, 2, width // 2, 2).all(axis=(1, 3))
    everywhere = inside.repeat(2, axis=0).repeat(2, axis=1)
    for plane, back, kept in zip(planes, to_planes(rgb, colour), (everywhere, inside, inside), strict=True):
        errors = (back.astype(int) - plane)[kept]
        assert errors.size and np.abs(errors).max() <= 1 and abs(errors.mean()) < 0.02


@pytest.mark.parametrize("colour", COLOURS, ids=str)
def test_grey_stays_grey(colour: Colour) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(2, 0).repeat(2, 1)[..., None].repeat(3, 2)
    luma, cb, cr = to_planes(grey, colour)
    assert (luma.min(), luma.max()) == ((0, 255) if colour.full_range else (16, 235))
    assert (cb == 128).all() and (cr == 128).all()
    assert np.abs(to_rgb((luma, cb, cr), colour).astype(int) - grey).max() <= (0 if colour.full_range else 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (25, 37), (34, 48)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    height, width = size
    rgb = np.full((height, width, 3), (200, 100, 50), np.uint8)
    planes = to_planes(rgb, Colour("bt709"))
    assert [plane.shape for plane in planes] == [size] + 2 * [(-(-height // 2), -(-width // 2))]
    assert np.abs(to_rgb(planes, Colour("bt709")).astype(int) - rgb).max() <= 2


@pytest.mark.parametrize("down, across", [(1, 1), (1, 2), (2, 1), (2, 2), (1, 4), (4, 4)])
def test_chroma_holds_for_all_its_pixels(down: int, across: int) -> None:
    random = np.random.default_rng(0)
    luma = random.integers(0, 256, (13, 11), np.uint8)
    cb, cr = random.integers(0, 256, (2, -(-13 // down), -(-11 // across)), np.uint8)
    wide = [plane.repeat(down, 0).repeat(across, 1)[:13, :11] for plane in (cb, cr)]
    colour = Colour("bt2020")
    assert np.array_equal(to_rgb((luma, cb, cr), colour), to_rgb((luma, wide[0], wide[1]), colour))
