"""The classical codecs of films, on small ones."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from fewbits.codecs.colour import Colour, to_planes
from fewbits.codecs.film import Video
from fewbits.errors import InputError
from fewbits.eval.video_anchors import VIDEO_ANCHORS
from fewbits.eval.video_metrics import compare
from fewbits.eval.videos import Placed

ANCHORS = list(VIDEO_ANCHORS.values())
PLAIN = [VIDEO_ANCHORS[name] for name in ("x264", "x265", "svtav1")]


def ids(anchors):
    return [a.name for a in anchors]


def psnr_of(anchor, film, data):
    return compare(film, Placed(anchor.decode(data), film), ["psnr"])[0]["psnr"]


def test_the_names_of_the_plan_exist():
    assert set(VIDEO_ANCHORS) == {"x264", "x264-psnr", "x265", "x265-psnr", "svtav1", "svtav1-psnr"}


@pytest.mark.parametrize("anchor", ANCHORS, ids=ids(ANCHORS))
def test_the_spread_has_five_settings_or_more_in_range(anchor):
    assert len(set(anchor.settings)) >= 5
    assert min(anchor.settings) >= anchor.low and max(anchor.settings) <= anchor.high


@pytest.mark.parametrize("anchor", ANCHORS, ids=ids(ANCHORS))
def test_higher_settings_give_smaller_files_and_worse_films(anchor, make_film):
    film = make_film(64, 48)
    files = [anchor.encode(film, setting) for setting in (anchor.low + 9, 35, anchor.high)]
    sizes, quality = [len(data) for data in files], [psnr_of(anchor, film, data) for data in files]
    assert sizes[0] > sizes[1] > sizes[2]
    assert quality[0] > quality[1] > quality[2] and quality[0] > 27


@pytest.mark.parametrize("anchor", PLAIN, ids=ids(PLAIN))
@pytest.mark.parametrize("size, count", [((48, 34), 8), ((37, 25), 8), ((161, 18), 1), ((1, 1), 2), ((70, 81), 3)])
def test_every_size_comes_back(anchor, size, count, make_film):
    film = make_film(*size, count)
    decoded = anchor.decode(anchor.encode(film, 15))
    assert (decoded.width, decoded.height) == tuple(max(side + side % 2, anchor.smallest) for side in size)
    values, exact = compare(film, Placed(decoded, film), ["psnr"])
    assert values["psnr"] > 25 and not exact


@pytest.mark.parametrize("anchor", PLAIN, ids=ids(PLAIN))
@pytest.mark.parametrize("colour", [Colour("bt709"), Colour("bt2020", True)], ids=str)
def test_the_file_tells_the_colour_of_the_source(anchor, colour, make_film):
    film = make_film(colour=colour)
    decoded = anchor.decode(anchor.encode(film, 12))
    assert decoded.colour == colour
    assert compare(film, Placed(decoded, film), ["psnr"])[0]["psnr"] > 27


def test_planes_come_back_where_the_encoder_loses_nothing(make_film):
    film = make_film()
    decoded = VIDEO_ANCHORS["x264"].decode(VIDEO_ANCHORS["x264"].encode(film, 0))
    for given, got in zip(film.frames(), decoded.frames(), strict=True):
        for a, b in zip(to_planes(given, film.colour), to_planes(got, film.colour), strict=True):
            assert np.mean(a != b) < 0.01


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(10)])
def test_rates_of_films_are_kept_where_the_stream_has_a_place_for_them(rate, make_film):
    film = Video(make_film().samples, rate)
    assert [a.decode(a.encode(film, 40)).rate for a in PLAIN] == [rate, rate, 25]


@pytest.mark.parametrize("anchor", PLAIN[:2], ids=ids(PLAIN[:2]))
def test_files_hold_no_messages(anchor, make_film):
    data = anchor.encode(make_film(), 30)
    assert b"options" not in data and b"crf" not in data


def test_files_hold_the_packets_alone(make_film):
    for anchor in PLAIN:
        data = anchor.encode(make_film(), 30)
        with av.open(io.BytesIO(data)) as file:
            assert sum(packet.size for packet in file.demux()) == pytest.approx(len(data), abs=8)


def test_frames_are_not_cut_into_slices(make_film):
    """As x264 does where threads share a frame: then the file depends on the processor by a tenth."""
    data = VIDEO_ANCHORS["x264"].encode(make_film(128, 128, 3), 30)
    assert sum(data.count(b"\0\0\1" + bytes([kind])) for kind in (0x65, 0x41, 0x01, 0x61)) == 3


def test_films_are_read_frame_by_frame(make_film, monkeypatch):
    film, given = make_film(count=40), []
    whole = film.frames
    monkeypatch.setattr(film, "frames", lambda: (given.append(number) or frame for number, frame in enumerate(whole())))
    VIDEO_ANCHORS["x264"].encode(film, 40)
    assert given == list(range(40))


def test_what_the_encoder_refuses_ends_in_a_sentence(make_film):
    film = Video(np.zeros((1, 1, 20000, 3), np.uint8), Fraction(25))
    with pytest.raises(InputError, match="x264 cannot code a film of 20000 x 1 pixels and 25 frames a second"):
        VIDEO_ANCHORS["x264"].encode(film, 30)
