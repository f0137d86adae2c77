"""Sounds in files, with a codec that stores samples: header, limits, aims, damage."""

import io
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

import fewbits
from fewbits.codecs import files, registry, sources
from fewbits.codecs.codec import Target
from fewbits.codecs.image_set import ImageSet
from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio
from fewbits.codecs.sound_source import SoundFile, SoundSource
from fewbits.entropy import container
from fewbits.errors import DamagedError, InputError, LimitError

pytestmark = pytest.mark.usefixtures("stored_sound")


@pytest.fixture
def sound() -> Audio:
    """Two channels of three and a half seconds, low enough in level for 8 bits to be seen."""
    time = np.arange(28000) / 8000
    return Audio(np.stack([np.sin(900 * time), np.sin(700 * time)]).astype(np.float32) / 2, 8000)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7999), (2, 8000), (6, 8001), (255, 3)])
@pytest.mark.parametrize("rate", [1, 8000, 1_000_000])
def test_sounds_of_any_shape_come_back(shape: tuple[int, int], rate: int) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    if rate == 1:
        samples = samples[:, :50]  # a section each
    encoded = files.encode(Audio(samples, rate))
    decoded = files.decode(encoded.data)
    assert decoded.audio.rate == rate and decoded.audio.samples.shape == samples.shape
    assert np.abs(decoded.audio.samples - samples).max() <= 1 / 128
    assert decoded.sections == -(-samples.shape[1] // rate) and decoded.damaged == []


def test_the_header_says_what_the_sound_is(sound: Audio) -> None:
    data = files.encode(sound, "speech").data
    facts = files.info(data)
    assert (facts["kind"], facts["codec"]) == ("audio", "speech")
    assert (facts["rate"], facts["channels"], facts["count"], facts["seconds"]) == (8000, 2, 28000, 3.5)
    assert facts["kbps"] == pytest.approx(8 * len(data) / 3500)
    assert not {"width", "bits_per_pixel", "profile"} & set(facts)


def test_what_is_no_number_is_coded_as_silence(sound: Audio) -> None:
    spoilt = sound.samples.copy()
    spoilt[0, :2] = np.nan, np.inf
    encoded = files.encode(Audio(spoilt, 8000))
    assert encoded.notices == ("2 samples were infinite or not numbers; they were set to 0.",)
    assert not files.decode(encoded.data).audio.samples[0, :2].any()


def test_codecs_and_media_that_do_not_fit_are_refused(sound: Audio, smooth_picture: np.ndarray) -> None:
    picture, images = Image(smooth_picture), ImageSet(smooth_picture[None])
    for media, codec, words in ((picture, "speech", "speech is for sound, not for one picture"),
                                (images, "speech", "speech is for sound, not for a set of images"),
                                (sound, "hyperprior", "hyperprior is for one picture, not for sound"),
                                (sound, "circuit-tree", "circuit-tree is for a set of images, not for sound")):
        with pytest.raises(InputError, match=words):
            files.encode(media, codec)


def test_what_a_file_holds_is_said_where_something_else_was_wanted(sound: Audio) -> None:
    data = files.encode(sound).data
    with pytest.raises(InputError, match="holds sound, not one picture"):
        _ = files.decode(data).image
    with pytest.raises(InputError, match="holds sound, not a set of images"):
        files.decode_one(data, 0)
    with pytest.raises(InputError, match="holds one picture, not sound"):
        _ = files.Decoded(Image(np.zeros((1, 1, 1), np.uint8)), [], 1).audio


@pytest.mark.parametrize("aim", [{"bits_per_pixel": 1}, {"psnr": 30}, {"tune": "msssim"}])
def test_aims_of_pictures_are_refused_for_sounds(aim: dict, sound: Audio) -> None:
    with pytest.raises(InputError, match=r"for pictures|cannot be tuned"):
        files.encode(sound, "speech", Target(**aim))


def test_kbps_are_refused_for_pictures(smooth_picture: np.ndarray) -> None:
    with pytest.raises(InputError, match="kbit/s mean nothing"):
        files.encode(Image(smooth_picture), "hyperprior", Target(kbps=6))
    with pytest.raises(InputError, match="above 0"):
        Target(kbps=0)
    with pytest.raises(InputError, match="only one of"):
        Target(kbps=6, quality=5)


@pytest.mark.parametrize("kbps", [12, 20, 40, 100])
def test_rates_aimed_at_are_those_of_the_whole_file(kbps: float) -> None:
    noise = Audio(np.random.default_rng(1).normal(0, 0.3, (1, 40000)).astype(np.float32), 8000)
    for target in (Target(kbps=kbps), Target(size=round(kbps * 5000 / 8))):
        size = len(files.encode(noise, "speech", target).data)
        assert size <= kbps * 5000 / 8


def test_a_size_that_is_just_enough_is_met(sound: Audio) -> None:
    """So the overhead of four sections is counted to the byte."""
    best = files.encode(sound).data
    assert files.encode(sound, "speech", Target(size=len(best))).data == best
    assert len(files.encode(sound, "speech", Target(size=len(best) - 1)).data) < len(best)


def test_damage_costs_a_second_where_that_is_allowed(sound: Audio) -> None:
    data = bytearray(files.encode(sound).data)
    intact = files.decode(bytes(data)).audio.samples
    second = container.read(bytes(data), registry.settings_of_number).sections[1]
    data[second.offset + 5] ^= 1
    with pytest.raises(DamagedError, match="1 of 4 sections"):
        files.decode(bytes(data))
    decoded = files.decode(bytes(data), allow_damage=True)
    assert decoded.damaged == [1] and decoded.sections == 4
    assert not decoded.audio.samples[:, 8000:16000].any()
    assert np.array_equal(np.delete(decoded.audio.samples, slice(8000, 16000), 1),
                          np.delete(intact, slice(8000, 16000), 1))


def test_limits_are_checked_before_memory_is_taken(sound: Audio) -> None:
    data = files.encode(sound).data
    assert files.decode(data, max_samples=56000, max_pixels=1).audio.count == 28000
    with pytest.raises(LimitError, match="2 x 28000 samples, more than the limit of 55999"):
        files.decode(data, max_samples=55999)
    entry = registry.entry("speech")
    huge = container.Header(entry.number, "audio", b"", {"rate": 1, "channels": 255, "count": container.MAX_COUNT},
                            {field.name: field.low for field in entry.settings})
    with pytest.raises(LimitError, match="limit"):
        files.decode(container.write(huge, entry.settings, [b"small"]))


def test_a_sound_under_a_codec_of_pictures_is_damaged() -> None:
    entry = registry.entry("hyperprior")
    header = container.Header(entry.number, "audio", b"", {"rate": 8000, "channels": 1, "count": 5}, {"quality": 7})
    data = container.write(header, entry.settings, [b"section"] * entry.levels)
    for look in (files.info, files.decode):
        with pytest.raises(DamagedError, match="says audio, but its codec hyperprior is for image"):
            look(data)


def test_the_short_calls_take_sounds(sound: Audio, tmp_path: Path) -> None:
    sound.save(tmp_path / "sound.wav")
    data = fewbits.encode(tmp_path / "sound.wav", kbps=40)
    assert fewbits.info(data)["kbps"] <= 40
    back = fewbits.decode(data)
    assert isinstance(back, Audio) and back.samples.shape == sound.samples.shape
    with (tmp_path / "sound.wav").open("rb") as file:
        assert fewbits.encode(file, quality=50) == fewbits.encode(Audio.open(tmp_path / "sound.wav"), quality=50)
    with pytest.raises(LimitError):
        fewbits.decode(data, max_samples=100)


class Pipe(io.BytesIO):
    """Cannot go back, as far as it says."""

    def seekable(self) -> bool:
        return False


def test_the_short_calls_take_pipes_and_sources(sound: Audio, tmp_path: Path) -> None:
    sound.save(tmp_path / "sound.wav")
    data = fewbits.encode(tmp_path / "sound.wav")
    assert fewbits.encode(Pipe((tmp_path / "sound.wav").read_bytes())) == data
    assert fewbits.encode(SoundFile(tmp_path / "sound.wav", max_samples=10**6)) == data


def test_coded_sounds_are_sources(sound: Audio) -> None:
    data = files.encode(sound).data
    source = files.CodedSound(data)
    assert (source.rate, source.channels, source.count) == (sound.rate, sound.channels, sound.count)
    assert (source.damaged, source.sections) == ([], 4)
    for _ in range(2):
        assert np.array_equal(Audio.read(source).samples, files.decode(data).audio.samples)
    with pytest.raises(LimitError, match="more than the limit of 55999"):
        files.CodedSound(data, max_samples=55999)
    entry = registry.entry("circuit")
    header = container.Header(entry.number, "image", b"", {"layout": 3, "width": 1, "height": 1}, {"experts": 0})
    with pytest.raises(InputError, match="holds one picture, not sound"):
        files.CodedSound(container.write(header, entry.settings, [b"section"]))


def written(save: Callable[[io.BytesIO], object]) -> io.BytesIO:
    file = io.BytesIO()
    save(file)
    return file


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "AIFF", "MP3"])
def test_sounds_are_known_by_their_content(format: str, sound: Audio) -> None:
    media, codec = sources.open_for(written(lambda file: soundfile.write(file, sound.samples.T, 8000, format=format)))
    assert isinstance(media, SoundSource) and codec == "speech"


