"""The lossless `circuit` codec from pictures to files and back: what users rely on."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fewbits.codecs import files, registry
from fewbits.codecs.codec import Stream, Target
from fewbits.codecs.image.circuit import planes
from fewbits.codecs.image.circuit.colours import GREEN, NONE, YCOCG, from_planes, to_planes
from fewbits.codecs.image.circuit.experts import SET_OF_EFFORT, SETS
from fewbits.codecs.image.circuit.levels import decode_levels, encode_levels, levels_of
from fewbits.codecs.image.circuit.palette import decode_palette, encode_palette, palette_of
from fewbits.codecs.image.circuit.tile import TileShape, decode_tile, encode_tile
from fewbits.codecs.media import Image
from fewbits.errors import DamagedError, FewbitsError, InputError, StreamError, WeightsError
from fewbits.eval.anchors import ANCHORS

ROOT = Path(__file__).parents[2]


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def coded(pixels: np.ndarray, effort: int = 1) -> files.Encoded:
    """Encodes without the encoder's own check, decodes, and checks here."""
    encoded = files.encode(Image(pixels), "circuit", Target(effort=effort, verify=False))
    decoded = files.decode(encoded.data).media.pixels
    assert decoded.dtype == pixels.dtype and np.array_equal(decoded, pixels)
    return encoded


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (300, 1), (2, 2), (17, 31), (64, 97)])
def test_any_size_comes_back(smooth, size):
    coded(smooth(*size))


@pytest.mark.parametrize("effort", range(1, 10))
def test_any_effort_comes_back(photo, effort):
    coded(photo[:24, :40], effort)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_layout_comes_back(photo, smooth, channels):
    coded(np.concatenate([photo, smooth(192, 256, 1)], 2)[:40, :50, -channels:], 2)


def test_sixteen_bit_grey_comes_back(smooth):
    wide = smooth(40, 56, 1).astype(np.uint16) * 200 + generator().integers(0, 90, (40, 56, 1), dtype=np.uint16)
    encoded = coded(wide, 4)
    assert len(encoded.data) < 0.7 * wide.nbytes
    coded(generator().choice(np.array([0, 65535], np.uint16), (20, 20, 1)))


@pytest.mark.parametrize("colour", [(0,), (77, 128), (255, 255, 255), (200, 30, 90, 17)])
def test_one_colour_takes_less_than_a_hundred_bytes(colour):
    assert len(coded(np.full((700, 900, len(colour)), colour, np.uint8)).data) < 100


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_noise_is_no_larger_than_its_samples(dtype):
    pixels = generator().integers(0, np.iinfo(dtype).max, (60, 50, 3 if dtype == np.uint8 else 1), dtype, endpoint=True)
    assert len(coded(pixels).data) <= pixels.nbytes + 64


