"""The `overfit` codec from pictures to files and back, with the starts that are shipped: what users rely on."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.image.overfit import fitting
from fewbits.codecs.image.overfit.fit import Fit, Schedule
from fewbits.codecs.image.overfit.objective import Objective
from fewbits.codecs.image.overfit.starts import Start, Starts, load_starts
from fewbits.codecs.media import Image
from fewbits.errors import DamagedError, StreamError
from fewbits.eval.anchors import ANCHORS
from fewbits.eval.metrics import psnr

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
GENERATOR = np.random.default_rng(0)


def coded(pixels: np.ndarray, effort: int = 1, **aims) -> tuple[files.Encoded, Image]:
    encoded = files.encode(Image(pixels), "overfit", Target(effort=effort, **(aims or {"quality": 70})))
    return encoded, files.decode(encoded.data).media


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 31), (130, 97)])
def test_any_size_comes_back(smooth, size):
    pixels = smooth(*size)
    _, decoded = coded(pixels)
    assert decoded.pixels.shape == pixels.shape
    assert psnr(decoded.rgb(), pixels) > 20  # of a pixel alone nothing can be learned


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_any_layout_comes_back(smooth, channels):
    pixels = smooth(40, 56, channels)
    _, decoded = coded(pixels)
    assert decoded.pixels.shape == pixels.shape
    assert psnr(decoded.pixels[..., :1], pixels[..., :1]) > 25
    if channels in (2, 4):
        assert np.array_equal(decoded.pixels[..., -1], pixels[..., -1])  # opacity is lossless


@pytest.mark.parametrize("colour", [(128, 128, 128), *(pytest.param(colour, marks=pytest.mark.slow)
                                                      for colour in ((250, 250, 250), (200, 30, 90)))])
def test_one_colour_takes_less_than_a_hundred_bytes(colour):
    pixels = np.full((256, 384, 3), colour, np.uint8)
    encoded, decoded = coded(pixels, quality=50)
    assert len(encoded.data) < 100
    assert psnr(decoded.rgb(), pixels) > 30


def test_noise_comes_back_as_noise():
    pixels = GENERATOR.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    _, decoded = coded(pixels, quality=100)
    assert psnr(decoded.rgb(), pixels) > 12


def test_sixteen_bit_grey_says_that_it_is_rounded(smooth):
    pixels = (smooth(40, 56, 1).astype(np.uint16) << 8) + 77
    encoded, decoded = coded(pixels)
    assert decoded.pixels.dtype == np.uint16
    assert any("16-bit" in notice for notice in encoded.notices)


def test_a_photo_beats_jpeg_clearly(photo):
    encoded, decoded = coded(photo, 2, quality=50)
    ours = psnr(decoded.rgb(), photo)
    sizes = {setting: ANCHORS["jpeg"].encode(Image(photo), setting) for setting in range(5, 95, 3)}
    as_good = [len(data) for data in sizes.values() if psnr(ANCHORS["jpeg"].decode(data).rgb(), photo) >= ours]
    assert len(encoded.data) < 0.7 * min(as_good)


def test_size_is_close_to_the_estimate(photo):
    encoded, _ = coded(photo)
    assert abs(8 * len(encoded.data) - encoded.estimate_bits) <= 0.003 * encoded.estimate_bits + 8 * 64


def test_higher_quality_is_larger_and_better(photo):
    results = [coded(photo[:128, :128], quality=quality) for quality in (10, 40, 70, 100)]
    sizes = [len(encoded.data) for encoded, _ in results]
    qualities = [psnr(decoded.rgb(), photo[:128, :128]) for _, decoded in results]
    assert sizes == sorted(sizes) and qualities == sorted(qualities)


def test_a_fit_takes_the_start_whose_proposal_costs_least(photo):
    shipped = load_starts()
    good = shipped.by_size[0][0]
    networks = {name: np.zeros_like(values) for name, values in good.networks.items()}
    poor = Start(networks, np.zeros_like(good.filters), good.trade)
    far = replace(good, trade=100 * good.trade)
    starts = Starts(shipped.tables, ((far, poor, good), *shipped.by_size[1:]))
    assert Fit(photo[:64, :64], Schedule(0, 1), good.trade, starts, Objective).start == 2


def test_aims_are_met(photo):
    part = photo[:160, :160]
    encoded, decoded = coded(part, 2, psnr=32.0)
    assert 32.0 <= psnr(decoded.rgb(), part) <= 32.4 or encoded.notices
    encoded, _ = coded(part, 2, size=2500)
    assert len(encoded.data) <= 2500 and (len(encoded.data) > 2250 or encoded.notices)


@pytest.mark.slow  # as a size, which it becomes before it comes to the codec
def test_a_rate_is_kept(photo):
    part = photo[:160, :160]
    encoded, _ = coded(part, 2, bits_per_pixel=0.5)
    assert len(encoded.data) <= 0.5 * part.shape[0] * part.shape[1] / 8


def test_a_size_that_is_too_small_is_said(smooth):
    encoded, _ = coded(smooth(64, 64), size=40)
    assert any("size" in notice for notice in encoded.notices)


def test_files_do_not_depend_on_threads(smooth, monkeypatch):
    pixels, data = smooth(150, 70), []
    for count in (1, 3):
        monkeypatch.setattr(fitting, "ThreadPoolExecutor", lambda _, n=count: ThreadPoolExecutor(n))
        data.append(files.encode(Image(pixels), "overfit", Target(quality=50, effort=1)).data)
    assert data[0] == data[1]


class _Stop:
    """A progress callback that interrupts."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, share: float, what: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_interrupting_gives_nothing_unless_the_best_is_asked_for(photo):
    part = Image(photo[:96, :96])
    with pytest.raises(KeyboardInterrupt):
        files.encode(part, "overfit", Target(quality=50, effort=2), progress=_Stop(30))
    encoded = files.encode(part, "overfit", Target(quality=50, effort=2, keep_best=True), progress=_Stop(30))
    assert psnr(files.decode(encoded.data).media.rgb(), part.rgb()) > 20


