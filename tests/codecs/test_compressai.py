"""The codec `compressai` with random weights: what users of any weights rely on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fewbits.codecs import files, registry
from fewbits.codecs.codec import Target
from fewbits.codecs.image.compressai import codec as codec_module
from fewbits.codecs.image.compressai.config import MEAN_SCALE_HYPERPRIOR, NAMES, CompressaiConfig
from fewbits.codecs.image.compressai.density import FactorisedDensity
from fewbits.codecs.image.compressai.hyper_decoder import UNIT, ExactHyperDecoder
from fewbits.codecs.image.compressai.latent_coder import HyperpriorLatents
from fewbits.codecs.image.compressai.transforms import GDN, hyper_synthesis
from fewbits.codecs.image.compressai.weights import load_weights
from fewbits.codecs.media import Image
from fewbits.entropy.tables import SymbolTables
from fewbits.errors import DamagedError, InputError, StreamError, WeightsError

SECTION = "09040e070b061204233a0000706affffffffffffffffffffffffffffffffffffffffff3f040190090000"
LATENTS = [-204, 20783, -12245, 2916, 38308, -83286, 9072, 9767, -29988, 1262, 5471, 122477]


def coded(pixels: np.ndarray, weights: Path) -> tuple[files.Encoded, Image]:
    encoded = files.encode(Image(pixels), "compressai", weights=weights)
    return encoded, files.decode(encoded.data, weights=weights).image


def latents_in(data: bytes, weights: Path) -> torch.Tensor:
    parsed = files.parse(data, weights=weights)
    return parsed.codec.latents(parsed.stream, parsed.shape)


def floats(pixels: np.ndarray, weights: Path) -> tuple[torch.Tensor, np.ndarray]:
    """Latents (1, M, h, w) of the whole picture before they are rounded, and samples (H, W, 3) made of those that are,
    by the float networks alone, for models without means and medians."""
    model = load_weights(weights, "cpu")
    height, width = pixels.shape[:2]
    image = torch.from_numpy(np.pad(pixels, ((0, -height % 16), (0, -width % 16), (0, 0)), mode="edge"))
    with torch.inference_mode():
        latents = model.transforms.g_a(image.permute(2, 0, 1)[None].float() / 255)
        samples = model.transforms.g_s(torch.round(latents))[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255
    return latents, samples[:height, :width]


@pytest.mark.parametrize("architecture", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (17, 31), (64, 128), (130, 97)])
def test_any_size_comes_back_with_latents_half_a_step_away_at_most(architecture, size, smooth, compressai_weights):
    weights, pixels = compressai_weights(architecture), smooth(*size)
    encoded, decoded = coded(pixels, weights)
    assert decoded.pixels.shape == pixels.shape
    assert len(encoded.data) <= encoded.estimate_bits / 8 * 1.005 + 40
    original, _ = floats(pixels, weights)
    latents = latents_in(encoded.data, weights)
    assert latents.shape == original.shape[1:] and latents.std() > 0.5
    assert (latents - original[0]).abs().max() <= 0.5 + 1e-3


def test_samples_are_those_of_the_float_networks(smooth, compressai_weights):
    weights, pixels = compressai_weights("bmshj2018-hyperprior"), smooth(96, 80)
    _, decoded = coded(pixels, weights)
    assert np.abs(decoded.pixels - floats(pixels, weights)[1]).max() < 0.51


@pytest.mark.parametrize("channels, bits", [(1, 8), (2, 8), (3, 8), (4, 8), (1, 16)])
def test_any_layout_comes_back(channels, bits, smooth, compressai_weights):
    pixels = smooth(40, 56, channels)
    if bits == 16:
        pixels = pixels.astype(np.uint16) * np.uint16(257)
    encoded, decoded = coded(pixels, compressai_weights("mbt2018-mean"))
    assert (decoded.pixels.shape, decoded.pixels.dtype) == (pixels.shape, pixels.dtype)
    assert any("16-bit" in notice for notice in encoded.notices) == (bits == 16)
    if channels in (2, 4):
        assert np.array_equal(decoded.pixels[..., -1], pixels[..., -1])


def test_tiles_have_no_seams(smooth, compressai_weights, monkeypatch):
    weights, pixels = compressai_weights("bmshj2018-hyperprior"), smooth(150, 200)
    monkeypatch.setattr(codec_module, "TILE", 3)
    encoded, decoded = coded(pixels, weights)
    assert len(files.info(encoded.data)["sections"]) == 4 * 5
    assert np.abs(decoded.pixels - floats(pixels, weights)[1]).max() < 0.51


def test_a_damaged_tile_costs_itself(smooth, compressai_weights, monkeypatch):
    weights, pixels = compressai_weights("bmshj2018-factorized"), smooth(64, 128)
    monkeypatch.setattr(codec_module, "TILE", 4)
    encoded, whole = coded(pixels, weights)
    damaged = encoded.data[:-1] + bytes([encoded.data[-1] ^ 1])
    with pytest.raises(DamagedError, match="1 of 2 sections"):
        files.decode(damaged, weights=weights)
    result = files.decode(damaged, weights=weights, allow_damage=True)
    assert result.damaged == [1]
    assert np.array_equal(result.image.pixels[:, :32], whole.pixels[:, :32])
    assert (result.image.pixels[:, 64:] == 128).all()


@pytest.mark.parametrize("architecture", NAMES)
def test_wrong_sections_are_refused(architecture, smooth, compressai_weights):
    weights = compressai_weights(architecture)
    parsed = files.parse(coded(smooth(64, 64), weights)[0].data, weights=weights)
    section, coder = parsed.stream.sections[0], load_weights(weights, "cpu").coder
    generator = np.random.default_rng(0)
    for wrong in (b"", section[:-4], section[:7], section + bytes(4), generator.bytes(len(section))):
        with pytest.raises(StreamError):
            coder.decode(wrong, 4, 4)
    with pytest.raises(StreamError):
        coder.decode(section, 4, 5)
    with pytest.raises(DamagedError, match="needs 2 sections"):
        parsed.codec.decode(parsed.stream, parsed.shape | {"channels": 4})


@pytest.mark.parametrize("architecture", NAMES)
def test_latents_are_the_same_whatever_computes_them(architecture, photo, compressai_weights):
    weights = compressai_weights(architecture, channels=24, latents=32)
    data = coded(photo, weights)[0].data
    expected, threads = latents_in(data, weights), torch.get_num_threads()
    try:
        for count in (1, 2):
            for onednn in (False, True):
                torch.set_num_threads(count)
                with torch.backends.mkldnn.flags(enabled=onednn):
                    assert torch.equal(latents_in(data, weights), expected)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("architecture", NAMES[1:])
def test_the_integer_hyper_decoder_follows_the_float_one(architecture):
    torch.manual_seed(0)
    config = CompressaiConfig(NAMES.index(architecture), 16, 20)
    network = hyper_synthesis(config)
    reach = torch.full((16,), 50 * UNIT)
    exact = ExactHyperDecoder.from_trained(network, config, -reach, reach)
    hyper_latents = torch.randint(-50, 51, (1, 16, 5, 7)).double()
    with torch.no_grad():
        expected = network(hyper_latents.float())
    result = exact(hyper_latents * UNIT) / UNIT
    assert result.shape == expected.shape and expected.std() > 0.1
    assert (result - expected).abs().max() < 0.01


def test_tables_hold_the_density_however_far_from_the_quantiles():
    """With weights of 1 and without factors, the cumulative distribution is the logistic one."""
    ones = torch.full((2, 1, 1), float(np.log(np.e - 1)))  # softplus makes 1 of it
    zeros = torch.zeros(2, 1, 1)
    medians = torch.tensor([0.25, 300.0])
    tables = FactorisedDensity([ones] * 5, [zeros] * 5, [zeros] * 4, medians).tables()
    for number, median in enumerate(medians.tolist()):
        values = median + np.arange(tables.lows[number], tables.highs[number] + 1)
        ends = 1 / (1 + np.exp(-np.stack([values - 0.5, values + 0.5])))
        assert tables.table(number)[:-1] / 2**24 == pytest.approx(ends[1] - ends[0], abs=1e-5)
        assert tables.table(number)[-1] < 2**24 * 2**-18 and len(values) > 20


def test_gdn_divides_by_what_surrounds():
    gdn, inverse = GDN(2), GDN(2, inverse=True)
    for layer in (gdn, inverse):
        layer.load_state_dict({"beta": torch.tensor([1.0, 4.0]), "gamma": torch.tensor([[0.0, 2.0], [0.0, 0.0]])})
    x = torch.tensor([3.0, 2.0]).view(1, 2, 1, 1)
    assert gdn(x).flatten().tolist() == pytest.approx([3 / 3, 2 / 2])
    assert inverse(x).flatten().tolist() == pytest.approx([3 * 3, 2 * 2])


def test_a_section_of_the_first_release_decodes():
    """Tables and networks are made of numbers that every machine has exactly."""
    config = CompressaiConfig(MEAN_SCALE_HYPERPRIOR, 2, 2)
    network = hyper_synthesis(config)
    for parameter in network.parameters():
        values = torch.arange(parameter.numel()) * 37 % 61 - 30
        parameter.data = (values / 32).view_as(parameter)
    thirds = np.array([5592405, 5592405, 5592405, 1], np.int32)
    hyper_tables = SymbolTables.from_frequencies([thirds, thirds], [-1, 0])
    scale_tables = SymbolTables.from_frequencies([thirds, np.full(16, 2**20, np.int32)], [-1, -7])
    medians = torch.tensor([100, -3000])
    lows, highs = (torch.from_numpy(limit).long() * UNIT + medians for limit in (hyper_tables.lows, hyper_tables.highs))
    coder = HyperpriorLatents(config, hyper_tables, medians,
                              ExactHyperDecoder.from_trained(network, config, lows, highs), scale_tables,
                              torch.tensor([0]))
    section = bytes.fromhex(SECTION)
    latents = coder.decode(section, 3, 2)
    assert (latents * UNIT).long().flatten().tolist() == LATENTS
    nearest = torch.tensor([[[-1.0]], [[1.0]]]) + medians.view(2, 1, 1) / UNIT
    assert coder.encode(latents + 0.2, nearest)[0] == section


def test_weights_must_be_those_of_the_file(smooth, compressai_weights):
    one, other = compressai_weights("mbt2018-mean"), compressai_weights("mbt2018-mean", seed=1)
    data = coded(smooth(16, 16), one)[0].data
    identities = [registry.create("compressai", "cpu", path).weights_id.hex() for path in (one, other)]
    with pytest.raises(WeightsError, match=f"{identities[0]}.*{identities[1]}"):
        files.decode(data, weights=other)
    with pytest.raises(WeightsError, match=f"{identities[0]}.*--weights"):
        files.decode(data)
    assert files.info(data)["weights"] == identities[0]


def test_without_weights_or_with_no_weights_there_is_nothing_to_code_with(smooth, tmp_path, compressai_checkpoint):
    picture = Image(smooth(16, 16))
    with pytest.raises(WeightsError, match="--weights"):
        files.encode(picture, "compressai")
    with pytest.raises(WeightsError, match=r"no weights file .*none\.safetensors"):
        files.encode(picture, "compressai", weights=tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="import-compressai"):
        files.encode(picture, "compressai", weights=compressai_checkpoint("mbt2018-mean"))


def test_aims_and_weights_for_others_are_refused(smooth, compressai_weights):
    weights, picture = compressai_weights("bmshj2018-factorized"), Image(smooth(16, 16))
    for aim in (Target(quality=50), Target(psnr=30), Target(size=500), Target(bits_per_pixel=1)):
        with pytest.raises(InputError, match="one quality"):
            files.encode(picture, "compressai", aim, weights=weights)
    with pytest.raises(InputError, match="hyperprior has weights of its own"):
        files.encode(picture, "hyperprior", weights=weights)
