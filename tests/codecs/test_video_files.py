"""Films in files, with a codec that stores frames: header, limits, sound, damage, and the films that are written."""

import io
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import fewbits
from fewbits.codecs import files, kinds, registry, sources
from fewbits.codecs.codec import Progress, Stream, Target
from fewbits.codecs.colour import Colour
from fewbits.codecs.film import MAX_VIDEO_PIXELS, Video, VideoCodec
from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio
from fewbits.codecs.sound_track import SoundTrack
from fewbits.codecs.video_source import VideoFile, VideoSource
from fewbits.entropy import container
from fewbits.errors import DamagedError, InputError, LimitError

pytestmark = pytest.mark.usefixtures("stored_film")

SIZES = pytest.mark.parametrize("size", [(48, 34), (37, 25), (1, 1)])


def opened(data: bytes) -> VideoFile:
    return VideoFile(io.BytesIO(data), MAX_VIDEO_PIXELS)


def packets(data: bytes) -> list[bytes]:
    """Those of the first stream of sound."""
    with av.open(io.BytesIO(data)) as source:
        return [bytes(packet) for packet in source.demux(audio=0) if packet.size] if source.streams.audio else []


def begins(data: bytes) -> float:
    """When the first packet of sound comes, after the first frame (s)."""
    with av.open(io.BytesIO(data)) as film, av.open(io.BytesIO(data)) as sound:
        frame, packet = next(film.decode(video=0)), next(sound.demux(audio=0))
        return float(packet.pts * packet.time_base - frame.pts * frame.time_base)


def frames_of(data: bytes) -> np.ndarray:
    return Video.read(opened(data)).samples


@SIZES
@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(1, 7), Fraction(1_000_000, 999_999)])
def test_films_come_back(size: tuple[int, int], rate: Fraction, moving) -> None:
    film = Video(moving(19, *size), rate, Colour("bt709", True))
    encoded = files.encode(film)
    decoded = files.decode(encoded.data)
    assert np.array_equal(decoded.video.samples, film.samples) and decoded.video.sound is None
    assert (decoded.video.rate, decoded.video.colour) == (rate, film.colour)
    assert (decoded.sections, decoded.damaged) == (3, []) and encoded.notices == ("This is a codec for tests.",)


def test_the_header_says_what_the_film_is(moving) -> None:
    film = Video(moving(19), Fraction(30000, 1001), Colour("bt2020"))
    data = files.encode(film).data
    facts = files.info(data)
    assert (facts["kind"], facts["codec"], facts["sound_track"]) == ("video", "stored", None)
    assert (facts["width"], facts["height"], facts["count"]) == (48, 34, 19)
    assert (facts["rate_numerator"], facts["rate_denominator"]) == (30000, 1001)
    assert facts["seconds"] == pytest.approx(19 * 1001 / 30000) and facts["fps"] == pytest.approx(29.97, abs=0.001)
    assert facts["kbps"] == pytest.approx(len(data) * 8 / 1000 / facts["seconds"])
    assert facts["bits_per_pixel"] == pytest.approx(len(data) * 8 / (19 * 48 * 34))


def test_any_frames_can_be_had(moving) -> None:
    frames = moving(30)
    film = files.CodedVideo(files.encode(Video(frames, Fraction(10))).data)
    assert np.array_equal(np.stack(list(film.frames(9, 17))), frames[9:17]) and not list(film.frames(30))
    assert np.array_equal(np.stack(list(film.frames_at([Fraction(3), Fraction(8), Fraction(29)]))), frames[[3, 8, 29]])
    part = film.part(5, 15, Fraction(5))
    assert (part.count, part.rate, part.seconds) == (5, 5, 1) and part.sound is None
    assert np.array_equal(np.stack(list(part.frames())), frames[5:15:2])
    assert np.array_equal(np.stack(list(film.part(5, 15).frames(2, 4))), frames[7:9])
    for start, stop in ((5, 5), (-1, 5), (0, 31), (30, None)):
        with pytest.raises(InputError, match="the film has 30, counted from 0"):
            film.part(start, stop)
    with pytest.raises(InputError, match="stored cannot make frames between frames"):
        list(film.part(rate=Fraction(20)).frames())
    with pytest.raises(InputError, match="needs a rate above 0"):
        film.part(rate=Fraction(0))


