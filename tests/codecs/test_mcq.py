"""The `mcq` codec: its codebooks by themselves, and files with the weights that are shipped."""

import hashlib

import numpy as np
import pytest
import torch

from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.image.hyperprior import picture as picture_module
from fewbits.codecs.image.hyperprior.residuals import Group, Residuals, WholeSteps
from fewbits.codecs.image.mcq.codebooks import SLOPE, VectorResiduals
from fewbits.codecs.latents import SCALES, UNIT, table_scales
from fewbits.codecs.media import Image
from fewbits.entropy.tables import SymbolTables, logistic_scale_tables, quantised
from fewbits.errors import DamagedError
from fewbits.eval.metrics import psnr

LATENT_TABLES = logistic_scale_tables(table_scales())
BOOKS = [np.array([[0, 0, 0], [16, 0, 0], [0, 0, -14], [3, 3, 3]], np.int16), np.array([[0], [15], [-15]], np.int16)]
TABLES = SymbolTables.from_frequencies([quantised(np.array([90, 5, 3, 1, 1, 1e-6])),
                                        quantised(np.array([6, 2, 2, 1, 1e-6]))], [0, 0])


def vectors() -> VectorResiduals:
    return VectorResiduals(BOOKS, TABLES, LATENT_TABLES)


def residuals_like(scales: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(len(scales))
    return generator.logistic(0, table_scales()[scales]).astype(np.float32)


def read_back(coder: Residuals, groups: list[Group], scales: np.ndarray) -> np.ndarray:
    """Decodes groups as they are, and checks that they are asked for with the tables that they were made with."""
    there = iter(groups)

    def read(tables: SymbolTables, index: np.ndarray) -> np.ndarray:
        group = next(there)
        assert tables is group.tables and np.array_equal(index, group.index)
        return group.symbols

    decoded = coder.decode(read, scales)
    assert next(there, None) is None
    return decoded


@pytest.mark.parametrize("scales", [
    [], [0], [1], [40], [0, 1, 40], [1, 0, 63, 0, 1, 0, 0, 0, 40, 1], [0] * 7, [63] * 5,
    *np.random.default_rng(0).integers(0, SCALES, (3, 200)).tolist(),
    *np.random.default_rng(1).integers(0, 3, (3, 200)).tolist(),
])
@pytest.mark.parametrize("coder", [vectors(), WholeSteps(LATENT_TABLES)], ids=["vectors", "whole steps"])
def test_residuals_come_back_as_the_encoder_had_them(coder, scales):
    index = np.array(scales, np.uint16)
    decoded, groups = coder.quantise(residuals_like(index), index)
    assert np.array_equal(read_back(coder, groups, index), decoded)
    assert np.array_equal(decoded, np.rint(decoded))


def test_entries_are_those_of_least_cost():
    """No other entry, and no spelling out, would cost less than what was chosen for a vector."""
    scales = np.zeros(3 * 500, np.uint16)
    wanted = 12 * residuals_like(scales)
    _, (indices, spelled) = vectors().quantise(wanted, scales)
    rows, bits = wanted.reshape(-1, 3), TABLES.code_lengths()
    entries = BOOKS[0] / UNIT
    costs = np.square(rows[:, None] - entries).sum(2) + SLOPE * bits[:4]
    whole = np.rint(rows).astype(np.int32)
    plain = [np.square(row - number).sum() + SLOPE * (bits[4] + LATENT_TABLES.bits(number, np.zeros(3, np.uint16)))
             for row, number in zip(rows, whole, strict=True)]
    every = np.column_stack([costs, plain])
    chosen = np.take_along_axis(every, indices.symbols[:, None], 1)[:, 0]
    np.testing.assert_allclose(chosen, every.min(1), atol=1e-4)
    assert 0 < (indices.symbols == 4).sum() * 3 == len(spelled.symbols)
    assert len(set(indices.symbols.tolist())) == 5


def test_far_residuals_are_spelled_out():
    scales = np.array([0, 0, 0, 1], np.uint16)
    wanted = np.array([900, -0.2, 3, 40], np.float32)
    decoded, groups = vectors().quantise(wanted, scales)
    assert decoded.tolist() == [900 * UNIT, 0, 3 * UNIT, 40 * UNIT]
    assert groups[1].symbols.tolist() == [900, 0, 3, 40]


def test_indices_outside_a_codebook_are_damage():
    for index in (-1, 5, 2**31 - 1):
        with pytest.raises(DamagedError, match="outside its codebook"):
            vectors().decode(lambda tables, index_, wrong=index: np.full(len(index_), wrong, np.int32),
                             np.zeros(3, np.uint16))


@pytest.mark.parametrize(("books", "tables"), [
    (BOOKS[:1], TABLES), ([BOOKS[0], BOOKS[0]], TABLES), ([BOOKS[0].astype(np.int32), BOOKS[1]], TABLES),
    ([BOOKS[0], np.empty((3, 0), np.int16)], TABLES),
])
def test_codebooks_that_fit_no_tables_are_refused(books, tables):
    with pytest.raises(ValueError, match=r"codebooks"):
        VectorResiduals(books, tables, LATENT_TABLES)


# Files


def coded(pixels: np.ndarray, **target) -> tuple[files.Encoded, Image]:
    encoded = files.encode(Image(pixels), "mcq", Target(**target))
    return encoded, files.decode(encoded.data).media


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 31), (130, 97)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_size_and_layout_comes_back(smooth, size, channels):
    pixels = smooth(*size, channels)
    _, decoded = coded(pixels, quality=90.0)
    assert decoded.pixels.shape == pixels.shape
    assert psnr(decoded.pixels[..., :1], pixels[..., :1]) > 31


