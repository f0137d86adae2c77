"""The most memory that encoding and decoding take, for each codec and media of several sizes, beside its bound.

    python docs/memory.py [--budget SECONDS] [CODEC ...]

Each figure is the peak of the resident memory of a process of its own (VmHWM, Linux alone), libraries included, in
10^6 bytes; seconds are those of the process. What would take longer than the budget is not measured, and is said to be
so. The exit code is 1 where a bound is broken. docs/memory.md has the tables.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from fewbits.apps import samples
from fewbits.codecs import registry
from fewbits.codecs.film import Video
from fewbits.codecs.image.overfit.fitting import MAX_PIXELS
from fewbits.codecs.image_set import ImageSet
from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio

FILM = (25, 80, 160)  # frames a second, height, width
OVER = ", **over its bound**"
SIDE = 28  # of the images of a set
WEIGHTS = {"compressai": Path(__file__).parents[1] / "tests" / "golden" / "compressai-1.safetensors"}


@dataclass(frozen=True)
class Bound:
    """What a codec may take: megabytes whatever the size, and bytes for each pixel of a picture or set on top. It
    encodes no picture of more pixels than `most`."""

    base: int
    encode: int = 0
    decode: int = 0
    most: int | None = None

    def megabytes(self, direction: str, pixels: int) -> float:
        """Of encoding or decoding so many pixels, or a sound or film of any length."""
        return self.base + getattr(self, direction) * pixels / 1e6


BOUNDS = {
    "hyperprior": Bound(1400, 10, 10),
    "overfit": Bound(500, 200, 10, most=MAX_PIXELS),
    "circuit": Bound(500, 10, 10),
    "circuit-tree": Bound(400, 6, 6),
    "speech": Bound(900),
    "sound": Bound(900),
    "speech-vq": Bound(900),
    "speech-live": Bound(900),
    "nerv": Bound(1200),
    "hnerv": Bound(1200),
    "nerv++": Bound(1200),
    "nirvana": Bound(1200),
    "compressai": Bound(1400, 10, 10),
    "mcq": Bound(1400, 10, 10),
    "vqextreme": Bound(1400, 10, 10),
}

COMMAND = """
import resource, sys
from pathlib import Path
from fewbits.apps.cli.main import app

resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[1]), int(sys.argv[1])))
app(sys.argv[2:], standalone_mode=False)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(peak.split()[1], file=sys.stderr)
"""


def photo(pixels: int, path: Path) -> Path:
    """Writes a photo, repeated until it has so many pixels."""
    tile, height = samples.photo(samples.TOWER).pixels, round((pixels / 1.5) ** 0.5)
    width = round(pixels / height)
    repeated = np.tile(tile, (-(-height // tile.shape[0]), -(-width // tile.shape[1]), 1))[:height, :width]
    Image(np.ascontiguousarray(repeated)).save(path.with_suffix(".tif"))
    return path.with_suffix(".tif")


def image_set(pixels: int, path: Path) -> Path:
    """Writes images of 28 x 28 with a disc each, so many pixels in all."""
    numbers, rows, columns = np.ogrid[: pixels // SIDE**2, :SIDE, :SIDE]
    inside = (rows - 10 - numbers % 7) ** 2 + (columns - 10 - numbers % 5) ** 2 < 30 + numbers % 11
    ImageSet((inside * np.uint8(255))[..., None]).save(path.with_suffix(".idx"))
    return path.with_suffix(".idx")


def voice(seconds: int, path: Path) -> Path:
    """Writes a voice, repeated for so long."""
    heard = samples.sound(samples.VOICE)
    Audio(np.resize(heard.samples[0], seconds * heard.rate)[None], heard.rate).save(path.with_suffix(".wav"))
    return path.with_suffix(".wav")


def film(seconds: int, path: Path) -> Path:
    """Writes a film of a disc that moves over a slope."""
    rate, height, width = FILM
    rows, columns = np.mgrid[:height, :width]
    slope = np.stack([columns % 256, rows, 60 + (rows + columns) // 4], -1).astype(np.uint8)
    places = width / 2 * (1 + 0.6 * np.sin(np.arange(2 * rate) * np.pi / rate))
    discs = [np.where((np.hypot(rows - height / 2, columns - place) < height / 4)[..., None], np.uint8(235), slope)
             for place in places]
    Video(np.resize(np.stack(discs), (seconds * rate, height, width, 3)), Fraction(rate)).save(path.with_suffix(".mkv"))
    return path.with_suffix(".mkv")


PIXELS = (100_000, 1_000_000, 12_000_000, 100_000_000)
MEDIA = {"image": (photo, PIXELS, "pixels"), "images": (image_set, PIXELS, "pixels in all"),
         "audio": (voice, (60, 600, 3600), "s of sound"), "video": (film, (1, 10, 60, 600), "s of film")}


class Direction:
    """Encoding or decoding by one codec, size after size.

    Args:
        name: "encode" or "decode".
        budget: seconds that a size may take.
    """

    def __init__(self, name: str, bound: Bound, budget: float) -> None:
        self.name, self.bound, self.budget = name, bound, budget
        self._seconds: list[tuple[int, float]] = []

    def cell(self, size: int, arguments: list[str]) -> str:
        """Measures a size, or says why not."""
        bound = self.bound.megabytes(self.name, size)
        try:
            megabytes, seconds = peak([self.name, *arguments], bound, self.budget)
        except subprocess.TimeoutExpired:
            self._seconds.append((size, self.budget))
            return f"not measured: takes more than {self.budget:.0f} s"
        self._seconds.append((size, seconds))
        return f"{megabytes:.0f} of {bound:.0f} MB{OVER if megabytes > bound else ''}, {seconds:.1f} s"

    def expected(self, size: int) -> float:
        """Seconds that a size will take, along the line through the last two; 0 where there are not two."""
        if len(self._seconds) < 2:
            return 0.0
        (before, least), (last, most) = self._seconds[-2:]
        return most + (most - least) * (size - last) / (last - before)


def peak(arguments: list[str], bound: float, seconds: float) -> tuple[float, float]:
    """Megabytes and seconds of a command of fewbits, which ends where it asks for twice its bound.

    Raises:
        subprocess.TimeoutExpired: after so many seconds.
        RuntimeError: if it fails.
    """
    began, command = time.perf_counter(), [sys.executable, "-c", COMMAND, str(int(2e6 * bound)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed: {done.stderr.strip().splitlines()[-1]}")
    return int(done.stderr.split()[-1]) * 1024 / 1e6, time.perf_counter() - began


def rule(codec: str) -> str:
    """The line of a codec in the table of bounds."""
    bound = BOUNDS[codec]
    return f"| {codec} | {bound.base:,} | {bound.encode} | {bound.decode} |"


def rows(codec: str, folder: Path, budget: float) -> Iterator[str]:
    """A line of the table of figures for each size."""
    entry, bound = registry.entry(codec), BOUNDS[codec]
    make, sizes, unit = MEDIA[entry.kind]
    encoding, decoding = (Direction(name, bound, budget) for name in ("encode", "decode"))
    weights = ["--weights", str(WEIGHTS[codec])] if entry.takes_weights else []
    effort = ["--effort", "1"] if entry.family in ("overfitted", "circuit") else []
    coded = folder / f"{codec}.fwb"
    for size in sizes:
        if bound.most and size > bound.most:
            yield f"| {codec} | {size:,} {unit} | refused: more than {bound.most:,} | |"
            continue
        if encoding.expected(size) > budget:
            yield f"| {codec} | {size:,} {unit} | not measured: takes {encoding.expected(size):.0f} s or more | |"
            continue
        media = make(size, folder / "media")
        coded.unlink(missing_ok=True)
        options = ["-y", *weights]
        encoded = encoding.cell(size, [str(media), "-o", str(coded), "--codec", codec, *effort, *options])
        decoded = decoding.cell(size, [str(coded), "-o", str(media), *options]) if coded.exists() else ""
        yield f"| {codec} | {size:,} {unit} | {encoded} | {decoded} |"


def main() -> int:
    """Prints the bounds, and what is measured, line by line. Returns 1 where a bound is broken, else 0."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--budget", type=float, default=300, help="seconds that an encoding or a decoding may take")
    parser.add_argument("codecs", nargs="*", metavar="CODEC")
    given = parser.parse_args()
    codecs, broken = given.codecs or list(BOUNDS), False
    print("| codec | MB | bytes a pixel, encode | decode |\n|---|---|---|---|", *map(rule, codecs), sep="\n")
    print("\n| codec | size | encode | decode |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for codec in codecs:
            for row in rows(codec, Path(folder), given.budget):
                print(row, flush=True)
                broken |= OVER in row
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