def test_few_colours_are_cheaper_than_in_webp():
    y, x = np.mgrid[:160, :200]
    numbers = (x // 23 + y // 17 + (x * y // 900)) % 5
    pixels = generator().integers(0, 256, (5, 3), dtype=np.uint8)[numbers]
    ours, rival = coded(pixels), ANCHORS["webp-lossless"].encode(Image(pixels), 80)
    assert len(ours.data) < len(rival)


def test_stretched_contrast_costs_no_more_than_before(photo):
    narrow = (photo[:64, :96] // 3).astype(np.uint8)
    before, after = len(coded(narrow, 2).data), len(coded(3 * narrow, 2).data)
    assert after < before + 150


def test_a_photo_is_smaller_than_in_jpeg_xl(photo):
    part = np.ascontiguousarray(photo[:128, :160])
    assert len(coded(part, 4).data) < len(ANCHORS["jxl-lossless"].encode(Image(part), 9))


def test_more_effort_is_smaller(photo):
    part = np.ascontiguousarray(photo[:96, :128])
    sizes = [len(coded(part, effort).data) for effort in (1, 2, 4, 5)]
    assert sizes == sorted(sizes, reverse=True)


def test_size_is_close_to_the_estimate(photo):
    encoded = coded(np.ascontiguousarray(photo[:96, :128]), 2)
    assert abs(8 * len(encoded.data) - encoded.estimate_bits) <= 0.001 * encoded.estimate_bits + 8 * 40


def test_tiles_come_back_and_one_may_be_lost(smooth, monkeypatch):
    monkeypatch.setattr("fewbits.codecs.image.circuit.codec.TILE", 32)
    pixels = smooth(40, 70)
    parsed = files.parse(coded(pixels).data)
    assert len(parsed.stream.sections) == 6
    lost = Stream(parsed.stream.settings, [None, *parsed.stream.sections[1:]])
    decoded = parsed.codec.decode(lost, parsed.shape).pixels
    assert not decoded[:32, :32].any()
    assert np.array_equal(decoded[:, 32:], pixels[:, 32:]) and np.array_equal(decoded[32:], pixels[32:])


def test_files_do_not_depend_on_threads(photo, monkeypatch):
    part, data = np.ascontiguousarray(photo[:30, :40]), []
    for count in (1, 2, 3):
        monkeypatch.setattr(planes, "THREADS", count)
        data.append(coded(part, 4).data)
    assert data[0] == data[1] == data[2]


def test_a_file_with_weights_is_refused_in_a_sentence():
    with pytest.raises(WeightsError, match="weights 0001020304050607 of circuit; installed are no weights:"):
        registry.create("circuit").for_weights(bytes(range(8)))


def test_the_header_allows_the_sets_of_experts_that_there_are():
    assert registry.entry("circuit").settings[0].high == len(SETS) - 1 == max(SET_OF_EFFORT)


@pytest.mark.parametrize("aim", [{"quality": 50}, {"bits_per_pixel": 1.0}, {"size": 1000}, {"psnr": 40.0}])
def test_aims_are_refused(smooth, aim):
    with pytest.raises(InputError, match="lossless"):
        files.encode(Image(smooth(8, 8)), "circuit", Target(**aim))


def test_the_encoder_checks_what_it_wrote(smooth, monkeypatch):
    monkeypatch.setattr("fewbits.codecs.image.circuit.codec.decode_tile", lambda *_: np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(FewbitsError, match="does not decode"):
        files.encode(Image(smooth(8, 8)), "circuit", Target(effort=1))
    files.encode(Image(smooth(8, 8)), "circuit", Target(effort=1, verify=False))


class _Stop:
    """A progress callback that interrupts."""

    def __call__(self, share: float, what: str) -> None:
        raise KeyboardInterrupt


def test_interrupting_ends_the_work(photo, monkeypatch):
    monkeypatch.setattr(planes, "POLL_SECONDS", 0.001)
    with pytest.raises(KeyboardInterrupt):
        files.encode(Image(photo), "circuit", Target(effort=9), progress=_Stop())


@pytest.mark.parametrize(("form", "modulus"), [("photo", 1), ("palette", 128)])
def test_no_flipped_byte_of_a_section_gives_wrong_samples(photo, form, modulus):
    """Behind the container's checksum, which would notice all of it."""
    pixels = np.ascontiguousarray(photo[:16, :20] // modulus * modulus)
    section, _ = encode_tile(pixels, 1, lambda share: None)
    assert (section[0] == 1) == (form == "palette") and section[0] != 0
    shape = TileShape(*pixels.shape, 8)
    harmless = 0
    for place in range(len(section)):
        damaged = bytearray(section)
        damaged[place] ^= 1 << place % 8
        try:
            decoded = decode_tile(bytes(damaged), shape, 1, lambda share: None)
        except StreamError:
            continue
        assert np.array_equal(decoded, pixels)
        harmless += 1
    assert harmless <= 2  # such as a smaller lowest value of a plane, which decodes to the same
    for length in range(len(section)):
        with pytest.raises(StreamError):
            decode_tile(section[:length], shape, 1, lambda share: None)


def test_damaged_files_are_errors(smooth):
    data = coded(smooth(12, 14)).data
    for place in generator().integers(0, len(data) * 8, 150).tolist():
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(Exception) as caught:
            files.decode(bytes(damaged))
        assert caught.type.__module__ == "fewbits.errors"


@pytest.mark.parametrize("transform", [NONE, GREEN, YCOCG])
@pytest.mark.parametrize("channels", [3, 4])
def test_transforms_of_colours_are_reversible(transform, channels):
    samples = generator().integers(0, 256, (20, 20, channels), dtype=np.uint8)
    back = from_planes(to_planes(samples, transform), transform, 255)
    assert np.array_equal(back, samples)


def test_maps_of_values_come_back_and_damage_is_noticed():
    channel = generator().choice(np.arange(0, 250, 3), (60, 60))
    levels = levels_of(channel)
    assert np.array_equal(decode_levels(encode_levels(levels), 255), levels)
    assert levels_of(np.arange(256)) is None and decode_levels(b"", 255) is None
    for bad in (b"x", encode_levels(levels)[:-1], encode_levels(np.array([3, 70000]))):
        with pytest.raises(DamagedError):
            decode_levels(bad, 255)


def test_palettes_come_back_and_damage_is_noticed(photo):
    palette, numbers = palette_of(photo // 64 * 64)
    assert np.array_equal(palette[numbers], photo // 64 * 64)
    assert np.array_equal(decode_palette(encode_palette(palette), 3, palette.dtype), palette)
    assert palette_of(photo) is None
    for bad in (b"", encode_palette(palette)[:-1], encode_palette(palette[:, :2][:5])):
        with pytest.raises(DamagedError):
            decode_palette(bad, 3, palette.dtype)


@pytest.mark.slow
def test_a_processor_without_vectors_writes_the_same_file(photo, elsewhere, tmp_path):
    picture = Image(np.ascontiguousarray(photo[:20, :24]))
    picture.save(tmp_path / "a.png")
    program = ("import pathlib, sys; from fewbits.codecs import files; from fewbits.codecs.codec import Target; "
               "from fewbits.codecs.media import Image; a, b = sys.argv[1:]; "
               "pathlib.Path(b).write_bytes(files.encode(Image.open(a), 'circuit', Target(effort=5)).data)")
    elsewhere(program, tmp_path / "a.png", tmp_path / "b.fwb", NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    ours = files.encode(picture, "circuit", Target(effort=5)).data
    assert (tmp_path / "b.fwb").read_bytes() == ours


def test_the_command_line_goes_there_and_back(photo, tmp_path):
    Image(np.ascontiguousarray(photo[:32, :32])).save(tmp_path / "a.png")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-m", "fewbits", *arguments], cwd=tmp_path, env=environment,
                              capture_output=True, timeout=300)

    assert run("encode", "a.png", "--codec", "circuit", "--effort", "2", "--no-verify").returncode == 0
    assert run("decode", "a.fwb", "-o", "b.png").returncode == 0
    assert np.array_equal(Image.open(tmp_path / "b.png").pixels, photo[:32, :32])
    refused = run("encode", "a.png", "--codec", "circuit", "--quality", "50", "-y")
    assert refused.returncode == 2 and b"lossless" in refused.stderr
