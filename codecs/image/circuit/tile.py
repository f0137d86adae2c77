"""A tile's section: the samples as photo planes, as numbers of a palette, or as they are; whatever is smallest."""

import zlib
from dataclasses import dataclass

import numpy as np

from fewbits.codecs.image.circuit.colours import GREEN, NONE, YCOCG, cheapest, from_planes, to_planes
from fewbits.codecs.image.circuit.experts import SETS
from fewbits.codecs.image.circuit.levels import decode_levels, encode_levels, levels_of, ranks, values
from fewbits.codecs.image.circuit.palette import (
    decode_numbers,
    decode_palette,
    encode_numbers,
    encode_palette,
    palette_of,
)
from fewbits.codecs.image.circuit.planes import PlaneCoder, PlaneRange, Report
from fewbits.entropy.varint import read_varint, write_varint
from fewbits.entropy.words import WORD_BYTES, words_from_bytes, words_to_bytes
from fewbits.errors import DamagedError

STORED, PALETTE, PHOTO = range(3)  # forms of a section, its first byte; a photo's transform is added to it
CRC_BYTES = 4
FEW = 16  # pixels for each colour of a palette, from which on nothing else is tried


@dataclass(frozen=True)
class TileShape:
    """What is known of a tile before it is decoded: sides, channels, and bits of a sample (8 or 16)."""

    height: int
    width: int
    channels: int
    bits: int

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    @property
    def high(self) -> int:
        return (1 << self.bits) - 1

    @property
    def colours(self) -> int:
        """Channels without opacity."""
        return self.channels - (self.channels % 2 == 0)


