"""The `hyperprior` codec with the circuit as prior over its latents, as effort 6 and more use it."""

import hashlib
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fewbits.apps import samples
from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.image.hyperprior import codec as codec_module
from fewbits.codecs.image.hyperprior import latent_circuit, latent_search
from fewbits.codecs.image.hyperprior import picture as picture_module
from fewbits.codecs.image.hyperprior.codec import CIRCUIT, WEIGHTS, HyperpriorCodec
from fewbits.codecs.image.hyperprior.latent_circuit import LatentCircuit
from fewbits.codecs.image.hyperprior.latent_coder import BY_CIRCUIT, BY_TABLES
from fewbits.codecs.media import Image
from fewbits.codecs.weights import identity_of
from fewbits.errors import DamagedError, StreamError, WeightsError
from fewbits.eval.metrics import psnr

ROOT = Path(__file__).parents[2]
GENERATOR = np.random.default_rng(0)


def encoded(pixels: np.ndarray, quality: float = 60.0, effort: int = 6) -> files.Encoded:
    return files.encode(Image(pixels), target=Target(quality=quality, effort=effort))


def latents_of(data: bytes) -> bytes:
    """Decoded latents: what must be equal on every machine."""
    parsed = files.parse(data)
    return parsed.codec.latents(parsed.stream, parsed.shape).numpy().astype("<i2").tobytes()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (17, 31), (33, 64), (130, 97)])
@pytest.mark.parametrize("quality", [5, 90])
def test_any_size_gives_the_latents_of_the_tables(smooth, size, quality):
    pixels = smooth(*size)
    assert latents_of(encoded(pixels, quality).data) == latents_of(encoded(pixels, quality, 5).data)


@pytest.mark.parametrize("quality", [20, 50, 80])
def test_same_picture_from_a_hundredth_fewer_bytes(quality):
    pixels = samples.photo(samples.TOWER).pixels
    by_tables, by_circuit = encoded(pixels, quality, 5), encoded(pixels, quality)
    assert len(by_circuit.data) < 0.99 * len(by_tables.data)
    assert np.array_equal(files.decode(by_tables.data).image.pixels, files.decode(by_circuit.data).image.pixels)


@pytest.mark.parametrize("quality", [0, 50, 100])
def test_the_file_is_what_the_model_says(photo, quality):
    result = encoded(photo, quality)
    assert result.estimate_bits / 8 <= len(result.data) <= 1.005 * result.estimate_bits / 8 + 64


def test_a_tile_that_the_circuit_does_not_suit_costs_a_byte_more(monkeypatch):
    monkeypatch.setattr(latent_circuit.CircuitEncoder, "bits", float("inf"), raising=False)
    monkeypatch.setattr(latent_circuit.CircuitEncoder, "add", lambda *group: None)
    monkeypatch.setattr(latent_circuit.CircuitEncoder, "__init__", lambda *arguments: None)
    pixels = GENERATOR.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    by_tables, by_circuit = encoded(pixels, 90, 5).data, encoded(pixels, 90).data
    offset = files.info(by_circuit)["sections"][0]["offset"]
    assert by_circuit[offset:] == bytes([BY_TABLES]) + by_tables[offset:]
    assert latents_of(by_circuit) == latents_of(by_tables)


def test_noise_with_escapes_comes_back():
    pixels = GENERATOR.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    assert latents_of(encoded(pixels, 100).data) == latents_of(encoded(pixels, 100, 5).data)


def test_effort_chooses_and_the_header_says_so(smooth, monkeypatch):
    monkeypatch.setattr(latent_search, "STEPS", 1)
    pixels = smooth(24, 24)
    for effort in range(1, 10):
        identity = identity_of(CIRCUIT if effort >= 6 else WEIGHTS)
        assert files.info(encoded(pixels, effort=effort).data)["weights"] == identity.hex()
    assert encoded(pixels, effort=1).data == encoded(pixels, effort=5).data
    assert encoded(pixels, effort=7).data == encoded(pixels, effort=9).data


def test_targets_are_met_with_fewer_bits_for_the_same_psnr(photo):
    image = Image(photo)
    assert 2900 < len(files.encode(image, target=Target(size=3000, effort=6)).data) <= 3000
    data = files.encode(image, target=Target(psnr=34, effort=6)).data
    assert 34 <= psnr(files.decode(data).image.pixels, photo) < 34.3
    assert len(data) < len(files.encode(image, target=Target(psnr=34)).data)


def test_tiles_decode_by_themselves(photo, monkeypatch):
    monkeypatch.setattr(picture_module, "TILE", 8)
    data = bytearray(encoded(photo).data)
    assert latents_of(bytes(data)) == latents_of(encoded(photo, effort=5).data)
    data[files.info(bytes(data))["sections"][5]["offset"] + 3] ^= 0xFF
    assert files.decode(bytes(data), allow_damage=True).damaged == [5]


