"""What the app does for a visitor, without the page."""

import threading
from pathlib import Path

import numpy as np
import pytest

from fewbits.apps import samples
from fewbits.apps.gui import coding, contest, markup
from fewbits.apps.gui.desk import Desk, Desks, StoppedError
from fewbits.apps.gui.server import warm_up
from fewbits.codecs import files
from fewbits.codecs.codec import Target, no_progress
from fewbits.codecs.files import Part
from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio
from fewbits.errors import InputError


@pytest.fixture
def stream(hyperprior_weights: Path, smooth_png: Path, tmp_path: Path) -> Path:
    """A `.fwb` file of a small picture."""
    return coding.compress(smooth_png, "hyperprior", Target(quality=60), tmp_path).stream


def test_what_is_shown_is_decoded_from_the_file_that_is_offered(stream, smooth_png, tmp_path):
    done = coding.compress(smooth_png, "hyperprior", Target(quality=60), tmp_path)
    shown = Image.open(done.preview.pictures[1])
    assert np.array_equal(shown.pixels, files.decode(done.stream.read_bytes()).image.pixels)
    assert np.array_equal(Image.open(done.preview.pictures[0]).pixels, Image.open(smooth_png).pixels)
    assert dict(done.facts)["file"] == f"{done.stream.stat().st_size:,} bytes"
    assert dict(done.facts)["PSNR"].endswith(" dB")


def test_a_sound_becomes_players_and_spectrograms(stored_sound, tmp_path):
    source = tmp_path / "tone.wav"
    Audio(np.sin(np.arange(48000) / 20, dtype=np.float32)[None] / 2, 16000).save(source)
    done = coding.compress(source, "speech", Target(quality=100), tmp_path)
    assert [Audio.open(file).count for file in done.preview.sounds] == [48000, 48000]
    assert len(done.preview.pictures) == 2
    harmed = coding.harm(done.stream, "erase", 0.3, 0, tmp_path)
    assert dict(harmed.facts)["damaged sections"] == "1 of 3"
    assert "1 of 3 sections" in harmed.sentence


def test_a_film_becomes_players(stored_film, film, moving, tmp_path):
    source = tmp_path / "moving.mkv"
    source.write_bytes(film(moving()))
    done = coding.compress(source, "stored", Target(), tmp_path)
    assert [file.suffix for file in done.preview.films] == [".mp4", ".mp4"]
    assert dict(done.facts)["every sample"] == "as it was"


def test_what_is_too_large_for_the_page_is_a_sentence(smooth_png, tmp_path, monkeypatch):
    monkeypatch.setattr("fewbits.apps.gui.limits.PIXELS", 100)
    with pytest.raises(InputError, match="more than the limit of 100"):
        coding.compress(smooth_png, "hyperprior", Target(), tmp_path)


def test_a_finished_file_belongs_in_another_tab(stream, tmp_path):
    with pytest.raises(InputError, match=r"smooth\.fwb is a \.fwb file: drop it in the tab Open"):
        coding.compress(stream, "hyperprior", Target(), tmp_path)


def test_a_file_is_taken_apart(stream, tmp_path):
    found = coding.take_apart(stream, tmp_path)
    assert sum(part.size for part in found.parts) == stream.stat().st_size
    assert dict(found.facts)["codec"] == "hyperprior (hierarchical)"
    assert len(found.preview.pictures) == 2
    assert "Bits per pixel" in found.heat


def test_nothing_survives_in_a_single_section(stream, tmp_path):
    harmed = coding.harm(stream, "flip", 0.5, 1, tmp_path)
    assert harmed.preview is None
    assert "checksum is wrong" in harmed.sentence
    assert harmed.stream.read_bytes() != stream.read_bytes()


def test_what_is_lost_can_be_guessed(tmp_path):
    done = coding.compress(samples.path(samples.TOWER), "vqextreme", Target(quality=75), tmp_path)
    blank, guessed = (coding.harm(done.stream, "erase", 0.2, 0, tmp_path, guess=guess) for guess in (False, True))
    assert dict(blank.facts)["damaged sections"] == "1 of 5"
    assert dict(guessed.facts)["damaged sections"] == "1 of 5, what they held is guessed"
    assert float(dict(guessed.facts)["MS-SSIM"]) > float(dict(blank.facts)["MS-SSIM"])


def test_codecs_are_compared_at_one_size(hyperprior_weights, tmp_path):
    names, chosen, size = contest.choices(samples.path(samples.TOWER))
    assert {"hyperprior", "jpeg", "png"} <= set(names)
    assert chosen == ["hyperprior", "jpeg", "webp", "avif", "jxl"]
    assert size == 377 * 600 // 16
    picture = tmp_path / "part.png"
    Image(np.ascontiguousarray(samples.photo(samples.TOWER).pixels[:192, :192])).save(picture)
    made = contest.compare(picture, ["hyperprior", "jpeg"], 3000, 1, True, tmp_path)
    assert [words.partition(":")[0] for _, words in made.shown] == ["source", "hyperprior", "jpeg"]
    assert [row[0] for row in made.table[1:]] == ["hyperprior", "jpeg"] * 3
    assert made.plot.startswith("<svg")
    assert all(abs(int(row[1]) - 3000) < 300 for row in made.table[3:5])


def test_a_new_codec_needs_no_change_here(stored_film):
    from fewbits.apps.gui import compress_tab

    assert ("stored (stored, lossless)", "stored") in compress_tab._codecs("video")


def test_files_stay_until_the_next_result(tmp_path):
    desk = Desk(tmp_path)
    places = []
    for _ in range(3):
        with desk.work(no_progress, 10) as (folder, _):
            (folder / "x").touch()
        places.append(folder)
    assert [place.exists() for place in places] == [False, False, True]
    with pytest.raises(InputError), desk.work(no_progress, 10) as (folder, _):
        raise InputError("No.")
    assert list(tmp_path.iterdir()) == [places[2]]
    desk.clear()
    assert not list(tmp_path.iterdir())


def test_thewarm_up_lets_work_begin_even_where_it_fails(monkeypatch):
    monkeypatch.setattr(files, "encode", lambda media: 1 / 0)
    done = threading.Event()
    with pytest.raises(ZeroDivisionError):
        warm_up(done)
    assert done.is_set()


def test_stopping_ends_the_thread_that_works(tmp_path):
    desks = Desks(tmp_path)
    begun, ended = threading.Event(), []

    def work() -> None:
        try:
            with desks.of("somebody", "compress").work(no_progress, 60) as (_, progress):
                while True:
                    progress(0.5, "working")
                    begun.set()
        except StoppedError as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(10)
    desks.of("somebody else", "compress").stop()
    desks.of("somebody", "open").stop()
    assert thread.is_alive()
    desks.leave("somebody")
    thread.join(10)
    assert not thread.is_alive()
    assert len(ended) == 1
    assert not list(tmp_path.iterdir())


def test_work_that_takes_too_long_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="longer than 0 minutes"), Desk(tmp_path).work(no_progress, 0) as (_, progress):
        progress(0.1, "working")


def test_markup_escapes_what_comes_from_files():
    parts = [Part("<em>", 10), *(Part(f"section {n}", 10, n != 3) for n in range(100))]
    text = markup.anatomy(parts) + markup.facts([("<em>", "<script>")], ["<u>"])
    assert not [tag for tag in ("<em>", "<u>", "<script>") if tag in text]
    assert "section 3 (damaged)" in text
    assert "78 more sections" in text
