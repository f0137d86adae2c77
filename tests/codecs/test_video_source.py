"""Films in files of many forms: times, colour, turning, and what cannot be read."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from fewbits.codecs.colour import Colour
from fewbits.codecs.film import MAX_VIDEO_PIXELS, Video
from fewbits.codecs.video_source import VideoFile
from fewbits.errors import InputError


def opened(data: bytes, max_pixels: int = MAX_VIDEO_PIXELS) -> VideoFile:
    return VideoFile(io.BytesIO(data), max_pixels)


def by_ffmpeg(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize("size", [(48, 34), (37, 25), (1, 1)])
def test_rgb_comes_as_it_is(size: tuple[int, int], film, moving) -> None:
    frames = moving(10, *size)
    source = opened(film(frames))
    assert (source.width, source.height, source.count, source.rate) == (*size, 10, 25)
    assert source.colour == Colour() and source.notices == () and source.sound is None and source.seconds == 0.4
    for _ in range(2):
        assert np.array_equal(np.stack(list(source.frames())), frames)
    assert np.array_equal(Video.read(source).samples, frames)


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(1)])
@pytest.mark.parametrize("format", ["matroska", "mov", "avi", "nut"])
def test_rates_are_fractions(rate: Fraction, format: str, film, moving) -> None:
    source = opened(film(moving(40), rate, codec="ffv1" if format != "mov" else "png",
                         pix_fmt="bgr0" if format != "mov" else "rgb24", format=format))
    assert (source.rate, source.count, source.notices) == (rate, 40, ())


@pytest.mark.parametrize("pix_fmt, notices", [
    ("yuv420p", 0), ("yuv422p", 0), ("yuv444p", 0), ("yuv440p", 0), ("yuv420p10le", 1), ("yuv422p10le", 1),
    ("yuv444p16le", 1),  ("yuva420p", 1), ("gbrp10le", 1), ("gbrp16le", 1), ("rgb48le", 1), ("bgra", 1), ("gray", 0)])
@pytest.mark.parametrize("size", [(48, 34), (37, 25)])
def test_samples_of_all_layouts_become_rgb(pix_fmt: str, notices: int, size: tuple[int, int], film, moving) -> None:
    data = film(moving(3, *size), pix_fmt=pix_fmt)
    source = opened(data)
    read = np.stack(list(source.frames())).astype(int)
    assert (source.width, source.height) == size and len(source.notices) == notices
    exact = pix_fmt in ("yuv420p", "gray", "bgra")
    # FFmpeg interpolates chroma of some layouts, and rounds down
    assert np.abs(read - by_ffmpeg(data)).mean() <= (0 if exact and size == (48, 34) else 2.5)
    if pix_fmt.startswith(("gbr", "rgb", "bgr")):
        assert np.abs(read - moving(3, *size)).max() <= (1 if "1" in pix_fmt or "4" in pix_fmt else 0)


@pytest.mark.parametrize("codec, pix_fmt, format", [("rawvideo", "nv12", "nut"), ("rawvideo", "yuyv422", "nut"),
                                                    ("ffv1", "yuv411p", "matroska"),
                                                    ("rawvideo", "p010le", "nut"), ("rawvideo", "bgr24", "nut"),
                                                    ("gif", "rgb8", "gif"), ("libx264rgb", "rgb24", "matroska")])
def test_packed_layouts_and_palettes(codec: str, pix_fmt: str, format: str, film, moving) -> None:
    data = film(moving(4), codec=codec, pix_fmt=pix_fmt, format=format)
    read = np.stack(list(opened(data).frames())).astype(int)
    assert np.abs(read - by_ffmpeg(data)).mean() <= 2.5


@pytest.mark.parametrize("number, name", [(1, "bt709"), (5, "bt601"), (9, "bt2020")])
@pytest.mark.parametrize("full", [False, True])
def test_colour_is_what_the_file_says(number: int, name: str, full: bool, film, moving) -> None:
    source = opened(film(moving(2), codec="libx264", pix_fmt="yuv444p", matrix=number, full=full))
    assert source.colour == Colour(name, full)
    assert np.abs(next(source.frames()).astype(int) - moving(2)[0]).mean() < 5


def test_frames_of_no_constant_rate_take_the_nearest_places(film, moving) -> None:
    frames = moving(6)
    source = opened(film(frames, 1000, times=[0, 40, 80, 200, 240, 280]))  # ms; three are missing between
    assert source.rate == 25 and source.count == 8 and "no constant rate: 8 at 25" in source.notices[0]
    assert np.array_equal(np.stack(list(source.frames())), frames[[0, 1, 2, 2, 3, 3, 4, 5]])
    assert np.array_equal(np.stack(list(source.frames(3, 6))), frames[[2, 3, 3]])


def test_times_that_are_a_little_off_are_constant(film, moving) -> None:
    frames = moving(8)
    source = opened(film(frames, 1000, times=[0, 41, 79, 120, 162, 199, 240, 281]))
    assert source.notices == () and np.array_equal(np.stack(list(source.frames())), frames)


@pytest.mark.parametrize("rotation, turns", [(90, 1), (180, 2), (-90, 3)])
def test_films_stand_upright(rotation: int, turns: int, film, moving) -> None:
    data = film(moving(3), codec="png", pix_fmt="rgb24", format="mov", rotation=rotation)
    source = opened(data)
    assert (source.width, source.height) == ((34, 48) if turns % 2 else (48, 34)) and source.notices == ()
    with av.open(io.BytesIO(data)) as container:
        assert next(container.decode(video=0)).rotation == (rotation if rotation < 180 else -180)
    assert np.array_equal(np.stack(list(source.frames())), np.rot90(moving(3), turns, (1, 2)))


def test_what_is_lost_is_said(film, moving) -> None:
    wide = opened(film(moving(2), codec="libx264", pix_fmt="yuv420p", aspect=Fraction(4, 3)))
    assert "4/3 as wide as high" in wide.notices[0]


@pytest.mark.parametrize("codec, format", [("libx264", "mp4"), ("libx264", "mpegts"), ("libx264", "matroska"),
                                           ("mpeg2video", "mpegts"), ("mpeg4", "avi"), ("libx265", "mp4"),
                                           ("libx264", "h264"), ("libvpx-vp9", "webm")])
def test_any_frames_can_be_asked_for(codec: str, format: str, film, moving) -> None:
    frames = moving(60, 64, 66)  # x265 writes beyond its memory where frames are smaller than a block of 64
    source = opened(film(frames, codec=codec, pix_fmt="yuv420p", format=format))
    whole = list(source.frames())
    for start, stop in ((0, 0), (0, 1), (7, 9), (30, 60), (59, 60), (59, None)):
        part = list(source.frames(start, stop))
        assert len(part) == len(whole[start:stop])
        assert all(np.array_equal(*pair) for pair in zip(part, whole[start:stop], strict=True))


def test_what_is_no_film_is_refused(film, moving, tmp_path: Path) -> None:
    data = film(moving(3), tone=0.5)
    sound = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(sound, "w", format="mp4") as out:
        stream = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    for given, words in ((sound.getvalue(), "holds no film that can be read, only sound: name a codec for sounds"),
                         (b"", "cannot be read as a film"), (b"no film" * 99, "cannot be read as a film"),
                         (data[:100], "no film|no frame|cannot be read")):
        with pytest.raises(InputError, match=words):
            opened(given)
    with pytest.raises(InputError, match="There is no file"):
        VideoFile(tmp_path / "none.mp4", MAX_VIDEO_PIXELS)


def test_films_that_are_too_large_are_refused(film, moving, monkeypatch: pytest.MonkeyPatch) -> None:
    data = film(moving(3))
    assert opened(data, 3 * 48 * 34).count == 3
    with pytest.raises(InputError, match="4896 pixels in all frames together, more than the limit of 4895"):
        opened(data, 3 * 48 * 34 - 1)
    monkeypatch.setattr("fewbits.codecs.video_source.MAX_FRAME_PIXELS", 1000)
    with pytest.raises(InputError, match="1632 pixels in each frame"):
        opened(data)


def test_films_that_are_cut_end_in_a_sentence(film, moving) -> None:
    data = film(np.random.default_rng(0).integers(0, 255, (30, 34, 48, 3), np.uint8))
    for share in (0.3, 0.6, 0.95):
        try:
            read = list(opened(data[: int(share * len(data))]).frames())
        except InputError as error:
            assert "damaged" in str(error) or "cannot be read" in str(error)
        else:
            assert len(read) < 30


def test_a_film_that_announces_more_than_it_holds(film, moving) -> None:
    data = film(np.random.default_rng(0).integers(0, 255, (30, 34, 48, 3), np.uint8), codec="png", pix_fmt="rgb24",
                format="avi")
    source = opened(data[: len(data) // 2])
    assert source.count < 30 and "announces 30 frames, but holds" in source.notices[-1]
