"""The app in a browser, as a process of its own."""

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from fewbits.apps import samples

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
PATIENCE = 120_000  # milliseconds


@dataclass(frozen=True)
class App:
    """A running app: its address, its process, and the folder for its temporary files."""

    address: str
    pid: int
    folder: Path

    @property
    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024

    @property
    def files(self) -> list[Path]:
        return [file for file in self.folder.rglob("*") if file.is_file()]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("app")
    surroundings = os.environ | {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-m", "fewbits", "app", "--port", "0"], env=surroundings, text=True,
                          stdout=subprocess.PIPE) as process:
        said = (process.stdout.readline(), process.stdout.readline())
        yield App(re.search(r"http://\S+", said[1])[0], process.pid, folder)
        process.terminate()
        process.wait(60)
    assert not list(folder.iterdir())


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra fewbits[browser]")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("this machine has no chromium")
    with sync_api.sync_playwright() as play, play.chromium.launch(executable_path=chromium, args=FLAGS) as browser:
        yield browser


@pytest.fixture
def page(app, browser):
    with browser.new_context() as context:
        page = opened(context, app)
        page.requested = []
        page.on("request", lambda request: page.requested.append(request.url))
        page.reload()
        yield page


def opened(context, app):
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(app.address)
    page.get_by_role("tab", name="Compress").wait_for()
    return page


def drop(page, file):
    page.locator("input[type=file]").first.set_input_files(file)
    page.get_by_text(file.name, exact=False).first.wait_for()


def shown(page) -> np.ndarray:
    """Pixels of the decoded picture that the page shows."""
    page.get_by_role("button", name=re.compile(r"Download .*\.fwb \(")).wait_for()
    picture = page.locator("img[src*='second.png']").last
    picture.wait_for()
    return pixels(page.request.get(picture.get_attribute("src")).body())


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(PillowImage.open(io.BytesIO(data)).convert("RGB"))


def test_what_the_page_shows_is_what_the_command_line_decodes(page, app, tmp_path):
    drop(page, samples.path(samples.TOWER))
    page.get_by_role("button", name="Compress", exact=True).click()
    seen = shown(page)
    with page.expect_download() as download:
        page.get_by_role("button", name=re.compile("Download tower")).click()
    stream = tmp_path / "tower.fwb"
    download.value.save_as(stream)
    subprocess.run([sys.executable, "-m", "fewbits", "decode", stream], check=True, cwd=tmp_path,
                   env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert np.array_equal(seen, pixels((tmp_path / "tower.png").read_bytes()))
    assert not [url for url in page.requested if not url.startswith((app.address, "data:", "blob:"))]


def test_an_error_shows_its_sentence(page, tmp_path):
    wrong = tmp_path / "wrong.png"
    wrong.write_text("not a picture")
    drop(page, wrong)
    page.get_by_role("button", name="Compress", exact=True).click()
    page.get_by_text("wrong.png is not a picture that can be read here.").first.wait_for()
    assert "Traceback" not in page.content()


def test_two_visitors_at_once_get_their_own_results(app, browser, tmp_path):
    colours = ((200, 30, 30), (30, 30, 200))
    with browser.new_context() as first, browser.new_context() as second:
        pages = [opened(context, app) for context in (first, second)]
        for number, (page, colour) in enumerate(zip(pages, colours, strict=True)):
            picture = tmp_path / f"{number}.png"
            PillowImage.new("RGB", (768, 512), colour).save(picture)
            drop(page, picture)
        for page in pages:
            page.get_by_role("button", name="Compress", exact=True).click()
        for page, colour in zip(pages, colours, strict=True):
            assert np.abs(shown(page).mean((0, 1)) - colour).max() < 10


def test_cancel_stops_the_work(page):
    drop(page, samples.path(samples.TOWER))
    page.get_by_label("Codec").click()
    page.get_by_role("option", name=re.compile("overfit")).click()
    page.get_by_label("number input for Effort").fill("9")
    page.get_by_role("button", name="Compress", exact=True).click()
    page.get_by_text(re.compile(r"- \d+(\.\d+)?%")).first.wait_for()  # the codec's own progress
    page.get_by_role("button", name="Cancel", exact=True).locator("visible=true").click()
    page.get_by_text("Stopped.").first.wait_for()
    page.get_by_label("Codec").click()
    page.get_by_role("option", name=re.compile("hyperprior")).click()
    page.get_by_role("button", name="Compress", exact=True).click()
    assert shown(page).shape == (600, 377, 3)


def test_a_finished_file_goes_to_the_other_tabs(page):
    drop(page, samples.path(samples.TOWER))
    page.get_by_role("button", name="Compress", exact=True).click()
    page.get_by_role("button", name="Take it apart").click()
    page.get_by_text("tower.fwb").locator("visible=true").first.wait_for()
    page.get_by_role("button", name="Open", exact=True).click()
    page.get_by_text("identity of the weights").wait_for()


def test_memory_and_files_stay_as_they_are(app):
    import httpx
    from gradio_client import Client

    visitor = Client(app.address, verbose=False, download_files=False)
    picture = io.BytesIO()
    PillowImage.open(samples.path(samples.STILL)).crop((0, 0, 768, 512)).save(picture, "PNG")
    upload = httpx.post(f"{app.address}gradio_api/upload", files={"files": ("photo.png", picture.getvalue())})
    source = {"path": upload.json()[0], "meta": {"_type": "gradio.FileData"}}
    memory, files = 0, 0
    for number in range(55):
        visitor.predict(source, "hyperprior", "quality", number, 1000, 2, api_name="/compress")
        if number == 4:  # allocators have what they need
            memory, files = app.memory, len(app.files)
    print(f"memory {memory / 1e6:.0f} MB before, {app.memory / 1e6:.0f} MB after 50; files {files}, {len(app.files)}")
    assert abs(app.memory - memory) < 150e6
    assert len(app.files) == files
