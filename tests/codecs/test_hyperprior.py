"""The `hyperprior` codec with the weights that are shipped: what users rely on."""

import hashlib
import io

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.image.hyperprior import codec as codec_module
from fewbits.codecs.image.hyperprior import picture as picture_module
from fewbits.codecs.image.hyperprior.weights import load_weights
from fewbits.codecs.media import Image
from fewbits.codecs.weights import identity_of
from fewbits.errors import DamagedError, InputError, LimitError, StreamError, WeightsError
from fewbits.eval.anchors import ANCHORS
from fewbits.eval.metrics import ms_ssim, psnr

GENERATOR = np.random.default_rng(0)


def coded(pixels: np.ndarray, quality: float = 60.0, **more) -> tuple[files.Encoded, Image]:
    encoded = files.encode(Image(pixels, **more), target=Target(quality=quality))
    return encoded, files.decode(encoded.data).media


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (17, 31), (33, 64), (130, 97)])
def test_any_size_comes_back(smooth, size):
    pixels = smooth(*size)
    _, decoded = coded(pixels, 90)
    assert decoded.pixels.shape == pixels.shape
    assert psnr(decoded.rgb(), pixels) > 32


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_layout_comes_back(smooth, channels):
    pixels = smooth(40, 56, channels)
    _, decoded = coded(pixels, 90)
    assert decoded.pixels.shape == pixels.shape
    assert psnr(decoded.pixels[..., :1], pixels[..., :1]) > 32
    if channels in (2, 4):
        assert np.array_equal(decoded.pixels[..., -1], pixels[..., -1])  # opacity is lossless


def test_sixteen_bit_grey_says_that_it_is_rounded(smooth):
    pixels = (smooth(40, 56, 1).astype(np.uint16) << 8) + 77
    encoded, decoded = coded(pixels, 90)
    assert decoded.pixels.dtype == np.uint16
    assert any("16-bit" in notice for notice in encoded.notices)
    assert np.abs(decoded.pixels.astype(int) - pixels).mean() < 4 * 257


def test_palette_picture_comes_back(smooth):
    buffer = io.BytesIO()
    PillowImage.fromarray(smooth(64, 64)).quantize(32).save(buffer, "PNG")
    buffer.seek(0)
    image = Image.open(buffer)
    decoded = files.decode(files.encode(image, target=Target(quality=95)).data).media
    assert psnr(decoded.rgb(), image.rgb()) > 32


def test_one_colour_is_small_and_exact_enough():
    pixels = np.full((256, 256, 3), (200, 30, 90), np.uint8)  # more saturated than photos are
    encoded, decoded = coded(pixels, 50)
    assert len(encoded.data) < 1200
    assert np.abs(decoded.pixels.astype(int) - pixels).mean() < 2


def test_grey_noise_comes_back():
    pixels = GENERATOR.integers(0, 256, (96, 96, 1), dtype=np.uint8)
    encoded, decoded = coded(pixels, 100)
    assert psnr(decoded.rgb(), Image(pixels).rgb()) > 30
    assert len(encoded.data) < 2 * pixels.size


def test_colour_noise_comes_back_no_worse_than_from_jpeg():
    """Photos have no fine colour detail, so this codec keeps little of it, like 4:2:0 JPEG."""
    pixels = GENERATOR.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    encoded, decoded = coded(pixels, 100)
    jpeg = ANCHORS["jpeg"]
    assert psnr(decoded.pixels, pixels) > psnr(jpeg.decode(jpeg.encode(Image(pixels), 96)).pixels, pixels)
    assert len(encoded.data) < pixels.size


def test_colour_profile_is_kept(smooth):
    profile = GENERATOR.bytes(600)
    _, decoded = coded(smooth(24, 24), icc_profile=profile)
    assert decoded.icc_profile == profile


def test_quality_is_monotone_and_the_file_is_what_the_model_says(photo):
    rates, psnrs = [], []
    for quality in (0, 12.5, 25, 50, 75, 100):
        encoded, decoded = coded(photo, quality)
        estimate = encoded.estimate_bits / 8
        assert estimate <= len(encoded.data) <= estimate * 1.005 + 32
        rates.append(len(encoded.data))
        psnrs.append(psnr(decoded.pixels, photo))
    assert all(np.diff(rates) > 0)
    assert all(np.diff(psnrs) > 0)


