"""The `vqextreme` codec: its cells and chunks by themselves, and files with the weights that are shipped."""

import numpy as np
import pytest
import torch

from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.image.vqextreme import codec as codec_module
from fewbits.codecs.image.vqextreme.cells import CHUNKS, LEAST_CELLS, chunk_rows, count_of_chunks, lost_cells
from fewbits.codecs.image.vqextreme.config import RATES, STAGES, VqExtremeConfig
from fewbits.codecs.image.vqextreme.index_coder import (
    CellIndices,
    RateTables,
    StageTables,
    bits_of_chunk,
    decode_chunk,
    encode_chunk,
)
from fewbits.codecs.image.vqextreme.model import VqExtremeModel, rate_weights
from fewbits.codecs.image.vqextreme.quantiser import SCALAR_LEVELS, Codebooks, FiniteScalars
from fewbits.codecs.image.vqextreme.weights import by_place
from fewbits.codecs.media import Image
from fewbits.entropy.tables import SymbolTables, quantised
from fewbits.errors import DamagedError, InputError
from fewbits.eval.metrics import METRICS, psnr

# Cells, chunks, indices


@pytest.mark.parametrize("grid", [(1, 1), (1, 7), (5, 8), (16, 24), (3, 40)])
def test_every_cell_is_in_one_chunk_and_no_two_neighbours_share_one(grid):
    owner = np.full(grid, -1)
    for chunk in range(count_of_chunks(*grid)):
        for row, columns in chunk_rows(chunk, *grid):
            assert (owner[row, columns] == -1).all()
            owner[row, columns] = chunk
        assert np.array_equal(lost_cells({chunk}, *grid), owner == chunk)
    assert owner.min() == 0
    if np.prod(grid) >= LEAST_CELLS:
        assert len(np.unique(owner)) == CHUNKS
        assert (np.diff(owner, axis=0) != 0).all() and (np.diff(owner, axis=1) != 0).all()


def tables_like(generator: np.random.Generator, contexts: tuple[int, ...], entries: int) -> StageTables:
    rows = [quantised(np.append(generator.dirichlet(np.full(entries, 0.3)), 0.0)) for _ in range(3)]
    return StageTables(SymbolTables.from_frequencies(rows, [0] * 3), generator.integers(0, 3, contexts))


def rate_tables(generator: np.random.Generator, coarse: int = 16, fine: int = 8, detail: int = 4) -> RateTables:
    return RateTables(generator.integers(1, 5, coarse), tables_like(generator, (5, 5), coarse),
                      tables_like(generator, (coarse,), fine),
                      tables_like(generator, (fine,), detail) if detail > 1 else None)


@pytest.mark.parametrize("detail", [1, 4])
@pytest.mark.parametrize("grid", [(1, 1), (4, 3), (7, 9), (2, 50)])
def test_indices_come_back_chunk_by_chunk_in_any_order(grid, detail):
    generator = np.random.default_rng(grid[1])
    tables = rate_tables(generator, detail=detail)
    indices = CellIndices(generator.integers(0, 16, grid, np.int32), generator.integers(0, 8, (*grid, 4), np.int32),
                          generator.integers(0, detail, (*grid, 4), np.int32))
    chunks = range(count_of_chunks(*grid))
    coded = [encode_chunk(chunk, indices, tables) for chunk in chunks]
    for chunk in chunks:
        assert len(coded[chunk]) <= bits_of_chunk(chunk, indices, tables) / 8 + 10
    decoded = CellIndices.blank(*grid)
    for chunk in reversed(chunks):
        decode_chunk(coded[chunk], chunk, decoded, tables)
    assert np.array_equal(decoded.joined(), indices.joined())


def test_an_index_that_its_codebook_lacks_is_damage():
    tables = rate_tables(np.random.default_rng(0))
    indices = CellIndices.blank(1, 1)
    indices.coarse[:] = 16  # coded as an escape
    with pytest.raises(DamagedError, match="does not have"):
        decode_chunk(encode_chunk_unchecked(indices, tables), 0, CellIndices.blank(1, 1), tables)


