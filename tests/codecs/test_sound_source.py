"""Sounds in chunks: however they are cut, they are read, resampled and written the same."""

import io
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr

from fewbits.codecs import sound_source
from fewbits.codecs.sound import Audio
from fewbits.codecs.sound_source import Cleaned, SoundFile, SoundSource, fitting_count, resampled
from fewbits.errors import InputError


def noise(channels: int, count: int, rate: int = 16000) -> Audio:
    samples = np.random.default_rng(count).normal(0, 0.1, (channels, count))
    return Audio(samples.astype(np.float32), rate)


def stored(audio: Audio, format: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, audio.samples.T, audio.rate, format=format)
    return file.getvalue()


def opened(data: bytes) -> SoundFile:
    return SoundFile(io.BytesIO(data), max_samples=10**6)


class Endless(SoundSource):
    """Silence for ever, of which nothing is ever in memory."""

    rate, channels, count = 16000, 1, 2**31

    def chunks(self) -> Iterator[np.ndarray]:
        while True:
            yield np.zeros((1, 1000), np.float32)


class Pipe(io.RawIOBase):
    """Takes bytes, and cannot go back."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        self.taken += data
        return len(data)


@pytest.mark.parametrize("format", ["WAV", "AIFF", "FLAC", "OGG"])
@pytest.mark.parametrize("size", [1, 999, 10**6])
def test_files_are_the_same_in_chunks_of_any_size(format: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = stored(noise(2, 5000), format)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    monkeypatch.setattr(sound_source, "CHUNK", size)
    file = opened(data)
    assert (file.rate, file.channels, file.count) == (16000, 2, 5000)
    for _ in range(2):
        chunks = list(file.chunks())
        assert max(chunk.shape[1] for chunk in chunks) == min(max(size // 2, 1), 5000)
        assert np.array_equal(np.concatenate(chunks, axis=1), expected.T)


def test_files_of_unknown_length_are_counted() -> None:
    data = io.BytesIO()
    with av.open(data, "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise(1, 1152 * 20).samples, "fltp", "mono")
        frame.sample_rate = 48000
        cutter = av.AudioResampler(stream.format.name, "mono", 48000, 1152)
        for part in (*cutter.resample(frame), None):
            out.mux(stream.encode(part))
    file, read = opened(data.getvalue()), Audio.open(data)
    assert (file.rate, file.channels, file.count, file.seconds) == (48000, 1, read.count, read.seconds)
    assert np.array_equal(Audio.read(file).samples, read.samples)


def test_a_file_that_breaks_off_is_told_where_it_does() -> None:
    data = stored(noise(1, 400_000), "FLAC")
    chunks = opened(data[: len(data) // 2]).chunks()
    assert next(chunks).shape == (1, 2**17)
    with pytest.raises(InputError, match="damaged or cut"):
        list(chunks)


def test_a_file_that_changes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(stored(noise(1, 500), "WAV"))
    file = SoundFile(tmp_path / "a.wav", max_samples=10**6)
    assert sum(chunk.shape[1] for chunk in file.chunks()) == 500
    (tmp_path / "a.wav").write_bytes(stored(noise(1, 501), "WAV"))
    with pytest.raises(InputError, match=r"a\.wav changed while it was read"):
        list(file.chunks())


def test_rates_beyond_all_others_are_refused() -> None:
    data = bytearray(stored(noise(1, 10), "WAV"))
    data[24:28] = (2_000_000).to_bytes(4, "little")
    with pytest.raises(InputError, match="1 to 1000000 samples a second, not 2000000"):
        opened(bytes(data))


@pytest.mark.parametrize("rate, new_rate", [(48000, 16000), (44100, 16000), (16000, 44100), (8000, 16000), (1, 48000)])
@pytest.mark.parametrize("channels, count", [(1, 1), (1, 7), (2, 3001)])
@pytest.mark.parametrize("size", [1, 100, 10**6])
def test_resampling_in_chunks_is_that_of_the_whole(rate: int, new_rate: int, channels: int, count: int,
                                                   size: int) -> None:
    samples = noise(channels, min(count, 20) if rate == 1 else count).samples
    total = fitting_count(samples.shape[1], rate, new_rate)
    padded = np.pad(samples, ((0, 0), (0, -(-rate // new_rate))))
    expected = soxr.resample(padded.T, rate, new_rate, quality="VHQ").T[:, :total]
    cut = [samples[:, start : start + size] for start in range(0, samples.shape[1], size)]
    chunks = list(resampled(cut, channels, rate, new_rate))
    assert np.array_equal(np.concatenate(chunks, axis=1), expected)
    shorter = np.concatenate(list(resampled(cut, channels, rate, new_rate, max(total - 1, 1))), axis=1)
    assert np.array_equal(shorter, expected[:, : max(total - 1, 1)])
    longer = np.concatenate(list(resampled(cut, channels, rate, new_rate, total + 10**5)), axis=1)
    assert longer.shape == (channels, total + 10**5) and np.array_equal(longer[:, :total], expected)


def test_what_is_no_number_is_counted_over_the_whole_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_source, "CHUNK", 4)
    sound = noise(1, 10)
    sound.samples[0, [1, 7, 9]] = np.nan, np.inf, -np.inf
    cleaned = Cleaned(sound)
    for _ in range(2):
        assert np.isfinite(np.concatenate(list(cleaned.chunks()), axis=1)).all() and cleaned.wrong == 3


@pytest.mark.parametrize("channels, count", [(1, 1), (2, 333), (6, 200_000)])
def test_a_pipe_gets_the_file_that_a_folder_would(channels: int, count: int) -> None:
    sound, file, pipe = noise(channels, count), io.BytesIO(), Pipe()
    sound.save(file, "WAV")
    sound.write_wav(pipe)
    assert pipe.taken == file.getvalue()


def test_what_wav_cannot_hold_is_refused_before_anything_is_written() -> None:
    pipe = Pipe()
    with pytest.raises(InputError, match="more than a WAV file can hold"):
        Endless().write_wav(pipe)
    assert pipe.taken == b""
