"""The page of the app, through its endpoints."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image as PillowImage

from fewbits.apps import samples
from fewbits.apps.gui import coding
from fewbits.apps.gui.server import serving
from fewbits.codecs import files

SMALL = ("hyperprior", "quality", 50, 1000, 1)  # what is asked for beside the source


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture
def client(address: str, tmp_path: Path) -> Client:
    return Client(address, verbose=False, download_files=tmp_path / "downloads")


@pytest.fixture
def stream(client: Client, smooth_png: Path, hyperprior_weights: Path) -> Path:
    """A file that the page made."""
    return Path(client.predict(handle_file(smooth_png), *SMALL, api_name="/compress")[1]["value"])


def test_the_page_names_nothing_elsewhere(address):
    page = httpx.get(address).text
    fetched = re.findall(r'<(?:script|link|img|iframe)[^>]*?(?:src|href)="(https?://[^"]*)"', page)
    assert not [url for url in fetched if not url.startswith(address)]
    assert "fonts.googleapis" not in page


def test_compress(client, smooth_png, hyperprior_weights):
    facts, file, slider, *_ = client.predict(handle_file(smooth_png), *SMALL, api_name="/compress")
    data = Path(file["value"]).read_bytes()
    assert f"{len(data):,} bytes" in facts
    shown = np.asarray(PillowImage.open(slider["value"][1]))
    assert np.array_equal(shown, files.decode(data).image.pixels)


def test_compress_to_a_size(client, smooth_png, hyperprior_weights):
    made = client.predict(handle_file(smooth_png), "hyperprior", "size", 50, 400, 1, api_name="/compress")
    assert Path(made[1]["value"]).stat().st_size <= 400


def test_open(client, stream):
    facts, anatomy, heat, slider, *_ = client.predict(handle_file(stream), api_name="/open")
    assert "hyperprior" in facts
    assert "section 1" in anatomy
    assert "Bits per pixel" in heat
    assert slider["visible"]


def test_damage(client, stream):
    facts, file, *_ = client.predict(handle_file(stream), "flip", 10, 0, api_name="/damage")
    assert "checksum is wrong" in facts
    assert Path(file["value"]).read_bytes() != stream.read_bytes()


def test_compare(client, smooth_png, hyperprior_weights):
    gallery, *_, plot, table = client.predict(handle_file(smooth_png), ["hyperprior", "jpeg"], 600, 1, False,
                                              api_name="/compare")
    assert [item["caption"].partition(":")[0] for item in gallery] == ["source", "hyperprior", "jpeg"]
    assert "<svg" in plot
    assert [row[0] for row in table["value"]["data"]] == ["hyperprior", "jpeg"]


def test_an_error_is_a_sentence_without_folders_or_trace(client, tmp_path):
    text = tmp_path / "notes.png"
    text.write_text("not a picture")
    with pytest.raises(AppError, match=r"^notes\.png is not a picture that can be read here\.$"):
        client.predict(handle_file(text), *SMALL, api_name="/compress")
    with pytest.raises(AppError, match=r"This is not a \.fwb file"):
        client.predict(handle_file(text), api_name="/open")
    with pytest.raises(AppError, match="Drop a picture, a sound or a film first"):
        client.predict(None, *SMALL, api_name="/compress")


def test_a_fault_of_ours_shows_no_trace(client, smooth_png, monkeypatch):
    monkeypatch.setattr(coding, "compress", lambda *arguments: 1 // 0)
    with pytest.raises(AppError, match="fault of fewbits"):
        client.predict(handle_file(smooth_png), *SMALL, api_name="/compress")


def test_two_visitors_get_their_own_results(address, tmp_path, hyperprior_weights):
    pictures = [tmp_path / "red.png", tmp_path / "blue.png"]
    for path, colour in zip(pictures, ((200, 30, 30), (30, 30, 200)), strict=True):
        PillowImage.new("RGB", (64, 48), colour).save(path)
    visitors = [Client(address, verbose=False, download_files=tmp_path / path.stem) for path in pictures]
    jobs = [visitor.submit(handle_file(path), *SMALL, api_name="/compress")
            for visitor, path in zip(visitors, pictures, strict=True)]
    means = [np.asarray(PillowImage.open(job.result()[2]["value"][1])).mean((0, 1)) for job in jobs]
    assert means[0][0] > 150 > 100 > means[0][2]
    assert means[1][2] > 150 > 100 > means[1][0]


def test_cancel_ends_the_work(client, smooth_png, monkeypatch):
    begun, ended = threading.Event(), threading.Event()

    def endless(source, codec, target, folder, progress):
        try:
            while True:
                progress(0.5, "working")
                begun.set()
                time.sleep(0.01)
        finally:
            ended.set()

    monkeypatch.setattr(coding, "compress", endless)
    job = client.submit(handle_file(smooth_png), *SMALL, api_name="/compress")
    assert begun.wait(20)
    client.predict(api_name="/compress_stop")
    assert ended.wait(10)
    assert job.result()[0]["__type__"] == "update"  # nothing changes on the page


def test_a_voice(client, stored_sound, tmp_path):
    made = client.predict(handle_file(samples.path("media_assets/audio/audio_sample.wav")), "speech", "quality", 50,
                          1000, 1, api_name="/compress")
    assert [player["visible"] for player in made[-2:]] == [True, True]


def test_nothing_is_left_when_the_app_ends(tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    with serving() as address:
        assert httpx.get(address).status_code == 200
        assert set(tmp_path.iterdir()) != before
    assert set(tmp_path.iterdir()) == before
