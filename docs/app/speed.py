"""How long `fewbits app` takes to answer, and the tab Compress to show a decoded photo of 768 x 512 after the click.

    python docs/app/speed.py [CLICKS]

Needs the extra `browser` and Debian's chromium. Every click is that of a new page; the first is the app's first work.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from screenshots import FLAGS, WIDE, page_of

from fewbits.apps import samples
from fewbits.eval.environment import cores

SIZE = (768, 512)


@contextmanager
def started() -> Iterator[tuple[str, float]]:
    """An app in a process of its own: its address, and the seconds until it answered."""
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "fewbits", "app", "--port", "0"], text=True,
                          stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            address = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line)))
            with urlopen(address) as answer:
                answer.read()
            yield address, time.perf_counter() - began
        finally:
            process.terminate()


def click(page: Page, photo: Path) -> float:
    """Seconds from the click until the browser has the decoded picture."""
    page.locator("input[type=file]").first.set_input_files(photo)
    page.get_by_text(photo.name, exact=False).first.wait_for()
    page.wait_for_timeout(1000)
    began = time.perf_counter()
    page.get_by_role("button", name="Compress", exact=True).click()
    picture = page.locator("img[src*='second.png']").last
    picture.wait_for()
    picture.evaluate("image => image.decode()")
    return time.perf_counter() - began


def main() -> None:
    """Prints the seconds."""
    clicks = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        photo = Path(folder) / "photo.png"
        Image.open(samples.path(samples.STILL)).convert("RGB").crop((0, 0, *SIZE)).save(photo)
        with (play.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS) as browser,
              started() as (address, seconds)):
            print(f"{cores()} cores, load of the machine {os.getloadavg()[0]:.1f}")
            print(f"the app answers after {seconds:.1f} s")
            for number in range(clicks):
                with page_of(browser, address, WIDE) as page:
                    print(f"click {number + 1}: decoded photo shown after {click(page, photo):.2f} s")


if __name__ == "__main__":
    main()
