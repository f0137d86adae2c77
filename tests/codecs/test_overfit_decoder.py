"""The decoder and the format of `overfit`, with made-up latents and networks in place of fitted ones."""

import hashlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fewbits.codecs import files
from fewbits.codecs.codec import Stream, Target
from fewbits.codecs.image.overfit import codec as codec_module
from fewbits.codecs.image.overfit import latent_coder
from fewbits.codecs.image.overfit.analysis import SHAPE
from fewbits.codecs.image.overfit.architecture import GRIDS, SIZES, grid_shape
from fewbits.codecs.image.overfit.codec import OverfitCodec, pack
from fewbits.codecs.image.overfit.fitted import Fitted
from fewbits.codecs.image.overfit.latent_coder import LatentCoder, Latents
from fewbits.codecs.image.overfit.networks import (
    Networks,
    check_ranges,
    decode_networks,
    difference_bits,
    encode_networks,
)
from fewbits.codecs.image.overfit.reconstruction import Reconstruction, reference
from fewbits.codecs.image.overfit.starts import Start, context_tables, load_starts, save_starts
from fewbits.codecs.media import Image
from fewbits.errors import DamagedError, StreamError, WeightsError

ROOT = Path(__file__).parents[2]
SHAPES = [(1, 1), (1, 9), (17, 31), (130, 97), (1100, 70)]
STARTS = load_starts()


def made_latents(rng: np.random.Generator, height: int, width: int, finest: int = 0, spread: float = 0.4) -> Latents:
    return [None if k < finest else np.round(rng.laplace(0, spread * (1 + k), grid_shape(k, height, width))).astype(int)
            for k in range(GRIDS)]


def made_networks(rng: np.random.Generator, number: int, shift: int = 2) -> Networks:
    """The first start with differences that are multiples of 2**shift, one tensor in three left as it is."""
    start = STARTS.networks(number, 0)
    return {name: (array if i % 3 == 2 else array + (rng.integers(-9, 10, array.shape) << shift)).astype(np.int32)
            for i, (name, array) in enumerate(start.items())}


def made_fit(height: int, width: int, number: int = 0, finest: int = 0, seed: int = 0) -> Fitted:
    rng = np.random.default_rng(seed)
    networks = made_networks(rng, number)
    return Fitted(number, 0, finest, networks, dict.fromkeys(networks, 2), made_latents(rng, height, width, finest))


def blank(height: int, width: int, channels: int = 3) -> Image:
    return Image(np.full((height, width, channels), 200, np.uint8))


def shape_of(image: Image) -> dict[str, int]:
    return {"width": image.width, "height": image.height, "channels": image.channels, "bits": image.bits}