def encode_chunk_unchecked(indices: CellIndices, tables: RateTables) -> bytes:
    from fewbits.entropy.coder import Encoder

    encoder = Encoder()
    encoder.add(indices.coarse.ravel(), tables.coarse.tables, tables.coarse.chosen[[0], [0]])
    return encoder.finish()


def test_places_of_a_cell_lie_in_reading_order():
    cells = np.arange(8).reshape(1, 2, 4)
    assert by_place(cells).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


# The bottleneck


@pytest.mark.parametrize("kind", [Codebooks, FiniteScalars])
def test_a_bottleneck_gives_what_its_indices_say_and_passes_gradients_on(kind):
    torch.manual_seed(0)
    stage = kind({32, 256}, 6).eval()
    x = torch.randn(2, 6, 3, 5, requires_grad=True)
    for size in (32, 256):
        quantised_features, _, bits = stage(x, size, 0.3)
        indices = stage.indices(x, size, 0.3)
        assert bits == pytest.approx(np.log2(size))
        assert stage.entries(size).shape == (size, 6)
        assert 0 <= indices.min() and indices.max() < size
        torch.testing.assert_close(quantised_features, stage.values(indices, size), atol=1e-5, rtol=1e-5)
        quantised_features.sum().backward()
        assert x.grad.abs().sum() > 0


def test_entries_that_cost_less_are_chosen_more_often():
    torch.manual_seed(0)
    stage = Codebooks({32}, 4)
    with torch.no_grad():
        stage.bits(32).copy_(torch.linspace(1, 12, 32))
    x = torch.randn(1, 4, 40, 40)
    distances = (x.permute(0, 2, 3, 1)[..., None, :] - stage.entries(32)).square().sum(-1)
    for slope in (0.0, 0.1, 1.0):
        chosen = stage.indices(x, 32, slope)
        expected = (distances + slope * stage.bits(32)).argmin(-1)
        assert (chosen == expected).float().mean() > 0.999  # but for ties within rounding
    assert stage.bits(32)[chosen].mean() < stage.bits(32)[stage.indices(x, 32, 0.0)].mean() - 2


def test_training_learns_what_entries_cost():
    stage = Codebooks({32}, 4).train()
    x = stage.entries(32)[:1].detach().view(1, 4, 1, 1).expand(1, 4, 5, 5)
    for _ in range(400):
        stage(x, 32, 0.0)
    assert stage.bits(32)[0] < 0.1 and stage.bits(32)[1:].min() > 10


def test_implicit_codebooks_have_the_sizes_of_the_others():
    assert all(np.prod(levels) == size for size, levels in SCALAR_LEVELS.items())
    assert {rate.size(stage) for rate in RATES for stage in STAGES} - {1} == set(SCALAR_LEVELS)


@pytest.mark.parametrize("finite_scalar", [False, True])
def test_a_model_codes_at_every_rate(finite_scalar):
    torch.manual_seed(0)
    config = VqExtremeConfig(channels=80, hidden=16, outer_hidden=16, outer_blocks=1, finite_scalar=finite_scalar)
    model = VqExtremeModel(config)
    image = torch.rand(2, 3, 64, 96)
    for number in range(len(RATES)):
        decoded, meeting, bits_per_pixel = model(image, number)
        assert decoded.shape == image.shape and meeting.shape == (2,)
        assert 0.03 < bits_per_pixel < 0.1
    assert rate_weights(1, image).tolist() == [[0, 1, 0, 0, 0]]


# Files


def coded(pixels: np.ndarray, **target) -> tuple[files.Encoded, Image]:
    encoded = files.encode(Image(pixels), "vqextreme", Target(**target))
    return encoded, files.decode(encoded.data).image


