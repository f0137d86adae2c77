"""Reading, writing and resampling sounds of every kind that the codecs take."""

import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fewbits.codecs import sound as sound_module
from fewbits.codecs.sound import Audio
from fewbits.errors import InputError

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
CODED = [("libopus", "ogg"), ("libmp3lame", "mp3"), ("aac", "ipod"), ("aac", "adts"), ("flac", "flac")]


def tones(rate: int, count: int, channels: int = 1) -> Audio:
    """A sine in each channel, 300 Hz in the first and 200 Hz more in each that follows."""
    time = np.arange(count) / rate
    frequencies = 300 + 200 * np.arange(channels)[:, None]
    return Audio((0.5 * np.sin(2 * np.pi * frequencies * time)).astype(np.float32), rate)


def noise(count: int, channels: int = 2, rate: int = 48000) -> Audio:
    samples = np.random.default_rng(0).normal(0, 0.1, (channels, count))
    return Audio(samples.astype(np.float32), rate)


def stored(audio: Audio, format: str = "WAV", subtype: str | None = None) -> io.BytesIO:
    """A file by libsndfile."""
    buffer = io.BytesIO()
    soundfile.write(buffer, audio.samples.T, audio.rate, format=format, subtype=subtype)
    buffer.seek(0)
    return buffer


def coded(audio: Audio, codec: str, container: str, bits_per_second: int = 256000) -> bytes:
    """A file by FFmpeg."""
    file, layout = io.BytesIO(), LAYOUTS[audio.channels]
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=audio.rate, layout=layout)
        stream.bit_rate = bits_per_second
        stream.codec_context.open()
        frame = av.AudioFrame.from_ndarray(audio.samples, format="fltp", layout=layout)
        frame.rate, frame.pts, frame.time_base = audio.rate, 0, Fraction(1, audio.rate)
        cutter = av.AudioResampler(stream.codec_context.format.name, frame_size=stream.codec_context.frame_size)
        for piece in (*cutter.resample(frame), *cutter.resample(None), None):
            out.mux(stream.encode(piece))
    return file.getvalue()


def opened(data: bytes) -> Audio:
    return Audio.open(io.BytesIO(data))


def frequencies(audio: Audio) -> list[int]:
    """The strongest frequency of each channel, to the next 100 Hz."""
    strongest = np.abs(np.fft.rfft(audio.samples)).argmax(axis=1) / audio.seconds
    return (100 * np.rint(strongest / 100)).astype(int).tolist()


def snr(source: Audio, result: Audio) -> float:
    """Signal over noise in dB."""
    noise = (source.samples.astype(np.float64) - result.samples) ** 2
    return float(10 * np.log10((source.samples.astype(np.float64) ** 2).sum() / noise.sum()))


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 96000])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("channels, count", [(1, 1), (1, 4001), (2, 333), (6, 1000)])
def test_sixteen_bits_come_back_as_they_were(rate, suffix, channels, count, tmp_path):
    whole = np.random.default_rng(0).integers(-(2**15), 2**15, (channels, count))
    audio = Audio((whole / 2**15).astype(np.float32), rate)
    audio.save(tmp_path / f"a{suffix}")
    back = Audio.open(tmp_path / f"a{suffix}")
    assert back.rate == rate and np.array_equal(back.samples, audio.samples)
    assert soundfile.info(tmp_path / f"a{suffix}").subtype == "PCM_16"


def test_samples_are_rounded_and_those_beyond_full_scale_cut():
    step = 2**-15
    buffer = io.BytesIO()
    Audio(np.array([[0.4 * step, 0.6 * step, -0.6 * step, 1.5, -3]], np.float32), 8000).save(buffer, "WAV")
    buffer.seek(0)
    assert (Audio.open(buffer).samples / step).tolist() == [[0, 1, -1, 2**15 - 1, -(2**15)]]