def equal(first: Latents, second: Latents) -> bool:
    return all((a is None and b is None) or np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture
def fake_fit(monkeypatch):
    """Puts a fit in place that does not look at the picture."""
    fitting = ModuleType("fitting")
    fitting.fit = lambda rgb, *_: made_fit(*rgb.shape[:2])
    monkeypatch.setitem(sys.modules, "fewbits.codecs.image.overfit.fitting", fitting)


# Round trips


@pytest.mark.parametrize("number", range(len(SIZES)))
@pytest.mark.parametrize("finest", [0, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_latents_and_samples_come_back(shape, finest, number):
    fitted, image = made_fit(*shape, number, finest), blank(*shape)
    stream = pack(fitted, image, STARTS)
    assert len(stream.sections) == (3 if shape == (1100, 70) else 2)
    codec = OverfitCodec()
    assert equal(codec.latents(stream, shape_of(image)), fitted.latents)
    decoded = codec.decode(stream, shape_of(image)).pixels
    assert np.array_equal(decoded, reference(fitted.latents, fitted.networks, *shape))
    assert decoded.size < 1000 or decoded.std() > 2


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.usefixtures("fake_fit")
def test_any_layout_comes_back(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (33, 21, channels), dtype=np.uint8)
    decoded = files.decode(files.encode(Image(pixels), "overfit").data).media.pixels
    assert decoded.shape == pixels.shape
    if channels in (2, 4):
        assert np.array_equal(decoded[..., -1], pixels[..., -1])
    fitted = made_fit(33, 21)
    expected = reference(fitted.latents, fitted.networks, 33, 21, 1 if channels <= 2 else 3)
    assert np.array_equal(decoded[..., : expected.shape[2]], expected)


@pytest.mark.usefixtures("fake_fit")
def test_sixteen_bit_grey_says_that_it_is_rounded():
    encoded = files.encode(Image(np.full((9, 9, 1), 777, np.uint16)), "overfit")
    assert any("16-bit" in notice for notice in encoded.notices)
    pixels = files.decode(encoded.data).media.pixels
    assert pixels.dtype == np.uint16 and (pixels % 257 == 0).all()


def test_opacity_counts_towards_a_size(monkeypatch):
    targets = []
    fitting = ModuleType("fitting")
    fitting.fit = lambda rgb, target, *_: targets.append(target) or made_fit(*rgb.shape[:2])
    monkeypatch.setitem(sys.modules, "fewbits.codecs.image.overfit.fitting", fitting)
    stream = OverfitCodec().encode(blank(20, 20, 4), Target(size=5000, tune="msssim", keep_best=True))
    assert targets[0] == Target(size=5000 - len(stream.sections[-1]), tune="msssim", keep_best=True)


def test_large_latents_and_escapes_come_back():
    rng = np.random.default_rng(3)
    fitted = made_fit(40, 50)
    latents = [rng.integers(-16383, 16384, grid.shape) for grid in fitted.latents]
    coder = LatentCoder(SIZES[0], fitted.networks, STARTS.tables)
    sections = [coder.encode(tile) for tile in coder.symbols(latents, 40, 50)]
    assert equal(coder.decode(sections, 40, 50, 0), latents)
    wild = [grid * 3 for grid in latents]  # clipped
    sections = [coder.encode(tile) for tile in coder.symbols(wild, 40, 50)]
    assert equal(coder.decode(sections, 40, 50, 0), [grid.clip(-16383, 16383) for grid in wild])


@pytest.mark.parametrize("number", range(len(SIZES)))
def test_the_estimate_is_close(number):
    stream = pack(made_fit(260, 300, number), blank(260, 300), STARTS)
    assert abs(sum(map(len, stream.sections)) - stream.estimate_bits / 8) < 0.003 * stream.estimate_bits / 8 + 64


# Networks


@pytest.mark.parametrize("number", range(len(SIZES)))
@pytest.mark.parametrize("shift", [0, 3, 10])
def test_networks_come_back(number, shift):
    size, start = SIZES[number], STARTS.networks(number, 0)
    rng = np.random.default_rng(shift)
    # few and small, for sums of networks have limits
    networks = {name: (array + (rng.integers(-2, 3, array.shape) * (rng.random(array.shape) < 0.2) << shift))
                .astype(np.int32) for name, array in start.items()}
    shifts = dict.fromkeys(networks, shift)
    data = encode_networks(networks, start, size, STARTS.tables, shifts)
    decoded = decode_networks(data, start, size, STARTS.tables)
    assert all(np.array_equal(decoded[name], networks[name]) for name in networks)
    estimate = difference_bits(networks, start, size, STARTS.tables, shifts) / 8
    assert abs(len(data) - estimate) < 0.003 * estimate + 16


def test_a_start_as_it_is_takes_no_bytes():
    for number, size in enumerate(SIZES):
        start = STARTS.networks(number, 1)
        assert encode_networks(start, start, size, STARTS.tables, {}) == b""
        assert decode_networks(b"", start, size, STARTS.tables) == start
        for data in (bytes(1), bytes(4), bytes(40)):  # there is one way to say that nothing differs
            with pytest.raises(DamagedError):
                decode_networks(data, start, size, STARTS.tables)


def test_differences_need_their_shift():
    start = STARTS.networks(0, 0)
    networks = start | {"upsampling": start["upsampling"] + np.int32(3)}
    with pytest.raises(ValueError, match="not a multiple"):
        encode_networks(networks, start, SIZES[0], STARTS.tables, {"upsampling": 1})


def test_sums_beyond_32_bits_are_refused():
    start = STARTS.networks(2, 0)
    for name in ("context.1.second.weight", "context.3.last.weight"):
        with pytest.raises(ValueError, match="32 bits"):
            check_ranges(start | {name: np.full_like(start[name], 2000)}, SIZES[2])
    with pytest.raises(ValueError, match="beyond"):
        check_ranges(start | {"upsampling": start["upsampling"] + np.int32(40000)}, SIZES[2])
    huge = start | {"context.1.second.weight": start["context.1.second.weight"] + np.int32(2048)}
    with pytest.raises(ValueError, match="32 bits"):
        encode_networks(huge, start, SIZES[2], STARTS.tables, {})


def test_shipped_tables_are_the_ones_that_are_made():
    made, shipped = context_tables().to_arrays(), STARTS.tables.to_arrays()
    assert all(np.array_equal(made[name], shipped[name]) for name in made)


def test_starts_come_back(tmp_path):
    path = tmp_path / "overfit.safetensors"
    by_size = [[Start(STARTS.networks(number, 0), np.zeros(SHAPE, np.float32), 0.001)] * 3
               for number in range(len(SIZES))]
    save_starts(path, by_size, STARTS.tables, {"date": "today"})
    starts = load_starts(path)
    assert [starts.count(number) for number in range(len(SIZES))] == [3] * 3
    assert all(np.array_equal(starts.networks(1, 2)[name], array)
               for name, array in STARTS.networks(1, 0).items())


def test_missing_and_broken_starts_are_weights_errors(tmp_path):
    path = tmp_path / "overfit.safetensors"
    with pytest.raises(WeightsError, match="are missing"):
        load_starts(path)
    path.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="cannot be used"):
        load_starts(path)


# Damage


def mutations(data: bytes, count: int, rng: np.random.Generator) -> list[bytes]:
    made = []
    for _ in range(count):
        mutated = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            mutated[rng.integers(len(data))] ^= rng.integers(1, 256)
        made.append(bytes(mutated))
    return made


@pytest.mark.parametrize("finest", [0, 1])
def test_damaged_tiles_end_in_stream_errors(finest):
    fitted = made_fit(21, 30, 1, finest)
    fitted.latents[3][0, 0] = 9000  # an escape
    coder = LatentCoder(SIZES[1], fitted.networks, STARTS.tables)
    section = next(map(coder.encode, coder.symbols(fitted.latents, 21, 30)))
    for length in range(len(section)):
        with pytest.raises(StreamError):
            coder.decode_tile(section[:length], 21, 30, finest)
    for mutated in mutations(section, 300, np.random.default_rng(1)):
        try:
            decoded = coder.decode_tile(mutated, 21, 30, finest)
        except StreamError:
            continue
        assert [g if g is None else g.shape for g in decoded] == [g if g is None else g.shape for g in fitted.latents]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_damaged_networks_end_in_stream_errors_or_networks():
    fitted, start = made_fit(9, 9, 2), STARTS.networks(2, 0)
    section = encode_networks(fitted.networks, start, SIZES[2], STARTS.tables, fitted.shifts)
    for length in range(1, len(section)):
        with pytest.raises(StreamError):
            decode_networks(section[:length], start, SIZES[2], STARTS.tables)
    for mutated in mutations(section, 300, np.random.default_rng(2)):
        try:
            networks = decode_networks(mutated, start, SIZES[2], STARTS.tables)
        except StreamError:
            continue
        check_ranges(networks, SIZES[2])
        assert Reconstruction(fitted.latents, networks, 9, 9).samples().shape == (9, 9, 3)


def test_wild_networks_give_the_samples_of_the_reference():
    """Parameters as large as they may be overflow floats; what comes out is still the same everywhere."""
    fitted = made_fit(40, 30, 2)
    networks = fitted.networks | {name: np.sign(array) * 32767 for name, array in fitted.networks.items()
                                  if not name.startswith("context.")}
    latents = [grid * 5000 for grid in fitted.latents]
    with np.errstate(all="ignore"):
        expected = reference(latents, networks, 40, 30)
    assert np.array_equal(Reconstruction(latents, networks, 40, 30).samples(), expected)


def test_wrong_settings_and_sections_are_damage():
    image = blank(20, 20, 4)
    stream = pack(made_fit(20, 20), image, STARTS)
    codec, shape = OverfitCodec(), shape_of(image)
    with pytest.raises(DamagedError, match="needs 3 sections"):
        codec.decode(Stream(stream.settings, stream.sections[:-1]), shape)
    with pytest.raises(DamagedError, match="start 63"):
        codec.decode(Stream(stream.settings | {"start": 63}, stream.sections), shape)
    with pytest.raises(DamagedError, match="nothing can be decoded"):
        codec.decode(Stream(stream.settings, [None, *stream.sections[1:]]), shape)


def test_a_damaged_tile_is_zero(monkeypatch):
    monkeypatch.setattr(latent_coder, "TILE", 64)
    monkeypatch.setattr(codec_module, "TILE", 64)
    fitted, image = made_fit(130, 100), blank(130, 100, 4)
    stream = pack(fitted, image, STARTS)
    assert len(stream.sections) == 8
    assert equal(OverfitCodec().latents(stream, shape_of(image)), fitted.latents)
    sections = [*stream.sections[:3], None, *stream.sections[4:7], None]
    latents = OverfitCodec().latents(Stream(stream.settings, sections), shape_of(image))
    for k, (grid, whole) in enumerate(zip(latents, fitted.latents, strict=True)):
        expected = whole.copy()
        expected[64 >> k : 128 >> k, : 64 >> k] = 0
        assert np.array_equal(grid, expected)
    decoded = OverfitCodec().decode(Stream(stream.settings, sections), shape_of(image)).pixels
    assert decoded.shape == (130, 100, 4) and (decoded[..., 3] == 255).all()


# Exactness


def test_results_do_not_depend_on_threads(monkeypatch):
    monkeypatch.setattr(latent_coder, "TILE", 64)
    fitted = made_fit(150, 140, 1)
    coder = LatentCoder(SIZES[1], fitted.networks, STARTS.tables)
    sections = [coder.encode(tile) for tile in coder.symbols(fitted.latents, 150, 140)]
    made = Reconstruction(fitted.latents, fitted.networks, 150, 140)
    for threads in (1, 2):
        assert equal(coder.decode(sections, 150, 140, 0, threads=threads), fitted.latents)
        assert np.array_equal(made.samples(3, threads=threads), made.samples())


def test_decoding_needs_no_torch_and_not_this_processor(fake_fit, tmp_path, elsewhere):
    """Another process that must do without this processor's instructions decodes the same latents and samples."""
    path = tmp_path / "made.fwb"
    path.write_bytes(files.encode(blank(70, 90), "overfit").data)
    program = ("import hashlib, pathlib, sys; from fewbits.codecs import files;"
               "data = pathlib.Path(sys.argv[1]).read_bytes(); parsed = files.parse(data);"
               "latents = parsed.codec.latents(parsed.stream, parsed.shape);"
               "print(hashlib.sha256(b''.join(g.astype('<i2').tobytes() for g in latents)).hexdigest());"
               "print(hashlib.sha256(files.decode(data).media.pixels.tobytes()).hexdigest());"
               "print('torch' in sys.modules)")
    printed = elsewhere(program, path, NUMBA_CPU_NAME="generic")
    latents = b"".join(grid.astype("<i2").tobytes() for grid in made_fit(70, 90).latents)
    pixels = files.decode(path.read_bytes()).media.pixels
    assert printed.split() == [hashlib.sha256(latents).hexdigest(), hashlib.sha256(pixels.tobytes()).hexdigest(),
                                   "False"]
