"""The demonstration: one photo through every codec, with classical codecs at about the same size beside each file."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.table import Table

from fewbits.apps import samples
from fewbits.apps.cli.paths import whole_or_absent
from fewbits.codecs import files, registry
from fewbits.codecs.codec import Progress, Target, no_progress
from fewbits.codecs.media import Image
from fewbits.eval import metrics
from fewbits.eval.anchors import ANCHORS, Anchor
from fewbits.eval.matched import nearest_in_size

QUALITIES = (10, 40, 70)
EFFORT = 2  # seconds for a codec that fits itself to the picture
RIVALS = ("jpeg", "webp", "avif")
LOSSLESS_RIVALS = ("png", "webp-lossless", "jxl-lossless")


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
        For each codec and setting: the row of its file, then those of the classical codecs.

    Raises:
        InputError: if the photo is missing. WeightsError: if the weights of a codec are missing.
    """
    original = samples.photo(samples.TOWER)
    with whole_or_absent(output / "original.png", overwrite=True) as temporary:
        original.save(temporary)
    entries = [registry.entry(name) for name in registry.names("image")]
    points = [(entry, setting) for entry in entries for setting in settings_of(entry)]
    for number, (entry, setting) in enumerate(points):
        progress(number / len(points), f"{entry.name}, {'effort' if entry.lossless else 'quality'} {setting}")
        if setting == settings_of(entry)[0]:
            # This loads weights and compiles kernels.
            files.decode(files.encode(original, entry.name, _target(entry, setting, 1)).data)
        row = _neural(original, entry, setting, output)
        rivals = LOSSLESS_RIVALS if entry.lossless else RIVALS
        beside = f"{entry.name}-{setting}"
        yield [row] + [_rival(original, ANCHORS[rival], row.size, output, beside) for rival in rivals]


def settings_of(entry: registry.Entry) -> tuple[int, ...]:
    """Qualities that are shown of a codec; of a lossless one, the effort."""
    return (EFFORT,) if entry.lossless else QUALITIES


def _target(entry: registry.Entry, setting: int, effort: int) -> Target:
    return Target(effort=effort) if entry.lossless else Target(quality=setting, effort=effort)


def _neural(original: Image, entry: registry.Entry, setting: int, output: Path) -> Row:
    name = entry.name
    began = time.perf_counter()
    data = files.encode(original, name, _target(entry, setting, EFFORT)).data
    encode_s = time.perf_counter() - began
    path = output / f"{name}-{setting}.fwb"
    with whole_or_absent(path, overwrite=True) as temporary:
        temporary.write_bytes(data)
    began = time.perf_counter()
    decoded = files.decode(path.read_bytes()).image
    decode_s = time.perf_counter() - began
    with whole_or_absent(path.with_suffix(".png"), overwrite=True) as temporary:
        decoded.save(temporary)
    return _row(original, decoded, name, setting, len(data), encode_s, decode_s)


def _rival(original: Image, anchor: Anchor, size: int, output: Path, beside: str) -> Row:
    setting, data, encode_s = nearest_in_size(partial(anchor.encode, original), size, anchor.low, anchor.high)
    path = output / f"{beside}-{anchor.name}{anchor.suffix}"
    with whole_or_absent(path, overwrite=True) as temporary:
        temporary.write_bytes(data)
    began = time.perf_counter()
    decoded = anchor.decode(path.read_bytes())
    decode_s = time.perf_counter() - began
    return _row(original, decoded, anchor.name, setting, len(data), encode_s, decode_s)


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