def test_codecs_and_media_that_do_not_fit_are_refused(moving, film, tmp_path: Path) -> None:
    video = Video(moving(3), Fraction(25))
    with pytest.raises(InputError, match="hyperprior is for one picture, not for a film"):
        files.encode(video, "hyperprior")
    with pytest.raises(InputError, match="stored is for a film, not for one picture"):
        files.encode(Image(moving(1)[0]), "stored")
    with pytest.raises(InputError, match="can be chosen for films, not for one picture"):
        files.encode(Image(moving(1)[0]), "hyperprior", audio="copy")
    with pytest.raises(InputError, match="holds a film, not sound"):
        _ = files.decode(files.encode(video).data).audio
    with pytest.raises(InputError, match="holds a film, not sound"):
        files.CodedSound(files.encode(video).data)


def test_without_a_usual_codec_a_sentence_says_so(moving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(registry._DEFAULTS, "video")
    with pytest.raises(InputError, match="no usual codec for video; name one of these: nerv, hnerv"):
        files.encode(Video(moving(1), Fraction(25)))


def test_limits_are_checked_before_memory_is_taken(moving, monkeypatch: pytest.MonkeyPatch) -> None:
    data = files.encode(Video(moving(8), Fraction(25))).data
    assert files.CodedVideo(data, max_pixels=8 * 48 * 34).count == 8
    with pytest.raises(LimitError, match="8 x 48 x 34 pixels, more than the limit of 13055"):
        files.CodedVideo(data, max_pixels=13055)
    monkeypatch.setattr(kinds, "MAX_FRAME_PIXELS", 1000)
    with pytest.raises(LimitError, match="48 x 34 pixels, more than the limit of 1000"):
        files.decode(data)
    entry = registry.entry("stored")
    media = {"layout": 0, "width": 1, "height": 1, "count": container.MAX_SIDE, "rate_numerator": 1,
             "rate_denominator": 1}
    header = container.Header(entry.number, "video", b"", media, {"level": 1})
    huge = container.write(header, entry.settings, [b"small"])
    with pytest.raises(LimitError, match="limit"):
        files.decode(huge)
    with pytest.raises(DamagedError, match="number of sections"):
        list(files.CodedVideo(huge).frames())
    odd = container.Header(entry.number, "video", b"", media | {"layout": 3}, {"level": 1})
    with pytest.raises(DamagedError, match="layout of colour"):
        files.decode(container.write(odd, entry.settings, [b"small"]))


def test_rates_aimed_at_count_all_frames_and_the_sound(film, moving, monkeypatch: pytest.MonkeyPatch) -> None:
    source = opened(film(moving(50), tone=2))
    assert kinds.size_aimed_at(Target(bits_per_pixel=0.5), source) == 50 * 48 * 34 // 16
    assert kinds.size_aimed_at(Target(kbps=20), source) == 5000
    kinds.check_target(Target(psnr=30), "video")
    aims = []
    codec = type(registry.create("stored"))
    original = codec.encode

    def encode(self: VideoCodec, media: VideoSource, target: Target, progress: Progress) -> Stream:
        aims.append(target.size)
        return original(self, media, target, progress)

    monkeypatch.setattr(codec, "encode", encode)
    monkeypatch.setitem(registry._BY_NAME, "stored", replace(registry.entry("stored"), lossless=False))
    for audio in ("copy", "none"):
        files.encode(source, target=Target(size=100_000), audio=audio)
    assert aims[1] - aims[0] == pytest.approx(len(source.sound.data), abs=12)
    with pytest.raises(InputError, match="The sound and the header alone take"):
        files.encode(source, target=Target(size=2000))


@pytest.mark.parametrize("sound, format, codec, pix_fmt", [
    ("aac", "mp4", "libx264", "yuv420p"), ("libopus", "matroska", "ffv1", "bgr0"), ("flac", "matroska", "ffv1", "bgr0"),
    ("pcm_s16le", "mov", "libx264", "yuv420p"), ("mp2", "mpegts", "mpeg2video", "yuv420p"),
    ("libmp3lame", "avi", "mpeg4", "yuv420p")])
@pytest.mark.parametrize("begin", [0, 0.5])
def test_sound_is_copied_to_the_bit_and_in_time(sound: str, format: str, codec: str, pix_fmt: str, begin: float, film,
                                                moving, tmp_path: Path) -> None:
    data = film(moving(30), codec=codec, pix_fmt=pix_fmt, format=format, tone=1.3, sound=sound, begin=begin)
    coded = files.CodedVideo(files.encode(opened(data)).data)
    assert coded.sound.is_copy and packets(coded.sound.data) == packets(data)
    coded.save(tmp_path / "back.mkv")
    back = (tmp_path / "back.mkv").read_bytes()
    assert packets(back) == packets(data) and begins(back) == pytest.approx(begins(data), abs=0.002)
    assert np.array_equal(frames_of(back), frames_of(data))
    heard = Audio.read(files.sound_of(coded.sound)).samples
    first = np.flatnonzero(np.abs(heard[0]) > 0.1)[0] / 48000
    # where nothing in the file says so, an encoder's delay is part of the sound
    assert first == pytest.approx(begin if format != "avi" else 0, abs=0.03)


def test_sound_of_a_film_that_is_left_out_or_coded(film, moving, stored_sound: Path, tmp_path: Path) -> None:
    source = opened(film(moving(30), tone=1.2))
    assert files.CodedVideo(files.encode(source, audio="none").data).sound is None
    data = files.encode(source, audio="speech").data
    assert files.info(data)["sound_track"]["form"] == "speech"
    coded = files.CodedVideo(data)
    sound = files.sound_of(coded.sound)
    assert not coded.sound.is_copy and (sound.rate, sound.channels) == (48000, 2) and abs(sound.seconds - 1.2) < 0.05
    for name, encoder in (("a.mkv", "flac"), ("a.mp4", "aac"), ("a.webm", "opus")):
        assert coded.save(tmp_path / name) == ()
        with av.open(str(tmp_path / name)) as back:
            assert back.streams.audio[0].codec_context.codec.canonical_name == encoder
            count = sum(frame.samples for frame in back.decode(audio=0))
        assert abs(count / 48000 - sound.seconds) < 0.05
    assert np.abs(Audio.open(tmp_path / "a.mkv").samples - Audio.read(sound).samples).max() < 1e-4
    again = files.CodedVideo(files.encode(coded).data)
    assert again.sound == coded.sound
    for audio, words in (("copied", "no codec 'copied'"), ("hyperprior", "for one picture, not for sound")):
        with pytest.raises(InputError, match=words):
            files.encode(source, audio=audio)


@pytest.mark.parametrize("section, words", [
    (b"", "neither Matroska nor"), (b"RIFF", "neither Matroska nor"), (b"\x1a\x45\xdf\xa3 and no more", "damaged"),
    (b"FWB\x01", "without sound"), (b"FWB\x01\x01\x00", "without sound")])
def test_hostile_sound_is_refused_or_left_out(section: bytes, words: str, film, moving) -> None:
    data = files.encode(opened(film(moving(9), tone=0.3))).data
    box = container.read(data, registry.settings_of_number)
    entry = registry.entry("stored")
    hostile = container.write(box.header, entry.settings, [section, *(box.section(i) for i in (1, 2))])
    with pytest.raises(DamagedError, match=words):
        files.decode(hostile)
    decoded = files.decode(hostile, allow_damage=True)
    assert decoded.damaged == [0] and decoded.video.sound is None
    assert np.array_equal(decoded.video.samples, moving(9))
    assert files.info(hostile)["sound_track"]["form"] in ("damaged", "copy", "hyperprior")


def test_damage_costs_the_sound_or_a_group(film, moving) -> None:
    data = bytearray(files.encode(opened(film(moving(19), tone=0.5))).data)
    sections = container.read(bytes(data), registry.settings_of_number).sections
    data[sections[0].offset + 20] ^= 1
    with pytest.raises(DamagedError, match="1 of 4 sections"):
        files.decode(bytes(data))
    film_without = files.CodedVideo(bytes(data), allow_damage=True)
    assert film_without.sound is None and film_without.damaged == [0]
    assert files.info(bytes(data))["sound_track"]["form"] == "damaged"
    data[sections[2].offset + 5] ^= 1
    decoded = files.decode(bytes(data), allow_damage=True)
    assert decoded.damaged == [0, 2] and not decoded.video.samples[8:16].any()
    assert np.array_equal(decoded.video.samples[:8], moving(19)[:8])


def test_tracks_beyond_the_limit_are_refused(film, moving, monkeypatch: pytest.MonkeyPatch) -> None:
    source = opened(film(moving(19), tone=0.5))
    monkeypatch.setattr("fewbits.codecs.sound_track.MAX_TRACK", 1000)
    with pytest.raises(InputError, match="more than 1000 bytes of sound"):
        _ = source.sound
    with pytest.raises(DamagedError, match="more than the limit of 1000"):
        SoundTrack(b"FWB" + bytes(998))


@SIZES
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".webm"])
@pytest.mark.parametrize("colour", [Colour(), Colour("bt709"), Colour("bt2020", True)], ids=str)
def test_films_are_written(size: tuple[int, int], suffix: str, colour: Colour, moving, tmp_path: Path) -> None:
    smooth = moving(6, *size) // 2 + np.uint8(60)
    notices = Video(smooth, Fraction(30000, 1001), colour).save(tmp_path / f"a{suffix}")
    back = VideoFile(tmp_path / f"a{suffix}", MAX_VIDEO_PIXELS)
    assert (back.count, back.rate, back.notices) == (6, Fraction(30000, 1001), ())
    frames = np.stack(list(back.frames()))
    padded = suffix in (".mp4", ".mov") and size != (48, 34)
    assert bool(notices) == padded and (not padded or "even sides" in notices[0])
    if suffix == ".mkv":
        assert np.array_equal(frames, smooth)
    else:
        assert back.colour == colour
        assert np.abs(frames[:, : size[1], : size[0]].astype(int) - smooth).mean() < 6


