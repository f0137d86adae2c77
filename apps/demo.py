"""The demonstration: one photo through every codec, with classical codecs at about the same size beside each file."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from fewbits.apps import photos
from fewbits.codecs import files, registry, search
from fewbits.codecs.codec import Progress, Target, no_progress
from fewbits.codecs.media import Image
from fewbits.eval import metrics
from fewbits.eval.anchors import ANCHORS, Anchor

QUALITIES = (10, 40, 70)
EFFORT = 2  # seconds for a codec that fits itself to the picture
RIVALS = ("jpeg", "webp", "avif")


@dataclass(frozen=True)
class Row:
    """One file that was written, read and decoded.

    Attributes:
        codec, setting: what made it.
        size: bytes of the file.
        bits_per_pixel: size in bits over pixels.
        psnr: dB over RGB.
        encode_s, decode_s: seconds, with everything loaded.
    """

    codec: str
    setting: int
    size: int
    bits_per_pixel: float
    psnr: float
    encode_s: float
    decode_s: float


def run(output: Path, progress: Progress = no_progress) -> Iterator[list[Row]]:
    """Writes the files of the demonstration to `output`.

    Yields:
        For each codec and quality: the row of its file, then those of the classical codecs.

    Raises:
        InputError: if the photo is missing. WeightsError: if the weights of a codec are missing.
    """
    original = photos.photo(photos.TOWER)
    output.mkdir(parents=True, exist_ok=True)
    original.save(output / "original.png")
    points = [(name, quality) for name in registry.names() for quality in QUALITIES]
    for number, (name, quality) in enumerate(points):
        progress(number / len(points), f"{name}, quality {quality}")
        if quality == QUALITIES[0]:
            # This loads weights and compiles kernels.
            files.decode(files.encode(original, name, Target(quality=quality, effort=1)).data)
        row = _neural(original, name, quality, output)
        yield [row] + [_rival(original, ANCHORS[rival], row.size, output, f"{name}-{quality}") for rival in RIVALS]


def _neural(original: Image, name: str, quality: int, output: Path) -> Row:
    began = time.perf_counter()
    data = files.encode(original, name, Target(quality=quality, effort=EFFORT)).data
    encode_s = time.perf_counter() - began
    path = output / f"{name}-{quality}.fwb"
    path.write_bytes(data)
    began = time.perf_counter()
    decoded = files.decode(path.read_bytes()).media
    decode_s = time.perf_counter() - began
    decoded.save(path.with_suffix(".png"))
    return _row(original, decoded, name, quality, len(data), encode_s, decode_s)


def _rival(original: Image, anchor: Anchor, size: int, output: Path, beside: str) -> Row:
    setting, data, encode_s = nearest_in_size(original, anchor, size)
    path = output / f"{beside}-{anchor.name}{anchor.suffix}"
    path.write_bytes(data)
    began = time.perf_counter()
    decoded = anchor.decode(path.read_bytes())
    decode_s = time.perf_counter() - began
    return _row(original, decoded, anchor.name, setting, len(data), encode_s, decode_s)


def nearest_in_size(original: Image, anchor: Anchor, size: int) -> tuple[int, bytes, float]:
    """Setting, file and encoding seconds of the anchor's file whose size is nearest to `size` bytes."""
    tried: list[tuple[int, bytes, float]] = []

    def measure(setting: int) -> int:
        began = time.perf_counter()
        data = anchor.encode(original, setting)
        tried.append((setting, data, time.perf_counter() - began))
        return len(data)

    # the trials end with the two settings on both sides of the size
    search.highest_within(measure, size, anchor.low, anchor.high)
    return min(tried, key=lambda trial: abs(len(trial[1]) - size))


def _row(
    original: Image, decoded: Image, codec: str, setting: int, size: int, encode_s: float, decode_s: float
) -> Row:
    bits_per_pixel = size * 8 / (original.width * original.height)
    psnr = metrics.psnr(original.rgb(), decoded.rgb())
    return Row(codec, setting, size, bits_per_pixel, psnr, encode_s, decode_s)


def table(groups: list[list[Row]]) -> Table:
    """The rows for people to read."""
    result = Table(title="One photo, and classical codecs at about the same size")
    result.add_column("codec", no_wrap=True)
    for heading in ("setting", "bytes", "bpp", "PSNR dB", "encode s", "decode s"):
        result.add_column(heading, justify="right")
    for group in groups:
        for row in group:
            result.add_row(
                row.codec,
                str(row.setting),
                f"{row.size:,}",
                f"{row.bits_per_pixel:.3f}",
                f"{row.psnr:.2f}",
                f"{row.encode_s:.2f}",
                f"{row.decode_s:.2f}",
            )
        result.add_section()
    return result