def enlarged(photo: np.ndarray) -> np.ndarray:
    return photo.repeat(2, 0).repeat(2, 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (17, 31), (130, 97)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_size_and_layout_comes_back(smooth, size, channels):
    pixels = smooth(*size, channels)
    _, decoded = coded(pixels, quality=100.0)
    assert decoded.pixels.shape == pixels.shape


def test_samples_of_16_bits_are_rounded_with_a_notice(smooth):
    pixels = smooth(40, 40, 1).astype(np.uint16) * 257
    encoded = files.encode(Image(pixels), "vqextreme")
    assert "rounded" in encoded.notices[0]
    assert files.decode(encoded.data).image.pixels.dtype == np.uint16


def test_rates_are_those_promised_and_the_file_is_what_the_model_says(photo):
    large, rates, likenesses = enlarged(photo), [], []
    for quality in (0, 25, 50, 75, 100):
        encoded, decoded = coded(large, quality=float(quality))
        estimate = encoded.estimate_bits / 8
        assert estimate <= len(encoded.data) <= estimate + 24 + CHUNKS * 13
        rates.append(8 * len(encoded.data) / large[..., 0].size)
        likenesses.append(METRICS["ms_ssim"].compute(decoded.pixels, large))
    assert all(np.diff(rates) > 0) and all(np.diff(likenesses) > 0)
    assert rates[0] < 0.025 and rates[-1] < 0.075  # of a picture a quarter the size of what the rates are for


def test_targets_are_met(photo):
    small, large = (len(coded(photo, quality=q)[0].data) for q in (0.0, 100.0))
    encoded, _ = coded(photo, size=(small + large) // 2)
    assert small < len(encoded.data) <= (small + large) // 2
    encoded, _ = coded(photo, size=20)
    assert "cannot be reached" in encoded.notices[0]
    least = psnr(coded(photo, quality=0.0)[1].pixels, photo)
    encoded, decoded = coded(photo, psnr=least + 0.2)
    assert least + 0.2 <= psnr(decoded.pixels, photo)
    encoded, _ = coded(photo, psnr=50.0)
    assert "cannot be reached" in encoded.notices[0]


def test_a_large_picture_has_no_seams_where_tiles_meet(photo, monkeypatch):
    """Whatever the size of the tiles, a picture is coded and decoded alike."""
    large = enlarged(photo)
    whole, expected = coded(large, quality=75.0)
    monkeypatch.setattr(codec_module, "TILE", 4)
    parts, decoded = coded(large, quality=75.0)
    assert abs(len(parts.data) - len(whole.data)) <= 4
    assert np.abs(files.decode(whole.data).image.pixels.astype(int) - expected.pixels).max() <= 1
    assert psnr(decoded.pixels, expected.pixels) > 45


def test_a_lost_chunk_is_grey_or_guessed(photo):
    large = enlarged(photo)
    encoded, whole = coded(large, quality=75.0)
    broken = without_section(encoded.data, 2)
    with pytest.raises(DamagedError, match="1 of 5 sections"):
        files.decode(broken)
    blank, guessed = files.decode(broken, allow_damage=True), files.decode(broken, conceal=True)
    assert blank.damaged == guessed.damaged == [2]
    assert guessed.concealed and not blank.concealed
    assert psnr(guessed.image.pixels, large) > psnr(blank.image.pixels, large) + 1
    assert psnr(guessed.image.pixels, whole.pixels) > 20


def test_nothing_is_guessed_of_an_intact_file(photo):
    encoded, decoded = coded(enlarged(photo), quality=50.0)
    assert np.array_equal(files.decode(encoded.data, conceal=True).image.pixels, decoded.pixels)


def test_other_codecs_guess_nothing(smooth):
    data = files.encode(Image(smooth(16, 16)), "hyperprior").data
    with pytest.raises(InputError, match="cannot guess"):
        files.decode(data, conceal=True)


def without_section(data: bytes, number: int) -> bytes:
    section = files.info(data)["sections"][number]
    start, stop = section["offset"], section["offset"] + section["length"]
    return data[:start] + bytes(stop - start) + data[stop:]


def test_hostile_sections_with_right_checksums_are_safe(smooth, check_hostile_sections):
    encoded, expected = coded(smooth(100, 150), quality=100.0)
    check_hostile_sections(encoded.data, expected.pixels.shape)