def test_films_become_folders_of_pictures(moving, film, tmp_path: Path) -> None:
    opened(film(moving(3), tone=0.3)).save(tmp_path / "pictures")
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["000000.png", "000001.png", "000002.png"]
    assert np.array_equal(Image.open(tmp_path / "pictures" / "000002.png").pixels, moving(3)[2])


def test_what_cannot_be_written_ends_in_a_sentence(moving, film, tmp_path: Path) -> None:
    source = opened(film(moving(3), tone=0.3, sound="flac"))
    for name, words in (("a.gif", r"suffixes \.mkv, .* are known"),
                        ("a.webm", r"\.webm files cannot hold the sound of the film, flac"),
                        ("a.mov", r"\.mov files cannot hold the film with its sound")):
        with pytest.raises(InputError, match=words):
            source.save(tmp_path / name)


def test_sources_are_known_by_name_and_content(film, moving, tmp_path: Path) -> None:
    data = film(moving(3), tone=0.3)
    for name in ("a.mkv", "a.MP4", "a"):
        (tmp_path / name).write_bytes(data)
        media, codec = sources.open_for(tmp_path / name)
        assert isinstance(media, VideoFile) and codec == "stored"
    assert isinstance(sources.open_for(io.BytesIO(data))[0], VideoFile)
    sound, codec = sources.open_for(tmp_path / "a.mkv", "speech")
    assert codec == "speech" and sound.channels == 2
    with pytest.raises(InputError, match="hyperprior is for one picture, not for a film"):
        sources.open_for(tmp_path / "a.mkv", "hyperprior")
    with pytest.raises(InputError, match="more than the limit of 100"):
        sources.open_for(tmp_path / "a.mkv", max_pixels=100)


def test_the_short_calls_take_films(film, moving, tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_bytes(film(moving(9), tone=0.3))
    data = fewbits.encode(tmp_path / "a.mkv")
    back = fewbits.decode(data)
    assert isinstance(back, Video) and np.array_equal(back.samples, moving(9)) and back.sound.is_copy
    assert fewbits.encode(back) == data
    assert fewbits.decode(fewbits.encode(tmp_path / "a.mkv", audio="none")).sound is None


def test_long_films_take_no_more_memory(film, moving, tmp_path: Path) -> None:
    """2000 frames, of which all would take 12 MB."""
    frames = np.broadcast_to(moving(1, 64, 32), (2000, 32, 64, 3))
    (tmp_path / "long.mkv").write_bytes(film(frames, codec="mpeg4", pix_fmt="yuv420p"))
    tracemalloc.start()
    try:
        source = VideoFile(tmp_path / "long.mkv", MAX_VIDEO_PIXELS)
        data = files.encode(source, target=Target(verify=False)).data
        files.CodedVideo(data).part(0, 800).save(tmp_path / "back.mp4")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert source.count == 2000 and peak < 3 * len(data) + 2**20 < frames.size // 3
