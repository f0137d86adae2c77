"""The recipe of the codecs for sound: losses, batches, and a run of seconds that is interrupted and exported."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fewbits.apps.cli.main import app
from fewbits.codecs.audio.codec import USUAL_LEVEL, AudioCodec, SpeechVqCodec
from fewbits.codecs.audio.config import AudioConfig
from fewbits.codecs.sound import Audio
from fewbits.errors import InputError

pytest.importorskip("tensorboard", reason="training needs fewbits[train]")

from fewbits.apps.train import audio, audio_scalar, audio_vector
from fewbits.apps.train.audio_export import export_scalar, export_vector
from fewbits.apps.train.sound_losses import intelligibility_distance, loudness_distance, mel_bank
from fewbits.apps.train.sounds import Clips, random_batch, speaker

SMALL = AudioConfig(latents=8, width=8, hidden=8, blocks=1, levels=2, context_hidden=8)


def voice(seconds: float, seed: int, rate: int = 16000) -> np.ndarray:
    """Something with a pitch and pauses, (S,) float32."""
    generator, time = np.random.default_rng(seed), np.arange(int(seconds * rate)) / rate
    pitch = 100 + 100 * generator.random() + 20 * np.sin(6 * time)
    harmonics = sum(np.sin(2 * np.pi * k * np.cumsum(pitch) / rate) / k for k in range(1, 20))
    loud = np.clip(np.sin(2 * np.pi * 1.5 * time + generator.random()), 0, 1)
    return (0.05 * loud * harmonics + 1e-4 * generator.normal(size=time.size)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips")
    for number in range(5):
        Audio(voice(3, number)[None], 16000).save(path / f"someone_{number}-1.wav")
    return path


def test_distances_grow_with_the_error_and_lead_back() -> None:
    source = torch.from_numpy(voice(2, 0))[None]
    source = source * USUAL_LEVEL / source.square().mean().sqrt()
    noise = torch.randn(source.shape, generator=torch.Generator().manual_seed(0))
    for distance in (audio.SPEECH_DISTORTION, audio.SOUND_DISTORTION, loudness_distance,
                     intelligibility_distance):
        values = [float(distance(source, source + level * noise, 16000)) for level in (0, 1e-3, 1e-2, 1e-1)]
        assert values == sorted(values) and values[0] < 0.15 * values[-1]
        decoded = (source + 0.01 * noise).requires_grad_()
        distance(source, decoded, 16000).sum().backward()
        assert torch.isfinite(decoded.grad).all() and decoded.grad.any()


def test_loudness_distance_follows_pesq() -> None:
    pesq = pytest.importorskip("pesq", reason="needs fewbits[metrics]")
    source = voice(4, 1)
    source *= USUAL_LEVEL / np.sqrt(np.square(source).mean())
    noise = np.random.default_rng(0).normal(size=source.size).astype(np.float32)
    scores, distances = [], []
    for level in (3e-4, 1e-3, 3e-3):
        decoded = source + level * noise
        scores.append(pesq.pesq(16000, source, decoded, "wb"))
        distances.append(float(loudness_distance(*(torch.from_numpy(x)[None] for x in (source, decoded)), 16000)))
    assert scores == sorted(scores, reverse=True) and distances == sorted(distances)


def test_intelligibility_distance_follows_stoi() -> None:
    pystoi = pytest.importorskip("pystoi", reason="needs fewbits[metrics]")
    source = voice(4, 1)
    source *= USUAL_LEVEL / np.sqrt(np.square(source).mean())
    noise = np.random.default_rng(0).normal(size=source.size).astype(np.float32)
    for level in (3e-3, 1e-2, 3e-2):
        decoded = source + level * noise
        distance = intelligibility_distance(*(torch.from_numpy(x)[None] for x in (source, decoded)), 16000)
        assert 1 - float(distance) == pytest.approx(pystoi.stoi(source, decoded, 16000), abs=0.1)


def test_mel_bands_cover_every_frequency_once() -> None:
    bank = mel_bank(1024, 16000, 96)
    centres = bank.argmax(1)
    assert (centres.diff() >= 0).all()
    inside = bank[:, centres[0] + 1 : centres[-1]]
    torch.testing.assert_close(inside.sum(0), torch.ones(inside.shape[1]), atol=1e-3, rtol=0)


def test_speakers_are_either_trained_or_validated(folder: Path) -> None:
    assert [speaker(n) for n in ("libri_103-1240-0000", "emodb_03a02Nc", "none")] == ["libri_103", "emodb_03", "none"]
    clips = Clips.open(folder, 16000)
    assert (len(clips.training), len(clips.validation)) == (4, 1)
    assert np.sqrt(np.square(clips.training[0], dtype=np.float64).mean()) == pytest.approx(USUAL_LEVEL, rel=0.01)


def test_a_folder_needs_two_speakers(tmp_path: Path) -> None:
    Audio(voice(1, 0)[None], 16000).save(tmp_path / "one_1.wav")
    with pytest.raises(InputError, match="two speakers"):
        Clips.open(tmp_path, 16000)


def test_batches_have_the_crop_even_of_short_clips() -> None:
    clips = [voice(0.3, 1), voice(2, 2)]
    batch = random_batch(clips, 6, 16000, 8.0, random.Random(1))
    assert batch.shape == (6, 16000) and batch.dtype == torch.float32 and batch.abs().max() <= 1


class Trained(AudioCodec):
    name = "trained"


def gives_sounds_back(codec: AudioCodec) -> None:
    sound = Audio(voice(2, 9)[None], 16000)
    result = codec.decode(codec.encode(sound), {"rate": 16000, "channels": 1, "count": sound.count})
    assert result.count == sound.count


@pytest.fixture(scope="module")
def weights(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a codec that rounds, from a run that was interrupted."""
    path, clips = tmp_path_factory.mktemp("run"), Clips.open(folder, 16000)
    recipe = replace(audio_scalar.RECIPES["speech"], config=SMALL)
    for seconds, integer_share in ((0.5, 0.0), (60.0, 1.0)):
        said = trained(lambda seconds=seconds, share=integer_share: audio_scalar.ScalarRun(
            recipe, audio.Schedule(seconds / 60, integer_share=share)), clips, path, seconds)
    assert said[0].startswith("going on from step") and any("integer networks" in s for s in said)
    export_scalar(path, clips, path / "speech.safetensors", recipe.distortion)
    return path / "speech.safetensors"