def test_quality_is_monotone_and_the_file_is_what_the_model_says(photo):
    rates, psnrs = [], []
    for quality in (0, 25, 50, 75, 100):
        encoded, decoded = coded(photo, quality=float(quality))
        estimate = encoded.estimate_bits / 8
        assert estimate <= len(encoded.data) <= estimate * 1.005 + 32
        rates.append(len(encoded.data))
        psnrs.append(psnr(decoded.pixels, photo))
    assert all(np.diff(rates) > 0)
    assert all(np.diff(psnrs) > 0)


def test_at_most_a_sixth_more_bytes_than_hyperprior_which_is_slower(photo):
    encoded, decoded = coded(photo, quality=50.0)
    wide = files.encode(Image(photo), "hyperprior", Target(psnr=psnr(decoded.pixels, photo)))
    assert len(encoded.data) < 7 / 6 * len(wide.data)


def test_targets_are_met(photo):
    encoded, _ = coded(photo, size=3000)
    assert 2880 < len(encoded.data) <= 3000
    _, decoded = coded(photo, psnr=34.0)
    assert 34 <= psnr(decoded.pixels, photo) < 34.3


def test_levels_are_previews_and_the_beginning_of_a_file_is_one(photo, monkeypatch):
    monkeypatch.setattr(picture_module, "TILE", 16)
    plain, decoded = coded(photo, quality=50.0)
    progressive = files.encode(Image(photo), "mcq", Target(quality=50.0, progressive=True)).data
    assert np.array_equal(files.decode(progressive).media.pixels, decoded.pixels)
    shown = [files.decode(plain.data, levels=level).media.pixels for level in range(1, 6)]
    for level, pixels in enumerate(shown, 1):
        assert np.array_equal(files.decode(progressive, levels=level).media.pixels, pixels)
    assert all(np.diff([psnr(pixels, photo) for pixels in shown]) > 0)
    cut = files.info(progressive)["sections"][8]["offset"]  # after the first two levels of four tiles
    assert np.array_equal(files.decode(progressive[:cut], allow_damage=True).media.pixels, shown[1])


def latents_of(data: bytes) -> bytes:
    """Decoded latents: what must be equal on every machine."""
    parsed = files.parse(data)
    return parsed.codec.latents(parsed.stream, parsed.shape).numpy().astype("<i2").tobytes()


def test_latents_do_not_depend_on_threads_libraries_or_the_processor(photo, tmp_path, latents_digest_elsewhere):
    data = coded(photo[:64, :96], quality=60.0)[0].data
    expected, threads = latents_of(data), torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert latents_of(data) == expected
    finally:
        torch.set_num_threads(threads)
    with torch.backends.mkldnn.flags(enabled=False):
        assert latents_of(data) == expected
    path = tmp_path / "photo.fwb"
    path.write_bytes(data)
    elsewhere = latents_digest_elsewhere(path, NUMBA_CPU_NAME="generic", ATEN_CPU_CAPABILITY="default",
                                         ONEDNN_MAX_CPU_ISA="SSE41")
    assert elsewhere == hashlib.sha256(expected).hexdigest()


def test_hostile_sections_with_right_checksums_are_safe(smooth, check_hostile_sections):
    encoded, expected = coded(smooth(24, 24), quality=60.0)
    check_hostile_sections(encoded.data, expected.pixels.shape)