@pytest.mark.parametrize("format, subtype", [("WAV", "FLOAT"), ("WAV", "DOUBLE"), ("AIFF", "FLOAT"), ("RF64", "FLOAT")])
def test_values_beyond_full_scale_are_kept_when_read(format, subtype):
    audio = Audio(np.array([[0.5, -7, 2]], np.float32), 22050)
    assert np.array_equal(Audio.open(stored(audio, format, subtype)).samples, audio.samples)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "ULAW", "MS_ADPCM"])
def test_other_subtypes_of_wav(subtype):
    source = tones(8000, 4000)
    back = Audio.open(stored(source, "WAV", subtype)).of_length(4000)
    assert snr(source, back) > 25


def test_vorbis_has_its_length():
    source = tones(44100, 12345, channels=2)
    back = Audio.open(stored(source, "OGG"))
    assert (back.rate, back.samples.shape) == (44100, (2, 12345)) and snr(source, back) > 20


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("codec, container", CODED)
def test_coded_files_have_the_sound_in_its_channels(codec, container, channels):
    source = tones(48000, 12345, channels)
    back = opened(coded(source, codec, container))
    delay = 1024 if container == "adts" else 0  # such files do not say what the encoder put in front
    behind = 1024 if codec == "aac" else 0  # FFmpeg leaves it
    assert back.rate == 48000 and 0 <= back.count - source.count - delay <= behind
    assert frequencies(back) == frequencies(source)
    aligned = Audio(back.samples[:, delay : delay + 12345], 48000)
    assert snr(source, aligned) > (80 if codec == "flac" else 15)


@pytest.mark.parametrize("codec, container", [("libopus", "ogg"), ("aac", "ipod"), ("flac", "flac")])
def test_six_channels_keep_their_order(codec, container):
    samples = tones(48000, 48000, channels=6).samples
    samples[3] = 0.5 * np.sin(2 * np.pi * 100 * np.arange(48000) / 48000)  # a channel of low frequencies
    back = opened(coded(Audio(samples, 48000), codec, container))
    assert frequencies(back.of_length(48000)) == [300, 500, 700, 100, 1100, 1300]


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_opus_opens_at_the_rate_of_its_source(rate):
    back = opened(coded(tones(rate, 3001), "libopus", "ogg", 64000))
    assert (back.rate, back.count) == (rate, 3001)


def test_the_sound_of_a_film():
    file = io.BytesIO()
    audio = tones(48000, 4800)
    with av.open(file, "w", format="matroska") as out:
        pictures = out.add_stream("mpeg4", rate=25)
        pictures.width = pictures.height = 32
        sound = out.add_stream("pcm_s16le", rate=48000, layout="mono")
        for _ in range(5):
            out.mux(pictures.encode(av.VideoFrame(32, 32, "yuv420p")))
        frame = av.AudioFrame.from_ndarray(np.int16(audio.samples * 2**15), format="s16", layout="mono")
        frame.rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
        out.mux(sound.encode(frame))
        out.mux([*pictures.encode(None), *sound.encode(None)])
    back = opened(file.getvalue())
    assert back.count == 4800 and snr(audio, back) > 80


