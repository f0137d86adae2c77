"""A small codec for sound with codebooks: blocks, stages as needed, files, and damage."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from fewbits.apps import samples
from fewbits.codecs.audio.codec import SpeechVqCodec
from fewbits.codecs.audio.config import VectorConfig
from fewbits.codecs.audio.vector_coder import VectorCoder
from fewbits.codecs.audio.vector_model import VectorModel
from fewbits.codecs.audio.vector_weights import load_vector_weights, save_vector_weights
from fewbits.codecs.codec import Target
from fewbits.codecs.sound import Audio
from fewbits.entropy.index_coder import UNUSED, encode_and_estimate, learn_prior
from fewbits.errors import StreamError, WeightsError
from fewbits.kernels.index_mixing import IndexPrior

CONFIG = VectorConfig(latents=12, width=16, hidden=24, blocks=1, levels=3, stages=5, entries=8)


@pytest.fixture(scope="module")
def model() -> VectorModel:
    torch.manual_seed(0)
    model = VectorModel(CONFIG).eval()
    model.quantiser.initialise(torch.randn(1, CONFIG.latents, 800))
    return model


@pytest.fixture(scope="module")
def coder(model: VectorModel) -> VectorCoder:
    latents = torch.randn(1, CONFIG.latents, 400)
    errors = model.quantiser.errors(latents, model.quantiser.indices(latents)).mean((0, 2))
    plain = VectorCoder(model, IndexPrior.cold(CONFIG.stages, CONFIG.entries), errors)
    prior = learn_prior([plain.indices(latents, 4)[0].numpy()], CONFIG.stages, CONFIG.entries)
    return VectorCoder(model, prior, errors)


@pytest.fixture
def codec(model: VectorModel, coder: VectorCoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SpeechVqCodec:
    save_vector_weights(tmp_path / "small.safetensors", model, coder.prior, coder.usual_errors, {})
    monkeypatch.setattr(SpeechVqCodec, "weights_path", tmp_path / "small.safetensors")
    return SpeechVqCodec()


@pytest.mark.parametrize("frames", [1, 17, 96])
@pytest.mark.parametrize("code", range(CONFIG.stages))
def test_blocks_come_back(coder: VectorCoder, frames: int, code: int) -> None:
    latents = torch.randn(2, CONFIG.latents, frames)
    data, bits = coder.encode(latents, code)
    integers = coder.decode(data, 2, frames, code)
    assert torch.equal(integers.long(), coder.indices(latents, code))
    assert 8 * len(data) == pytest.approx(bits, abs=64)
    assert not (integers[:, code + 1 :] != UNUSED).any()
    assert coder.dequantise(integers).shape == latents.shape


def test_quiet_frames_take_few_stages_and_no_frame_comes_out_worse(coder: VectorCoder) -> None:
    loud = torch.randn(1, CONFIG.latents, 96)
    mixed = loud * (torch.arange(96) % 4 == 0)
    counts = (coder.indices(mixed, 4) != UNUSED).sum(1)[0]
    assert counts[torch.arange(96) % 4 != 0].max() <= 1 < counts[::4].float().mean()
    assert len(coder.encode(mixed, 4)[0]) < 0.5 * len(coder.encode(loud, 4)[0])
    left = (coder.dequantise(coder.indices(loud, 4)) - loud).square().mean(1)[0]
    whole = (coder.model.quantiser(loud).latents - loud).square().mean(1)[0]
    assert (left <= torch.maximum(whole, coder.usual_errors[5]) + 1e-6).all()


def test_more_stages_come_nearer(coder: VectorCoder) -> None:
    latents = torch.randn(1, CONFIG.latents, 96)
    errors = [float((coder.dequantise(coder.indices(latents, code)) - latents).square().mean()) for code in range(5)]
    assert errors == sorted(errors, reverse=True)


def test_weights_come_back(codec: SpeechVqCodec, coder: VectorCoder) -> None:
    loaded = codec._weights
    assert loaded.config == CONFIG and np.array_equal(loaded.coder.prior.counters, coder.prior.counters)
    torch.testing.assert_close(loaded.model.quantiser.entries, coder.model.quantiser.entries.half().float())


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="cannot be used"):
        load_vector_weights(path, "cpu")


def test_damaged_sections_never_crash(codec: SpeechVqCodec) -> None:
    sound = Audio(np.random.default_rng(0).normal(0, 0.05, (2, 40000)).astype(np.float32), 16000)
    shape = {"rate": sound.rate, "channels": 2, "count": sound.count}
    stream = codec.encode(sound, Target(quality=100))
    assert codec.decode(stream, shape).samples.shape == sound.samples.shape
    state = random.Random(0)
    for _ in range(40):
        section = bytearray(stream.sections[0] or b"")
        for _ in range(state.randrange(1, 4)):
            section[state.randrange(len(section))] = state.randrange(256)
        stream.sections[0] = bytes(section[: state.randrange(1, len(section) + 1)])
        try:
            decoded = codec.decode(stream, shape)
        except StreamError:
            continue
        assert np.isfinite(decoded.samples).all()


def test_context_mixing_saves_an_eighth_of_real_indices() -> None:
    whole = samples.sound(samples.VOICE)
    voice = torch.from_numpy(Audio(whole.samples[:, : 5 * whole.rate].copy(), whole.rate).resampled(16000).samples)
    shipped = SpeechVqCodec()._weights
    model, prior = shipped.coder.model, shipped.coder.prior
    stages = 10  # 3 kbit/s in full
    with torch.no_grad():
        levels = model.level_weights(torch.tensor([stages]))
        latents = model.to_latents(voice[:, : 320 * 240] * (0.07 / voice.square().mean().sqrt()), levels)
        indices = model.quantiser.indices(latents, torch.tensor([stages]))[0].numpy()
    fixed = 6 * stages * indices.shape[1]
    data, bits = encode_and_estimate(indices, 64, prior)
    assert bits < 0.88 * fixed
    assert 8 * len(data) < 0.88 * fixed