class _Reader:
    """Takes parts off the front of a section."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self) -> int:
        value, self._at = read_varint(self._data, self._at)
        return value

    def signed(self) -> int:
        value = self.number()
        return -(value + 1 >> 1) if value & 1 else value >> 1

    def take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if len(part) < count:
            raise DamagedError("The tile is damaged: it ends within one of its parts.")
        self._at += count
        return part

    def block(self) -> bytes:
        return self.take(self.number())

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)


def _signed(value: int) -> bytes:
    return write_varint(2 * value if value >= 0 else -2 * value - 1)


def _block(data: bytes) -> bytes:
    return write_varint(len(data)) + data


def _words(data: bytes) -> np.ndarray:
    """Words of the coder; none for what has one value only."""
    return words_from_bytes(data) if data else np.empty(0, np.uint32)


def _raw(samples: np.ndarray) -> bytes:
    """Samples as they are stored, little-endian."""
    return samples.astype(samples.dtype.newbyteorder("<")).tobytes()


def _crc(raw: bytes) -> bytes:
    return zlib.crc32(raw).to_bytes(CRC_BYTES, "little")


def encode_tile(samples: np.ndarray, experts: int, report: Report) -> tuple[bytes, float]:
    """The smallest section for a tile, and its bits by the circuit's own estimate.

    Args:
        samples: (H, W, C) uint8 or uint16.
        experts: number of the set of experts.
    """
    shape = TileShape(*samples.shape, 8 * samples.itemsize)
    raw = _raw(samples)
    crc = _crc(raw)
    sections = [(bytes([STORED]) + raw, 8.0 * len(raw))]
    palette = palette_of(samples)
    if palette is not None:
        sections.append(_encode_palette(*palette, crc, lambda share: report(0.2 * share)))
    if palette is None or _may_be_a_photo(len(palette[0]), shape):
        begun = 0.0 if palette is None else 0.2
        sections.append(_encode_photo(samples, shape, experts, crc, lambda share: report(begun + (1 - begun) * share)))
    return min(sections, key=lambda section: len(section[0]))


def _may_be_a_photo(colours: int, shape: TileShape) -> bool:
    """Whether planes may take less than a palette: for grey, and where pixels are not many times more than colours."""
    return colours > 2 and (shape.colours == 1 or FEW * colours > shape.height * shape.width)


def decode_tile(section: bytes, shape: TileShape, experts: int, report: Report) -> np.ndarray:
    """Inverse of `encode_tile`: (H, W, C) uint8 or uint16.

    Raises:
        StreamError: if the section is damaged; so much as a wrong sample is noticed.
    """
    if not section:
        raise DamagedError("The tile is damaged: it is empty.")
    reader = _Reader(section[1:])
    if section[0] == STORED:
        raw = reader.rest()
        if len(raw) != shape.height * shape.width * shape.channels * shape.bits // 8:
            raise DamagedError("The tile is damaged: it does not have as many samples as its picture needs.")
        samples = np.frombuffer(raw, shape.dtype.newbyteorder("<")).astype(shape.dtype)
        return samples.reshape(shape.height, shape.width, shape.channels)
    crc = reader.take(CRC_BYTES)
    if section[0] == PALETTE:
        samples = _decode_palette(reader, shape, report)
    elif section[0] - PHOTO in (NONE, GREEN, YCOCG):
        samples = _decode_photo(reader, section[0] - PHOTO, shape, experts, report)
    else:
        raise DamagedError(f"The tile is damaged: there is no form {section[0]}.")
    if _crc(_raw(samples)) != crc:
        raise DamagedError("The tile is damaged: the checksum of its samples is wrong.")
    return samples


def _encode_palette(palette: np.ndarray, numbers: np.ndarray, crc: bytes, report: Report) -> tuple[bytes, float]:
    head = bytes([PALETTE]) + crc + _block(encode_palette(palette))
    if len(palette) == 1:
        return head, 8.0 * len(head)
    words, bits = encode_numbers(numbers, len(palette), report)
    return head + words_to_bytes(words), 8.0 * len(head) + bits


def _decode_palette(reader: _Reader, shape: TileShape, report: Report) -> np.ndarray:
    palette = decode_palette(reader.block(), shape.channels, shape.dtype)
    words = _words(reader.rest())
    if len(palette) == 1:
        if words.size:
            raise DamagedError("The tile is damaged: it has one colour, and more than that.")
        return np.broadcast_to(palette[0], (shape.height, shape.width, shape.channels)).copy()
    return palette[decode_numbers(words, len(palette), shape.height, shape.width, report)]


def _unit(ranges: list[tuple[int, int]]) -> float:
    """What a step of 8 bits is: how many times the widest plane exceeds 8 bits, a power of two."""
    widest = max(high - low for low, high in ranges)
    return float(1 << max(widest.bit_length() - 9, 0))


def _sources(plane: int, shape: TileShape) -> int:
    """How many planes a plane looks at: all before it, but none for opacity."""
    return 0 if plane == shape.colours else plane


def _coder(ranges: list[tuple[int, int]], shape: TileShape, experts: int) -> PlaneCoder:
    return PlaneCoder([PlaneRange(low, high, _sources(plane, shape)) for plane, (low, high) in enumerate(ranges)],
                      SETS[experts], _unit(ranges))


def _encode_photo(samples: np.ndarray, shape: TileShape, experts: int, crc: bytes,
                  report: Report) -> tuple[bytes, float]:
    channels = np.moveaxis(samples, 2, 0)
    levels = [levels_of(channel) for channel in channels]
    ranked = np.stack([ranks(channel, used) for channel, used in zip(channels, levels, strict=True)], -1)
    transform = cheapest(ranked)
    planes = to_planes(ranked, transform)
    ranges = [(int(plane.min()), int(plane.max())) for plane in planes]
    head = bytes([PHOTO + transform]) + crc + b"".join(_block(encode_levels(used)) for used in levels)
    head += b"".join(_signed(low) + write_varint(high - low) for low, high in ranges)
    words, bits = _coder(ranges, shape, experts).encode(planes, report)
    head += b"".join(write_varint(len(stream)) for stream in words[:-1])
    return head + b"".join(map(words_to_bytes, words)), 8.0 * len(head) + bits


def _decode_photo(reader: _Reader, transform: int, shape: TileShape, experts: int, report: Report) -> np.ndarray:
    if transform != NONE and shape.colours < 3:
        raise DamagedError("The tile is damaged: it has a transform of colours, but no colours.")
    levels = [decode_levels(reader.block(), shape.high) for _ in range(shape.channels)]
    ranges = [_range(reader, shape) for _ in range(shape.channels)]
    coded = sum(low < high for low, high in ranges)
    counts = [reader.number() for _ in range(coded - 1)]
    words = [_words(reader.take(WORD_BYTES * count)) for count in counts]
    last = _words(reader.rest())
    if coded:
        words.append(last)
    elif last.size:
        raise DamagedError("The tile is damaged: it has words and nothing to decode from them.")
    planes = _coder(ranges, shape, experts).decode(words, shape.height, shape.width, report)
    ranked = from_planes(planes, transform, shape.high)
    restored = [values(ranked[..., channel], used) for channel, used in enumerate(levels)]
    return np.stack(restored, -1).astype(shape.dtype)


def _range(reader: _Reader, shape: TileShape) -> tuple[int, int]:
    low, span = reader.signed(), reader.number()
    if not -shape.high <= low <= low + span <= shape.high:
        raise DamagedError("The tile is damaged: a plane has a range that there cannot be.")
    return low, low + span
