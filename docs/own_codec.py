"""A codec of one's own, explained in own_codec.md. Run as a script, this file is the command line of fewbits with it:

    python own_codec.py eval photos/ --codec cosine --codec jpeg --html report.html
"""

from collections.abc import Callable
from math import isqrt

import numpy as np
from scipy.fft import dctn, idctn

from fewbits.codecs import registry
from fewbits.codecs.codec import Codec, Progress, Stream, Target, no_progress
from fewbits.codecs.media import Image
from fewbits.codecs.search import highest_within
from fewbits.entropy.coder import Decoder, Encoder
from fewbits.entropy.container import Field, size_of_sections
from fewbits.entropy.laplace import laplace_tables
from fewbits.errors import DamagedError, InputError

SIDE = 8
EDGES = [isqrt(2**k) for k in range(2, 26)]  # between the contexts: 2, 2, 4, 5, 8, 11, 16 ...
TOO_SMALL = "cosine cannot make a file that small; this is its smallest."
TABLES = laplace_tables("0.06", 2, len(EDGES) + 1)  # as many Laplacians, each wider than the one before


class CosineCodec(Codec[Image]):
    """Blocks of 8 x 8 pixels to cosines; tables for one frequency follow from those that are known already."""

    name, kind, family, lossless, weights_id = "cosine", "image", "transform", False, b""

    def __init__(self, device: str = "cpu") -> None:
        pass

    def encode(self, media: Image, target: Target, progress: Progress = no_progress) -> Stream:
        if media.bits == 16 or media.channels in (2, 4) or target.psnr is not None:
            raise InputError("cosine codes grey and RGB of 8 bits, for a quality or a rate: convert, or aim otherwise.")
        cosines, quality = forward(media.pixels), 50 if target.quality is None else round(target.quality)
        if target.size is not None:
            quality = highest_within(lambda q: size_of_sections([len(coded(cosines, q)[1])]), target.size, 0, 100) or 0
        first, section, bits = coded(cosines, quality)
        missed = target.size is not None and size_of_sections([len(section)]) > target.size
        progress(1, "coded")
        return Stream({"quality": quality, "first": first}, [section], bits, (TOO_SMALL,) if missed else ())

    def decode(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> Image:
        section, channels = stream.sections[0], shape["channels"]
        if section is None or len(stream.sections) > 1 or channels not in (1, 3) or shape["bits"] != 8:
            raise DamagedError("The file does not have the one section of a picture that cosine can have made.")
        decoder, size = Decoder(section), [-(-shape[side] // SIDE) for side in ("height", "width")]
        levels = walk((SIDE, SIDE, channels, *size), stream.settings["first"], lambda _, t: decoder.decode(TABLES, t))
        decoder.finish()
        progress(1, "decoded")
        return Image(inverse(levels * step(stream.settings["quality"]))[: shape["height"], : shape["width"]])


def step(quality: int) -> float:
    """Of the quantiser: 256 at quality 0, 1 at 100."""
    return 256 ** (1 - quality / 100)


def forward(pixels: np.ndarray) -> np.ndarray:
    """(H, W, C) uint8 to cosines (8, 8, C, rows, columns), down, across and through the channels."""
    padded = np.pad(pixels, [(0, -n % SIDE) for n in pixels.shape[:2]] + [(0, 0)], mode="edge") - 128.0
    height, width, channels = padded.shape
    blocks = padded.reshape(height // SIDE, SIDE, width // SIDE, SIDE, channels)
    return dctn(blocks, axes=(1, 3, 4), norm="ortho").transpose(1, 3, 4, 0, 2)


def inverse(cosines: np.ndarray) -> np.ndarray:
    """The way back from `forward`, to whole blocks."""
    _, _, channels, rows, columns = cosines.shape
    blocks = idctn(cosines.transpose(3, 0, 4, 1, 2), axes=(1, 3, 4), norm="ortho") + 128
    return blocks.reshape(rows * SIDE, columns * SIDE, channels).round().clip(0, 255).astype(np.uint8)


def coded(cosines: np.ndarray, quality: int) -> tuple[int, bytes, float]:
    """The table of the first plane, the section, and the ideal size of the section in bits."""
    levels = np.fix(cosines / step(quality) + 0.35 * np.sign(cosines)).astype(np.int32)
    levels[0, 0] = np.diff(levels[0, 0], prepend=0)  # of means, the difference to the block on the left
    first = min(range(len(TABLES)), key=lambda t: TABLES.bits(levels[0, 0, 0], np.full(levels.shape[3:], t)))
    encoder, bits = Encoder(), 0.0

    def add(place: tuple[int, ...], tables: np.ndarray) -> np.ndarray:
        nonlocal bits
        encoder.add(levels[place], TABLES, tables)
        bits += TABLES.bits(levels[place], tables)
        return levels[place]

    walk(levels.shape, first, add)
    return first, encoder.finish(), bits


def walk(shape: tuple[int, ...], first: int, visit: Callable[..., np.ndarray]) -> np.ndarray:
    """Goes through the planes of frequencies in the order of the file, in which both sides know the same.

    Args:
        shape: (8, 8, C, rows, columns).
        first: the table of all of the first plane.
        visit: called with a plane's place (down, across, channel) and tables (rows, columns); returns its symbols.

    Returns:
        All levels, the means summed up again.
    """
    levels, near = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for u, v, c in sorted(np.ndindex(shape[:3]), key=lambda place: place[0] + place[1]):
        seen = [near[p] for p in ((u - 1, v, c), (u, v - 1, c), (u, v, c - 1)) if min(p) >= 0]
        context = np.searchsorted(EDGES, 2 * sum(seen) // len(seen), "right") if seen else np.full(shape[3:], first)
        levels[u, v, c] = visit((u, v, c), context)
        wide = np.pad(abs(levels[u, v, c]), 1, mode="edge")
        near[u, v, c] = 4 * wide[1:-1, 1:-1] + wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    levels[0, 0] = levels[0, 0].cumsum(axis=-1)
    return levels


registry.register(registry.Entry(
    name="cosine", number=192, kind="image", family="transform", lossless=False,
    about="the example of docs/own_codec.md: cosines of 8 x 8 pixels, and tables chosen by what is known already",
    settings=(Field("quality", "u8", 0, 100), Field("first", "u8", 0, len(EDGES))),
    factory=f"{__name__}:CosineCodec",
))

if __name__ == "__main__":
    from fewbits.apps.cli.main import main

    main()