def test_progress_says_rate_quality_and_time_left(photo):
    said = []
    files.encode(Image(photo[:64, :64]), "overfit", Target(quality=50, effort=1),
                 progress=lambda share, what: said.append((share, what)))
    shares = [share for share, _ in said]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert any("bpp" in what and "dB" in what and "left" in what for _, what in said)


def test_decoding_needs_no_torch(smooth, tmp_path):
    path = tmp_path / "a.fwb"
    path.write_bytes(coded(smooth(20, 30))[0].data)
    program = ("import sys, pathlib; from fewbits.codecs import files; "
               f"files.decode(pathlib.Path({str(path)!r}).read_bytes()); sys.exit('torch' in sys.modules)")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, timeout=120).returncode == 0


def test_a_golden_file_decodes_alike_on_a_processor_without_vectors(elsewhere, tmp_path):
    path = next(GOLDEN.glob("overfit-*.fwb"))
    program = ("import pathlib, sys; from fewbits.codecs import files; "
               "files.decode(pathlib.Path(sys.argv[1]).read_bytes()).media.save(sys.argv[2])")
    elsewhere(program, path, tmp_path / "a.png", NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    assert np.array_equal(Image.open(tmp_path / "a.png").pixels, Image.open(path.with_suffix(".png")).pixels)


def test_every_truncation_and_flipped_bits_are_errors(smooth):
    data = coded(smooth(24, 24), quality=30)[0].data
    for length in range(len(data)):
        with pytest.raises(StreamError):
            files.decode(data[:length])
    for place in GENERATOR.integers(0, len(data) * 8, 200).tolist():
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(Exception) as caught:
            files.decode(bytes(damaged))
        assert caught.type.__module__ == "fewbits.errors"


def test_networks_that_are_damaged_cannot_be_decoded_around(smooth, monkeypatch):
    codec_stream = files.parse(coded(smooth(24, 24))[0].data)
    sections = [None, *codec_stream.stream.sections[1:]]
    broken = type(codec_stream.stream)(codec_stream.stream.settings, sections)
    with pytest.raises(DamagedError, match="networks"):
        codec_stream.codec.decode(broken, codec_stream.shape)