# Exactness and damage


@pytest.mark.slow
def test_latents_do_not_depend_on_the_processor(photo, tmp_path, latents_digest_elsewhere):
    """Another process that must do without this processor's instructions decodes the same latents."""
    path = tmp_path / "photo.fwb"
    path.write_bytes(encoded(photo).data)
    digest = latents_digest_elsewhere(path, NUMBA_CPU_NAME="generic")
    assert digest == hashlib.sha256(latents_of(path.read_bytes())).hexdigest()


def test_every_truncation_and_mutation_is_an_error(smooth):
    data = encoded(smooth(24, 24)).data
    for length in range(len(data)):
        with pytest.raises(StreamError):
            files.decode(data[:length])
    for _ in range(500):
        mutated = bytearray(data)
        mutated[GENERATOR.integers(len(data))] ^= GENERATOR.integers(1, 256)
        with pytest.raises((StreamError, WeightsError)):
            files.decode(bytes(mutated))


def test_hostile_sections_with_right_checksums_are_safe(photo):
    """Words that mean other symbols, too few or too many words, escapes that are not there."""
    data = encoded(photo[:96, :96], 30).data
    offset = files.info(data)["sections"][0]["offset"]
    header, section = data[: offset - 4], data[offset:]
    assert section[0] == BY_CIRCUIT
    wrong = [b"", b"\1", b"\2" + section[1:], section[:-4], section[:-40], section + bytes(3) + b"\1",
             b"\1\0" + bytes(range(1, 9)), b"\1\2\1\1" + section[2:],
             *(b"\1\0" + GENERATOR.bytes(4 * length) for length in GENERATOR.integers(1, 300, 20))]
    for _ in range(40):
        mutated = bytearray(section)
        mutated[GENERATOR.integers(len(section))] ^= GENERATOR.integers(1, 256)
        wrong.append(bytes(mutated))
    for damaged in wrong:
        checksum = zlib.crc32(damaged, zlib.crc32(bytes(4), zlib.crc32(header)))
        with pytest.raises(StreamError):
            files.decode(header + checksum.to_bytes(4, "little") + damaged)


# Weights


def test_a_circuit_for_other_weights_is_refused(smooth, tmp_path, monkeypatch):
    other = tmp_path / "other.safetensors"
    replace(LatentCircuit.load(CIRCUIT), belongs_to=bytes(8)).save(other, {})
    with pytest.raises(WeightsError, match="is for weights 0000000000000000"):
        HyperpriorCodec(circuit=other).encode(Image(smooth(8, 8)))
    data = encoded(smooth(8, 8)).data
    monkeypatch.setattr(codec_module, "CIRCUIT", other)
    monkeypatch.setattr(files.registry, "create", lambda name, device, weights=None: HyperpriorCodec(device))
    with pytest.raises(WeightsError, match="was made with weights"):
        files.decode(data)


def test_a_missing_or_broken_circuit_is_a_weights_error_where_it_is_needed(smooth, tmp_path, monkeypatch):
    by_tables, by_circuit = (encoded(smooth(8, 8), effort=effort).data for effort in (5, 6))
    monkeypatch.setattr(files.registry, "create", lambda name, device, weights=None: HyperpriorCodec(device))
    monkeypatch.setattr(codec_module, "CIRCUIT", tmp_path / "hyperprior-circuit.safetensors")
    with pytest.raises(WeightsError, match=r"are missing.*hyperprior-circuit"):
        files.decode(by_circuit)
    assert files.decode(by_tables).image.width == 8
    codec_module.CIRCUIT.write_bytes(b"no circuit")
    with pytest.raises(WeightsError, match="cannot be used"):
        encoded(smooth(8, 8))


@pytest.mark.parametrize(("name", "change"), [
    ("channels", lambda a: a * 0), ("channels", lambda a: a + 100), ("channels", lambda a: a[:-1]),
    ("depths", lambda a: a * 0), ("depths", lambda a: a.astype(np.int32)), ("edges", lambda a: a[:-1]),
    ("edges", lambda a: a[::-1].copy()), ("root", lambda a: a[:-1]), ("leaves", lambda a: a | np.uint8(255)),
    ("transitions", lambda a: a[:, :-1]),
])
def test_circuits_that_are_none_are_refused(name, change):
    circuit = LatentCircuit.load(CIRCUIT)
    with pytest.raises(ValueError, match=r"\w"):
        replace(circuit, **{name: change(getattr(circuit, name))})


def test_a_stream_without_a_section_for_each_tile_is_damaged(smooth):
    parsed = files.parse(encoded(smooth(24, 24)).data)
    with pytest.raises(DamagedError, match="needs 1 sections"):
        parsed.codec.decode(replace(parsed.stream, sections=[]), parsed.shape)
