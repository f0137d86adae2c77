"""Makes the pictures of the app in this folder: `python docs/app/screenshots.py`.

Needs the extra `browser` and Debian's chromium.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from fewbits import encode
from fewbits.apps import samples
from fewbits.apps.gui.server import serving

HERE = Path(__file__).parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
WIDE, NARROW = {"width": 1280, "height": 860}, {"width": 420, "height": 860}
PATIENCE = 240_000  # milliseconds
LIMIT = 150_000  # bytes


def large_photo(folder: Path) -> Path:
    """A file of fewbits with several sections: a picture of eight photos."""
    photo = np.asarray(Image.open(samples.path(samples.TOWER)).convert("RGB"))
    row = np.concatenate([photo, photo[:, ::-1], photo, photo[:, ::-1]], 1)
    stream = folder / "eight photos.fwb"
    stream.write_bytes(encode(np.concatenate([row, row[:, ::-1]]), quality=40))
    return stream


@contextmanager
def page_of(browser: Browser, address: str, viewport: dict[str, int], scheme: str = "light") -> Iterator[Page]:
    with browser.new_context(viewport=viewport, color_scheme=scheme) as context:
        page = context.new_page()
        page.goto(address)
        page.get_by_role("tab", name="Compress").wait_for()
        yield page


def tab(page: Page, name: str, file: Path | str, button: str, done: str) -> None:
    """Opens a tab, drops a file, clicks the button, and waits for what shows that the work is done."""
    page.get_by_role("tab", name=name, exact=True).click()
    panel = page.get_by_role("tabpanel").locator("visible=true").first
    panel.locator("input[type=file]").first.set_input_files(file)
    page.wait_for_timeout(2500)
    panel.get_by_role("button", name=button, exact=True).click()
    panel.locator(done).first.wait_for(timeout=PATIENCE)
    page.wait_for_timeout(2500)


def shoot(page: Page, name: str, whole: bool = True) -> None:
    place = HERE / f"{name}.png"
    page.screenshot(path=place, full_page=whole)
    shot = Image.open(place).convert("RGB")
    for colours in (256, 192, 128, 96, 64):
        shot.quantize(colours, kmeans=1, dither=Image.Dither.NONE).save(place, optimize=True)
        if place.stat().st_size <= LIMIT:
            break
    print(f"{place.name}: {place.stat().st_size:,} bytes")


def main() -> None:
    chromium = shutil.which("chromium")
    tower, voice = (samples.path(name) for name in (samples.TOWER, samples.VOICE))
    with (tempfile.TemporaryDirectory() as folder, serving() as address, sync_playwright() as play,
          play.chromium.launch(executable_path=chromium, args=FLAGS) as browser):
        stream = large_photo(Path(folder))
        with page_of(browser, address, WIDE) as page:
            tab(page, "Compress", tower, "Compress", "img")
            shoot(page, "compress")
            tab(page, "Open", stream, "Open", ".bar")
            shoot(page, "open")
            tab(page, "Damage", stream, "Damage", "img")
            shoot(page, "damage")
            tab(page, "Compare", tower, "Compare", ".fewbits svg")
            shoot(page, "compare")
        with page_of(browser, address, WIDE, "dark") as page:
            tab(page, "Compress", voice, "Compress", "audio, .facts dd")
            shoot(page, "sound-dark")
        with page_of(browser, address, NARROW) as page:
            tab(page, "Compress", tower, "Compress", "img")
            shoot(page, "narrow")


if __name__ == "__main__":
    main()
