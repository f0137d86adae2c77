"""The `circuit` image codec: lossless, by least squares and probabilistic circuits that learn while they code."""

import numpy as np

from fewbits.codecs.codec import Codec, Progress, Stream, Target, no_progress
from fewbits.codecs.image.circuit.experts import SET_OF_EFFORT
from fewbits.codecs.image.circuit.planes import Report
from fewbits.codecs.image.circuit.tile import TileShape, decode_tile, encode_tile
from fewbits.codecs.image.tiles import bits_of_tiles, tiles
from fewbits.codecs.media import Image
from fewbits.errors import DamagedError

TILE = 1024  # bounds memory: 60 to 200 MB, with the effort


class CircuitCodec(Codec[Image]):
    """Lossless codec for pictures of any layout. `effort` chooses the experts that predict samples; decoding takes as
    long as encoding."""

    name, kind, family, lossless = "circuit", "image", "circuit", True

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    @property
    def weights_id(self) -> bytes:
        return b""

    def encode(self, media: Image, target: Target = Target(), progress: Progress = no_progress) -> Stream:
        """Codes a picture; see `Codec.encode`."""
        experts = SET_OF_EFFORT[target.effort - 1]
        whole = TileShape(media.height, media.width, media.channels, media.bits)
        sections: list[bytes | None] = []
        bits = 0.0
        for rows, columns, _, report in _parts(whole, progress, "encoding"):
            section, estimate = encode_tile(np.ascontiguousarray(media.pixels[rows, columns]), experts, report)
            sections.append(section)
            bits += estimate
        progress(1.0, "encoded")
        return Stream({"experts": experts}, sections, bits)

    def decode(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> Image:
        """Decodes a picture; see `Codec.decode`. A damaged tile whose loss is accepted is 0 throughout."""
        whole = TileShape(shape["height"], shape["width"], shape["channels"], shape["bits"])
        parts = _parts(whole, progress, "decoding")
        if len(stream.sections) != len(parts):
            raise DamagedError(f"The picture needs {len(parts)} sections, the file has {len(stream.sections)}.")
        pixels = np.zeros((whole.height, whole.width, whole.channels), whole.dtype)
        for (rows, columns, part, report), section in zip(parts, stream.sections, strict=True):
            if section is not None:
                pixels[rows, columns] = decode_tile(section, part, stream.settings["experts"], report)
        progress(1.0, "decoded")
        return Image(pixels)

    def bits_by_place(self, stream: Stream, shape: dict[str, int]) -> tuple[int, np.ndarray]:
        """By tiles; see `Codec.bits_by_place`."""
        return bits_of_tiles(stream.sections, shape["height"], shape["width"], TILE)


def _parts(whole: TileShape, progress: Progress, what: str) -> list[tuple[slice, slice, TileShape, Report]]:
    """Rows, columns and shape of each tile, and what it reports its share to."""
    spans = list(tiles(whole.height, whole.width, TILE, 0))

    def report_of(number: int) -> Report:
        said = f"{what} tile {number + 1} of {len(spans)}"
        return lambda share: progress((number + share) / len(spans), said)

    return [(rows.core, columns.core, TileShape(rows.stop - rows.start, columns.stop - columns.start, whole.channels,
                                                whole.bits), report_of(number))
            for number, (rows, columns) in enumerate(spans)]