def test_a_one_chunk_picture_pays_24_bytes(photo):
    encoded, _ = coded(photo)
    box = files.info(encoded.data)
    assert box["sections"][0]["offset"] == 24


def test_targets_are_met(photo):
    image = Image(photo)
    size = len(files.encode(image, target=Target(size=3000)).data)
    assert 2900 < size <= 3000
    rate = 8 * len(files.encode(image, target=Target(bits_per_pixel=0.5)).data) / (image.width * image.height)
    assert 0.48 < rate <= 0.5
    decoded = files.decode(files.encode(image, target=Target(psnr=34)).data).media
    assert 34 <= psnr(decoded.pixels, photo) < 34.3


def test_targets_that_cannot_be_met_are_reported(photo):
    assert "cannot be reached" in files.encode(Image(photo), target=Target(size=60)).notices[0]
    assert "cannot be reached" in files.encode(Image(photo), target=Target(psnr=70)).notices[0]


def test_tuned_for_ms_ssim(photo):
    """A better MS-SSIM in three quarters of the bytes; the header says which weights the file is for."""
    encoded, decoded = coded(photo, 50)
    tuned = files.encode(Image(photo), target=Target(size=3 * len(encoded.data) // 4, tune="msssim"))
    assert len(tuned.data) <= 0.75 * len(encoded.data)
    assert ms_ssim(photo, files.decode(tuned.data).media.pixels) > ms_ssim(photo, decoded.pixels)
    assert files.info(tuned.data)["weights"] == identity_of(codec_module.MSSSIM_WEIGHTS).hex()


@pytest.mark.parametrize("quality", [20.0, 80.0])
def test_weights_that_are_trained_on_are_those_that_are_shipped(photo, quality):
    """Turned back into trainable networks, they give the rate of the files and the pictures in them."""
    encoded, decoded = coded(photo, quality)
    model = load_weights(codec_module.WEIGHTS, "cpu").trainable().eval()
    image = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        again, bits = model(image, torch.tensor([quality]))
    assert bits.item() == pytest.approx(encoded.estimate_bits, rel=0.01)
    pixels = (again[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    assert psnr(pixels, photo) == pytest.approx(psnr(decoded.pixels, photo), abs=0.05)


def test_unknown_codec_is_an_input_error(smooth):
    with pytest.raises(InputError, match="hyperprior"):
        files.encode(Image(smooth(8, 8)), "nonsense")


# Exactness


def latents_of(data: bytes) -> bytes:
    """Decoded latents: what must be equal on every machine."""
    parsed = files.parse(data)
    return parsed.codec.latents(parsed.stream, parsed.shape).numpy().astype("<i2").tobytes()


def test_latents_do_not_depend_on_threads_or_libraries(photo):
    encoded, _ = coded(photo)
    expected = latents_of(encoded.data)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert latents_of(encoded.data) == expected
    finally:
        torch.set_num_threads(threads)
    with torch.backends.mkldnn.flags(enabled=False):
        assert latents_of(encoded.data) == expected


@pytest.mark.parametrize("environment", [
    {"NUMBA_CPU_NAME": "generic"}, {"ATEN_CPU_CAPABILITY": "default"}, {"ONEDNN_MAX_CPU_ISA": "SSE41"},
])
def test_latents_do_not_depend_on_the_processor(photo, tmp_path, environment, latents_digest_elsewhere):
    """Another process that must do without this processor's instructions decodes the same latents."""
    encoded, _ = coded(photo)
    path = tmp_path / "photo.fwb"
    path.write_bytes(encoded.data)
    assert latents_digest_elsewhere(path, **environment) == hashlib.sha256(latents_of(encoded.data)).hexdigest()


# Tiles


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(picture_module, "TILE", 8)


def test_tiles_leave_no_seams(photo, monkeypatch):
    """Cut into 64-pixel tiles, far smaller than real ones, a photo loses little against the whole at the same rate."""
    _, whole = coded(photo)
    monkeypatch.setattr(picture_module, "TILE", 8)
    encoded, tiled = coded(photo)
    assert len(files.info(encoded.data)["sections"]) == 12
    assert abs(psnr(tiled.pixels, photo) - psnr(whole.pixels, photo)) < 0.05
    seams = np.arange(64, photo.shape[1], 64)
    error = np.square(tiled.pixels.astype(float) - photo).mean((0, 2))
    assert error[np.concatenate([seams - 1, seams])].mean() < 1.3 * error.mean()


@pytest.mark.usefixtures("small_tiles")
def test_a_damaged_tile_costs_itself(photo):
    data = bytearray(coded(photo)[0].data)
    intact = files.decode(bytes(data)).media.pixels.astype(int)
    section = files.info(bytes(data))["sections"][5]
    data[section["offset"] + 3] ^= 0xFF
    with pytest.raises(DamagedError, match="1 of 12 sections"):
        files.decode(bytes(data))
    partial = files.decode(bytes(data), allow_damage=True)
    assert partial.damaged == [5]
    changed = np.abs(partial.media.pixels.astype(int) - intact).max(2) > 0
    rows, columns = np.nonzero(changed)
    reach = 8 * (picture_module.HALO + 1)
    assert rows.min() >= 64 - reach and rows.max() < 128 + reach
    assert columns.min() >= 64 - reach and columns.max() < 128 + reach


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("effort", [5, 6])
def test_bits_by_place_are_those_of_the_sections(photo, effort):
    """With tables and with the circuit, whose sections are shorter."""
    data = files.encode(Image(photo), target=Target(effort=effort)).data
    side, bits = files.bits_by_place(data)
    assert bits.shape == (-(-photo.shape[0] // side), -(-photo.shape[1] // side))
    assert bits.sum() == pytest.approx(8 * sum(section["length"] for section in files.info(data)["sections"]))


@pytest.mark.usefixtures("small_tiles")
def test_a_cut_off_tiled_file_gives_what_is_there(photo):
    data = coded(photo)[0].data
    section = files.info(data)["sections"][9]
    partial = files.decode(data[: section["offset"] + 2], allow_damage=True)
    assert partial.damaged == [9, 10, 11]
    assert partial.media.pixels.shape == photo.shape


# Damage


def test_every_truncation_is_an_error(smooth):
    data = coded(smooth(24, 24))[0].data
    for length in range(len(data)):
        with pytest.raises(StreamError):
            files.decode(data[:length])


def test_every_mutation_is_an_error(smooth):
    data = coded(smooth(24, 24))[0].data
    for _ in range(2000):
        mutated = bytearray(data)
        for _ in range(GENERATOR.integers(1, 4)):
            mutated[GENERATOR.integers(len(data))] ^= GENERATOR.integers(1, 256)
        if bytes(mutated) == data:
            continue
        with pytest.raises(StreamError):
            files.decode(bytes(mutated))


def test_hostile_sections_with_right_checksums_are_safe(smooth, check_hostile_sections):
    encoded, expected = coded(smooth(24, 24))
    check_hostile_sections(encoded.data, expected.pixels.shape)


def test_huge_claims_are_refused_before_memory_is_taken(smooth, rechecked):
    data = bytearray(coded(smooth(24, 24))[0].data)
    at = data.index(bytes([24, 24]))
    huge = bytes(data[:at]) + b"\xff\xff\xff\x07" * 2 + bytes(data[at + 2 :])
    with pytest.raises(LimitError, match="more than the limit"):
        files.decode(rechecked(huge, files.info(bytes(data))["sections"][0]["offset"] + 6))
    with pytest.raises(DamagedError, match="needs"):
        wide = bytes(data[:at]) + b"\x80\x40" * 2 + bytes(data[at + 2 :])
        files.decode(rechecked(wide, files.info(bytes(data))["sections"][0]["offset"] + 2))


def test_other_weights_are_a_weights_error(smooth, rechecked):
    data = bytearray(coded(smooth(24, 24))[0].data)
    offset = files.info(bytes(data))["sections"][0]["offset"]
    data[8] ^= 1
    with pytest.raises(WeightsError, match="was made with weights"):
        files.decode(rechecked(bytes(data), offset))


def test_missing_weights_are_a_weights_error(smooth, tmp_path):
    with pytest.raises(WeightsError, match="are missing"):
        codec_module.HyperpriorCodec(weights=tmp_path / "none.safetensors").encode(Image(smooth(8, 8)), Target())
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="cannot be used"):
        codec_module.HyperpriorCodec(weights=broken).encode(Image(smooth(8, 8)), Target())