def trained(run: Callable[[], audio.Run], clips: Clips, path: Path, seconds: float) -> list[str]:
    """What a run says for which each step takes half of its seconds."""
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio.time, "monotonic", iter(np.arange(0, 1e6, seconds / 2)).__next__)
        audio.train(run(), clips, path, said.append)
    return said


def test_a_run_goes_on_where_it_stopped_and_becomes_weights(weights: Path) -> None:
    assert "| 100 |" in weights.with_suffix(".md").read_text()
    Trained.weights_path = weights
    gives_sounds_back(Trained())


def test_codebooks_begin_with_a_codec_that_rounds(weights: Path, folder: Path, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_vector, "START_BLOCKS", 20)
    clips = Clips.open(folder, 16000)
    said = trained(lambda: audio_vector.VectorRun(weights, audio_vector.schedule(1)), clips, tmp_path, 60)
    assert said[0] == "codebooks have begun"
    vectors = tmp_path / "speech-vq.safetensors"
    export_vector(tmp_path, clips, vectors, audio.SPEECH_DISTORTION)
    assert "every index counted in full" in vectors.with_suffix(".md").read_text()
    monkeypatch.setattr(SpeechVqCodec, "weights_path", vectors)
    gives_sounds_back(SpeechVqCodec())


@pytest.mark.slow
def test_metrics_that_are_not_installed_are_missed_before_the_work(
        folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewbits.eval.metrics.find_spec", lambda name: None)
    done = CliRunner().invoke(app, ["train", "speech", str(folder), "-o", str(tmp_path / "runs")])
    assert isinstance(done.exception, InputError) and "fewbits[train,metrics]" in str(done.exception)
    assert not (tmp_path / "runs").exists()
