"""The codecs for sound, with a small untrained model: everything but how good it sounds."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fewbits.codecs.audio.codec import GAIN_ZERO, AudioCodec
from fewbits.codecs.audio.config import AudioConfig
from fewbits.codecs.audio.entropy_model import PASSES, laplace_bits
from fewbits.codecs.audio.exact_networks import ExactNetworks
from fewbits.codecs.audio.mdct import Mdct
from fewbits.codecs.audio.model import AudioModel
from fewbits.codecs.audio.scalar_coder import POSITION_OF_CODE
from fewbits.codecs.audio.weights import save_weights
from fewbits.codecs.codec import Stream, Target
from fewbits.codecs.latents import table_scales
from fewbits.codecs.levels import LEVEL_FRACTION, level_integers
from fewbits.codecs.quantisation import QuantisableLayer
from fewbits.codecs.sound import Audio
from fewbits.codecs.sound_source import SoundSource
from fewbits.entropy.container import size_of_sections
from fewbits.entropy.tables import laplace_scale_tables
from fewbits.errors import DamagedError, InputError, LimitError, StreamError, WeightsError

CONFIG = AudioConfig(latents=16, width=16, hidden=24, blocks=2, levels=3, context_hidden=16)


LIVE_CONFIG = replace(CONFIG, block=16, causal=True)


class SmallCodec(AudioCodec):
    name = "small"


class SmallLiveCodec(AudioCodec):
    name, level_seconds = "small-live", 0


class InChunks(SoundSource):
    """A sound that is heard in chunks of a size; `heard` counts the samples, and `lasts` is where it breaks off."""

    def __init__(self, sound: Audio, size: int, lasts: int | None = None) -> None:
        self.sound, self.size, self.rate, self.heard = sound, size, sound.rate, 0
        self.lasts = sound.count if lasts is None else lasts

    @property
    def channels(self) -> int:
        return self.sound.channels

    def chunks(self) -> Iterator[np.ndarray]:
        self.heard = 0
        for start in range(0, self.sound.count, self.size):
            if start >= self.lasts:
                raise InputError("The line is dead.")
            chunk = self.sound.samples[:, start : start + self.size]
            self.heard += chunk.shape[1]
            yield chunk


def small_model(config: AudioConfig = CONFIG) -> AudioModel:
    """A model with random weights whose integer networks are calibrated."""
    torch.manual_seed(0)
    model = AudioModel(config).train()
    for head in [half.mean for half in (*model.entropy_model.first, *model.entropy_model.second)]:
        torch.nn.init.normal_(head.operation.weight, std=0.1)  # so that contexts matter
    for _ in range(3):
        model(0.07 * torch.randn(2, 95 * config.hop), torch.tensor([10.0, 80.0]))
    for module in model.modules():
        if isinstance(module, QuantisableLayer):
            module.calibrate()
    model.entropy_model.simulated = True
    return model.eval()


@pytest.fixture(scope="module")
def model() -> AudioModel:
    return small_model()


@pytest.fixture(scope="module")
def codec(model: AudioModel, tmp_path_factory: pytest.TempPathFactory) -> AudioCodec:
    return with_weights(SmallCodec, model, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def live_codec(tmp_path_factory: pytest.TempPathFactory) -> AudioCodec:
    return with_weights(SmallLiveCodec, small_model(LIVE_CONFIG), tmp_path_factory.mktemp("weights"))


def with_weights(codec: type[AudioCodec], model: AudioModel, folder: Path) -> AudioCodec:
    codec.weights_path = folder / "small.safetensors"
    tables = laplace_scale_tables(table_scales())
    save_weights(codec.weights_path, model, ExactNetworks.from_trained(model.entropy_model), tables, {})
    return codec()


def noise(channels: int, count: int, rate: int = 16000, level: float = 0.05) -> Audio:
    samples = np.random.default_rng(count).normal(size=(channels, count)) * level
    return Audio(samples.astype(np.float32), rate)


def shape_of(sound: Audio) -> dict[str, int]:
    return {"rate": sound.rate, "channels": sound.channels, "count": sound.count}


def decoded(codec: AudioCodec, sound: Audio, stream: Stream) -> Audio:
    return codec.decode(stream, shape_of(sound))


def test_mdct_gives_samples_back() -> None:
    mdct, samples = Mdct(320), torch.randn(2, 5 * 320)
    coefficients = mdct(torch.nn.functional.pad(samples, (320, 320)))
    assert coefficients.shape == (2, 320, 6)
    torch.testing.assert_close(mdct.inverse(coefficients), samples, atol=1e-5, rtol=0)
    torch.testing.assert_close(coefficients.square().sum(), samples.square().sum(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("frames", [1, 2, 15, 16, 17, 60, 96])
def test_passes_take_every_frame_once_and_see_known_ones_only(frames: int) -> None:
    known: set[int] = set()
    for step in PASSES:
        taken = set(range(step.start, frames, step.step))
        assert not taken & known
        seen = {t + o for t in taken for o in step.offsets}
        assert {t for t in seen if 0 <= t < frames} <= known
        known |= taken
    assert known == set(range(frames))


def test_laplace_bits_are_those_of_the_tables() -> None:
    scales = table_scales()
    tables = laplace_scale_tables(scales)
    for number in (10, 30, 50):
        symbols = np.arange(-6, 7, dtype=np.int32)
        ours = laplace_bits(torch.from_numpy(symbols).double(), torch.tensor(scales[number], dtype=torch.float64))
        theirs = [tables.bits(symbols[i : i + 1], np.full(1, number, np.uint16)) for i in range(len(symbols))]
        likely = np.array(theirs) < 15
        assert likely.any()
        np.testing.assert_allclose(ours.numpy()[likely], np.array(theirs)[likely], rtol=0.01, atol=0.01)


def test_integer_networks_do_what_training_simulated(model: AudioModel, codec: AudioCodec) -> None:
    latents = torch.randn(CONFIG.latents, 61, generator=torch.Generator().manual_seed(1)) * 4
    position = 40
    weights = level_integers(position, CONFIG.levels) / 2**LEVEL_FRACTION
    with torch.no_grad():
        simulated, bits = model.entropy_model(latents[None], weights)
    groups, ours = codec._weights.coder.quantise(latents, position)
    torch.testing.assert_close(ours.float() / 16, simulated[0], atol=1e-3, rtol=0)
    tables = codec._weights.coder.tables
    assert sum(tables.bits(g.symbols, g.index) for g in groups) == pytest.approx(float(bits), rel=0.01)


@pytest.mark.parametrize("frames", [1, 2, 17, 96])
def test_blocks_come_back(codec: AudioCodec, frames: int) -> None:
    coder, latents = codec._weights.coder, torch.randn(CONFIG.latents, frames) * 30
    _, expected = coder.quantise(latents, 64)
    data, bits = coder.encode(torch.stack([latents, -latents]), 16)
    assert 8 * len(data) == pytest.approx(bits, abs=64 + 0.001 * bits)
    assert torch.equal(coder.decode(data, 2, frames, 16)[0], expected)
    assert torch.equal(coder.dequantise(expected[None]), expected[None] / 16)
    assert (expected / 16 - latents).abs().max() <= 0.54  # half a step, and a mean's 1/16


@pytest.mark.parametrize(("channels", "count", "rate"), [
    (1, 1, 8000), (1, 319, 16000), (1, 16000 * 5 + 7, 16000), (2, 44100, 44100), (6, 20000, 96000), (9, 4000, 16000),
])
def test_sounds_come_back_in_their_shape(codec: AudioCodec, channels: int, count: int, rate: int) -> None:
    sound = noise(channels, count, rate)
    stream = codec.encode(sound)
    result = decoded(codec, sound, stream)
    assert (result.channels, result.count, result.rate) == (channels, count, rate)
    assert np.isfinite(result.samples).all()
    size = 8 * sum(len(section or b"") for section in stream.sections)
    assert size == pytest.approx(stream.estimate_bits, rel=0.02, abs=100 * len(stream.sections))


@torch.inference_mode()
def test_decoded_latents_are_those_of_the_encoder(codec: AudioCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = noise(2, 50000)
    stream = codec.encode(sound, Target(quality=30))
    latents, heard = codec.latents(stream, shape_of(sound))
    assert heard.all()
    quantised, coder = [], codec._weights.coder
    monkeypatch.setattr(coder, "encode", lambda blocks, code: quantised.append(
        torch.stack([coder.quantise(block, POSITION_OF_CODE * code)[1] for block in blocks])) or (b"", 0.0))
    list(codec.encode_blocks(sound, quality=30))
    assert torch.equal(torch.cat(quantised, 2), latents)


@pytest.mark.parametrize(("channels", "count", "rate"), [
    (1, 1, 48000), (1, 30720, 16000), (1, 30721, 16000), (2, 16000 * 7 + 5, 16000), (2, 48000 * 5, 48000),
])
@pytest.mark.parametrize("size", [17, 5000, 10**6])
def test_chunks_change_nothing(codec: AudioCodec, channels: int, count: int, rate: int, size: int) -> None:
    sound = noise(channels, count, rate)
    whole = codec.encode(sound)
    assert codec.encode(InChunks(sound, size)) == whole
    blocks = list(codec.encode_blocks(InChunks(sound, size)))
    assert [block.section for block in blocks] == whole.sections
    assert all(block.settings == whole.settings for block in blocks)
    chunks = list(codec.decode_chunks(whole, shape_of(sound)))
    assert len(chunks) > 1 or count <= CONFIG.block * CONFIG.hop
    assert np.array_equal(np.concatenate(chunks, axis=1), decoded(codec, sound, whole).samples)


def test_chunks_change_nothing_where_a_size_is_aimed_at(codec: AudioCodec) -> None:
    sound = noise(1, 48000 * 4, 48000)
    sound.samples[0, [5, 100_000]] = np.nan
    target = Target(size=sum(map(len, codec.encode(sound).sections)) // 2)
    assert codec.encode(InChunks(sound, 1234), target) == codec.encode(sound, target)


@pytest.mark.parametrize("rate", [16000, 48000])
def test_live_sound_is_coded_while_it_is_heard(codec: AudioCodec, rate: int) -> None:
    sound, seen = noise(1, 40 * rate, rate), (CONFIG.block + CONFIG.halo_after) * CONFIG.hop / CONFIG.rate
    source = InChunks(sound, rate // 100)
    blocks = codec.encode_blocks(source)
    next(blocks)
    assert source.heard / rate <= codec.level_seconds + 0.1
    for number, _ in enumerate(blocks, 1):
        waited = number * CONFIG.block * CONFIG.hop / CONFIG.rate + seen
        assert source.heard / rate <= max(codec.level_seconds, waited) + 0.1
    assert source.heard == sound.count


@pytest.mark.parametrize("count", [1, 16 * 320, 16 * 320 + 1, 50_001])
def test_live_blocks_come_after_their_own_samples_and_are_heard_without_those_to_come(
        live_codec: AudioCodec, count: int) -> None:
    sound, block = noise(1, count), LIVE_CONFIG.block * LIVE_CONFIG.hop
    source, whole = InChunks(sound, 160), live_codec.encode(sound)
    everything = decoded(live_codec, sound, whole).samples[0]
    for number, coded in enumerate(live_codec.encode_blocks(source), 1):
        assert source.heard <= number * block and coded.section == whole.sections[number - 1]
        known = [*whole.sections[:number], *[None] * (len(whole.sections) - number)]
        heard = number * block - LIVE_CONFIG.hop
        now = decoded(live_codec, sound, Stream(whole.settings, known)).samples[0]
        assert np.array_equal(now[:heard], everything[:heard])


def test_the_estimate_of_a_live_model_counts_its_blocks(live_codec: AudioCodec) -> None:
    sound, code = noise(1, 95 * 320), 8
    quality = torch.tensor([100.0 * code / live_codec._weights.coder.qualities])
    with torch.no_grad():
        _, bits = small_model(LIVE_CONFIG)(torch.from_numpy(sound.samples), quality)
    blocks = list(live_codec.encode_blocks(sound, float(quality)))
    assert sum(block.estimate_bits for block in blocks) == pytest.approx(float(bits), rel=0.02)


def test_a_source_that_breaks_off_is_an_input_error(codec: AudioCodec) -> None:
    source = InChunks(noise(1, 16000 * 40), 16000, lasts=16000 * 35)
    with pytest.raises(InputError, match="line is dead"):
        codec.encode(source)
    blocks = codec.encode_blocks(source)
    assert next(blocks).section
    with pytest.raises(InputError, match="line is dead"):
        list(blocks)


PEAK_MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
from fewbits.codecs.audio.codec import AudioCodec
from fewbits.codecs.sound_source import SoundSource

class SmallCodec(AudioCodec):
    name, weights_path = "small", Path(sys.argv[1])

class Noise(SoundSource):
    rate, channels, count = 16000, 1, int(sys.argv[2]) * 60 * 16000

    def chunks(self):
        chance = np.random.default_rng(0)
        for _ in range(0, self.count, 16000):
            yield 0.05 * chance.standard_normal((1, 16000), np.float32)

codec, sound = SmallCodec(), Noise()
stream = codec.encode(sound)
for _ in codec.decode_chunks(stream, {"rate": 16000, "channels": 1, "count": sound.count}):
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_long_sounds_take_no_more_memory(codec: AudioCodec, root: Path) -> None:
    def peak(minutes: int) -> int:
        command = [sys.executable, "-c", PEAK_MEMORY, str(codec.weights_path), str(minutes)]
        environment = os.environ | {"PYTHONPATH": str(root)}
        return int(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)  # KiB

    assert peak(20) - peak(10) < 40 * 1024


def test_silence_costs_next_to_nothing(codec: AudioCodec) -> None:
    silence = Audio(np.zeros((1, 16000 * 20), np.float32), 16000)
    stream = codec.encode(silence)
    assert set(stream.sections) == {b""}
    assert not decoded(codec, silence, stream).samples.any()
    half = noise(2, 16000 * 8)
    half.samples[:, 16000 * 4 :] = 0
    stream = codec.encode(half)
    assert stream.sections[0] and not stream.sections[-1]
    assert not decoded(codec, half, stream).samples[:, 16000 * 7 :].any()


def test_equal_channels_cost_as_much_as_one(codec: AudioCodec) -> None:
    one = noise(1, 16000)
    two = Audio(np.repeat(one.samples, 2, axis=0), 16000)
    single, double = (sum(map(len, codec.encode(s).sections)) for s in (one, two))
    assert double <= single + 2
    assert np.array_equal(*decoded(codec, two, codec.encode(two)).samples)


def test_level_is_brought_to_the_usual_one(codec: AudioCodec) -> None:
    loud, quiet = noise(1, 16000, level=0.5), noise(1, 16000, level=0.5 / 2**6)
    streams = [codec.encode(sound) for sound in (loud, quiet)]
    assert streams[0].settings["gain"] - streams[1].settings["gain"] == 6 * 8
    assert streams[0].settings["gain"] > GAIN_ZERO
    results = [decoded(codec, *pair).samples for pair in ((loud, streams[0]), (quiet, streams[1]))]
    np.testing.assert_allclose(results[1] * 2**6, results[0], atol=0.02)


def test_samples_that_are_no_numbers_are_said(codec: AudioCodec) -> None:
    sound = noise(1, 4000)
    sound.samples[0, 7:9] = np.nan, np.inf
    stream = codec.encode(sound)
    assert any("not numbers" in notice for notice in stream.notices)
    assert np.isfinite(decoded(codec, sound, stream).samples).all()


def test_slow_rates_do_not_get_around_the_limit(codec: AudioCodec) -> None:
    sound = noise(1, 100)
    stream = codec.encode(sound)
    with pytest.raises(LimitError, match="more than the limit"):
        codec.decode(stream, {"rate": 1, "channels": 1, "count": 100_000})


def test_size_is_met(codec: AudioCodec) -> None:
    sound = noise(1, 16000 * 4)
    def size(target: Target) -> int:
        return size_of_sections([len(section) for section in codec.encode(sound, target).sections])

    aim = (size(Target(quality=0)) + size(Target(quality=100))) // 2
    assert size(Target(size=aim)) <= aim
    notices = codec.encode(sound, Target(size=10)).notices
    assert any("cannot be reached" in notice for notice in notices)


def test_damaged_blocks_are_silent_and_the_others_as_before(codec: AudioCodec) -> None:
    sound = noise(1, 16000 * 8)
    stream = codec.encode(sound)
    whole = decoded(codec, sound, stream).samples[0]
    sections = [None if number == 1 else section for number, section in enumerate(stream.sections)]
    hurt = decoded(codec, sound, Stream(stream.settings, sections))
    block, reach = CONFIG.block * CONFIG.hop, (CONFIG.halo_after + 1) * CONFIG.hop
    assert not hurt.samples[0, block + CONFIG.hop : 2 * block - CONFIG.hop].any()
    assert np.array_equal(hurt.samples[0, 2 * block + reach :], whole[2 * block + reach :])
    assert np.array_equal(hurt.samples[0, : block - reach], whole[: block - reach])


def test_wrong_sections_are_told(codec: AudioCodec) -> None:
    sound = noise(2, 9000)
    stream = codec.encode(sound)
    with pytest.raises(DamagedError, match="needs 1 sections"):
        decoded(codec, sound, Stream(stream.settings, [*stream.sections, b""]))
    for wrong in (b"\x00abc", b"\xff" + stream.sections[0][1:], b"\x01"):
        with pytest.raises(DamagedError):
            decoded(codec, sound, Stream(stream.settings, [wrong]))


def test_mutated_sections_never_crash(codec: AudioCodec) -> None:
    sound, chance, refused = noise(3, 9000), random.Random(0), 0
    stream = codec.encode(sound)
    for _ in range(60):
        section = bytearray(stream.sections[0])
        for _ in range(chance.randint(1, 3)):
            section[chance.randrange(len(section))] = chance.randrange(256)
        cut = section[: chance.randint(0, len(section))] if chance.random() < 0.3 else section
        try:
            result = decoded(codec, sound, Stream(stream.settings, [bytes(cut)]))
            assert result.count == sound.count
        except StreamError:
            refused += 1
    assert refused > 30


def test_a_file_that_is_no_weights_file_is_told(tmp_path: Path) -> None:
    class Broken(AudioCodec):
        name, weights_path = "broken", tmp_path / "broken.safetensors"

    with pytest.raises(WeightsError, match="missing"):
        _ = Broken().weights_id
    Broken.weights_path.write_bytes(b"no weights at all")
    with pytest.raises(WeightsError, match="cannot be used"):
        Broken().encode(noise(1, 100))