def test_flac_from_a_pipe_does_not_say_its_length():
    data = bytearray(coded(tones(16000, 5000), "flac", "flac"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert opened(bytes(data)).count == 5000


def test_wav_from_a_pipe_does_not_say_its_length():
    data = bytearray(stored(tones(16000, 5000)).getvalue())
    data[4:8] = data[40:44] = b"\xff" * 4
    assert opened(bytes(data)).count == 5000


def test_tags_in_a_wrong_encoding_do_not_matter():
    data = coded(tones(48000, 5000), "libmp3lame", "mp3")
    assert b"\x03Lavf" in data  # 3 stands for UTF-8
    assert opened(data.replace(b"\x03Lavf", b"\x03\xe9\xe9\xe9\xe9")).count == 5000


def test_a_file_is_read_from_its_start():
    file = io.BytesIO(coded(tones(48000, 5000), "libmp3lame", "mp3"))
    file.seek(0, io.SEEK_END)
    assert Audio.open(file).count == 5000


def test_silence(tmp_path):
    Audio(np.zeros((2, 50), np.float32), 44100).save(tmp_path / "a.flac")
    assert not Audio.open(tmp_path / "a.flac").samples.any()


def test_samples_that_are_no_numbers_become_zero_with_a_notice():
    audio = Audio(np.array([[0.5, np.nan, np.inf], [-np.inf, 2, -1]], np.float32), 8000)
    back = Audio.open(stored(audio, subtype="FLOAT"))
    cleaned, notices = back.cleaned()
    assert cleaned.samples.tolist() == [[0.5, 0, 0], [0, 2, -1]]
    assert notices == ("3 samples were infinite or not numbers; they were set to 0.",)
    again, none = cleaned.cleaned()
    assert again is cleaned and none == ()
    file = io.BytesIO()
    back.save(file, "WAV")
    assert opened(file.getvalue()).samples[0, 1:].tolist() == [0, 0]


@pytest.mark.parametrize("content", [b"", b"RIF", b"hello", bytes(5000), b"RIFF" + bytes(100), b"fLaC" + bytes(100),
                                     b"OggS" + bytes(100), np.random.default_rng(0).bytes(5000)])
def test_what_is_no_sound(content):
    with pytest.raises(InputError, match="the input cannot be read as a sound"):
        opened(content)


def test_pictures_and_empty_files_hold_no_sound(smooth_png):
    with pytest.raises(InputError, match=r"smooth\.png holds no sound"):
        Audio.open(smooth_png)
    with pytest.raises(InputError, match="holds no sound"):
        opened(stored(noise(10)).getvalue()[:44])


def damaged(data: bytes, seed: int) -> bytes:
    hurt = bytearray(data)
    for place in np.random.default_rng(seed).integers(len(data) // 4, len(data), 30):
        hurt[place] ^= 0xFF
    return bytes(hurt)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("codec, container", [("libopus", "ogg"), ("flac", "flac")])
def test_damage_is_reported_where_there_are_checksums(codec, container, seed):
    with pytest.raises(InputError, match=r"cannot be read|damaged"):
        opened(damaged(coded(noise(48000), codec, container), seed))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("codec, container", [("libmp3lame", "mp3"), ("aac", "ipod"), ("aac", "adts")])
def test_damage_elsewhere_is_an_input_error_or_a_sound(codec, container, seed):
    data = coded(noise(48000), codec, container)
    for content in (damaged(data, seed), data[: len(data) * seed // 5]):
        try:
            assert opened(content).channels == 2
        except InputError as error:
            assert "the input" in str(error)


@pytest.mark.parametrize("codec, container", [("libopus", "ogg"), ("aac", "ipod"), ("flac", "flac")])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cut_is_reported(codec, container, share):
    data = coded(noise(48000), codec, container)
    with pytest.raises(InputError, match=r"cannot be read|cut"):
        opened(data[: int(len(data) * share)])


def test_a_playlist_opens_nothing(tmp_path, monkeypatch):
    """FFmpeg would take the files that it names."""
    (tmp_path / "a.ts").write_bytes(coded(tones(48000, 9000), "aac", "mpegts"))
    (tmp_path / "list").write_bytes(b"ffconcat version 1.0\nfile a.ts\n")
    monkeypatch.chdir(tmp_path)
    assert Audio.open("a.ts").count > 9000
    with pytest.raises(InputError, match="cannot be read"):
        Audio.open("list")


@pytest.mark.parametrize("codec, container", [*CODED, ("pcm_s16le", "wav")])
def test_sounds_beyond_the_limit_are_refused(codec, container):
    data = coded(noise(9000), codec, container)
    with pytest.raises(InputError, match="more than 17999 samples, the limit"):
        Audio.open(io.BytesIO(data), max_samples=17_999)


def test_a_length_that_is_not_there_takes_no_memory():
    announced = bytearray(stored(noise(10, 1), "FLAC").getvalue())
    announced[21:26] = struct.pack(">Q", (announced[21] >> 4 << 36) + 2**35)[3:]
    with pytest.raises(InputError, match="the limit"):
        opened(bytes(announced))


def test_paths_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        Audio.open(tmp_path / "none.wav")
    with pytest.raises(InputError, match="cannot be read"):
        Audio.open(tmp_path)


@pytest.mark.parametrize(("name", "why"), [("a.mp4", r"\.wav and \.flac"), ("a.ogg", r"\.wav and \.flac"),
                                           ("a", r"\.wav and \.flac"), ("none/a.wav", "No such file or directory")])
def test_what_cannot_be_written(name, why, tmp_path):
    with pytest.raises(InputError, match=f"cannot be written to .*{why}"):
        noise(10).save(tmp_path / name)
    with pytest.raises(InputError, match="cannot be written"):
        noise(10, channels=9).save(tmp_path / "a.flac")


@pytest.mark.parametrize("samples, rate", [
    (np.zeros(5, np.float32), 8000), (np.zeros((1, 0), np.float32), 8000), (np.zeros((0, 5), np.float32), 8000),
    (np.zeros((1, 5)), 8000), (np.zeros((1, 5), np.int16), 8000), (np.zeros((1, 5), np.float32), 0),
    (np.zeros((1, 5), np.float32), 2_000_000)])
def test_arrays_that_are_no_sound(samples, rate):
    with pytest.raises(InputError, match="A sound needs"):
        Audio(samples, rate)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 96000), st.integers(1, 96000), st.integers(1, 3000), st.integers(1, 3))
@example(44100, 16000, 1, 2)
@example(96000, 8000, 1, 1)
@example(96000, 1, 100, 1)
@example(1, 48000, 3, 1)
def test_there_and_back_has_the_same_length(rate, other, count, channels):
    audio = noise(count, channels, rate)
    there = audio.resampled(other)
    assert there.rate == other and there.channels == channels
    assert abs(there.count - count * other / rate) <= 0.5 or there.count == 1
    back = there.resampled(rate, count)
    assert back.rate == rate and back.samples.shape == audio.samples.shape and np.isfinite(back.samples).all()


@pytest.mark.parametrize("rate, other", [(8000, 11025), (11025, 16000), (44100, 48000), (48000, 44100), (44100, 16000),
                                         (96000, 8000), (44101, 12347)])
def test_a_sine_survives_there_and_back(rate, other):
    samples = tones(rate, rate, channels=2).samples * np.hanning(rate)
    audio = Audio(samples.astype(np.float32), rate)
    there = audio.resampled(other)
    assert snr(audio, there.resampled(rate, rate)) > 100
    time = np.arange(other) / other
    expected = 0.5 * np.sin(2 * np.pi * np.array([[300], [500]]) * time) * np.sin(np.pi * time) ** 2
    assert snr(Audio(expected.astype(np.float32), other), there) > 70  # and comes without delay


def test_resampling_can_be_refused_and_left_out(monkeypatch):
    audio = noise(100)
    assert np.array_equal(audio.resampled(48000).samples, audio.samples)
    assert audio.resampled(48000, 120).samples[:, 100:].tolist() == [[0] * 20] * 2
    monkeypatch.setattr(sound_module, "MAX_SAMPLES", 399)
    with pytest.raises(InputError, match="At 96000 Hz the sound would have 400 samples"):
        audio.resampled(96000)


def test_length_and_mean():
    audio = Audio(np.array([[1, 2, 3], [3, 4, 7]], np.float32), 2)
    assert (audio.seconds, audio.channels, audio.count) == (1.5, 2, 3)
    assert audio.of_length(2).samples.tolist() == [[1, 2], [3, 4]]
    assert audio.of_length(4).samples.tolist() == [[1, 2, 3, 0], [3, 4, 7, 0]]
    assert audio.mono().samples.tolist() == [[2, 3, 5]]
    assert audio.mono().mono().samples.tolist() == [[2, 3, 5]]


def test_sounds_of_the_collection(shared_data: Path):
    speech, music = (next((shared_data / "audio" / "test").glob(f"{kind}_*.flac")) for kind in ("speech", "music"))
    assert Audio.open(speech).rate == 16000 and Audio.open(music).channels in (1, 2)
    opus = next((shared_data / "audio" / "train" / "speech").glob("*.opus"))
    assert Audio.open(opus).rate == 24000