@pytest.mark.parametrize("format", ["mp4", "adts", "matroska", "wv", "caf"])
def test_sounds_that_ffmpeg_reads_are_known_by_their_content(format: str) -> None:
    encoder = {"mp4": "aac", "adts": "aac", "matroska": "vorbis", "wv": "wavpack", "caf": "pcm_s16le"}[format]
    file = io.BytesIO()
    with av.open(file, "w", format=format) as out:
        stream = out.add_stream(encoder, rate=48000, layout="stereo", options={"strict": "experimental"})
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        frame.sample_rate = 48000
        converter = av.AudioResampler(stream.format.name, "stereo", 48000, stream.frame_size or 1024)
        for _ in range(20):
            for part in converter.resample(frame):
                out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    assert isinstance(sources.open_for(file)[0], SoundSource)


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("neither a picture nor a sound")
    for source in (tmp_path / "notes.txt", io.BytesIO(b"neither a picture nor a sound"), io.BytesIO()):
        with pytest.raises(InputError, match="cannot be read as a sound"):
            sources.open_for(source)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "TGA", "PPM"])
def test_pictures_are_known_by_their_content(format: str, smooth_picture: np.ndarray) -> None:
    media, codec = sources.open_for(written(lambda file: Image(smooth_picture).save(file, format)))
    assert isinstance(media, Image) and codec == "hyperprior"


def test_names_and_codecs_go_before_content(sound: Audio, tmp_path: Path) -> None:
    sound.save(tmp_path / "sound.wav")
    (tmp_path / "sound.wav").rename(tmp_path / "sound.png")
    with pytest.raises(InputError, match=r"sound\.png is not a picture"):
        sources.open_for(tmp_path / "sound.png")
    with pytest.raises(InputError, match="speech is for sound, not for one picture"):
        sources.open_for(tmp_path / "sound.png", "speech")
    (tmp_path / "sound.png").rename(tmp_path / "sound")
    assert sources.open_for(tmp_path / "sound")[1] == "speech"
    with pytest.raises(InputError, match="not a picture"):
        sources.open_for(tmp_path / "sound", "hyperprior")


def test_limits_of_sources(sound: Audio, tmp_path: Path) -> None:
    sound.save(tmp_path / "sound.wav")
    with pytest.raises(InputError, match="more than 100 samples"):
        sources.open_for(tmp_path / "sound.wav", max_samples=100)
    with pytest.raises(InputError, match="no file"):
        sources.open_for(tmp_path / "none")
