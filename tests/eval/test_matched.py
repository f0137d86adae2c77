"""Codecs that are brought to one size."""

import pytest

from fewbits.codecs.film import Video
from fewbits.eval.matched import entries, nearest_in_size


def test_the_nearest_of_all_settings_is_found():
    setting, data, _ = nearest_in_size(lambda setting: bytes(10 * setting), 333, 1, 100)
    assert (setting, len(data)) == (33, 330)


def test_pictures_come_near_to_the_sizes(make_picture):
    found = list(entries(make_picture(176, 192), ["jpeg", "webp", "png"], [9000, 5000], 1))
    records = [entry.record for entry in found]
    assert [(r["codec"], r["setting"]) for r in records] == [
        ("jpeg", 9000), ("jpeg", 5000), ("webp", 9000), ("webp", 5000), ("png", 9000)]
    assert all(r["bytes"] == pytest.approx(r["setting"], rel=0.1) for r in records if r["codec"] != "png")
    assert records[-1]["exact"]
    assert all(r["bpp"] == pytest.approx(8 * r["bytes"] / 176 / 192) for r in records)


def test_sounds_come_near_to_the_size(make_sound):
    sound = make_sound(2)
    entry, = entries(sound, ["opus"], [4000], 1)
    assert entry.record["bytes"] == pytest.approx(4000, rel=0.15)
    assert entry.decoded.samples.shape == sound.samples.shape
    assert entry.record["metrics"]["mel"] > 0


def test_films_come_near_to_the_size(make_film):
    film: Video = make_film()
    entry, = entries(film, ["x264"], [3000], 1)
    assert entry.record["bytes"] == pytest.approx(3000, rel=0.15)
    assert entry.decoded.samples.shape == film.samples.shape
