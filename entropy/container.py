"""The `.fwb` container, version 1: a header of declared fields, then sections of bytes, each with its CRC-32.

The header is described once, by `_walk`, which the writer and the reader both take; they differ in what `field` does
with a field (put its value down, or read it). `docs/format.md` describes the same bytes for other decoders.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from fewbits.entropy.varint import read_varint, write_varint
from fewbits.errors import DamagedError, LimitError, NotFewbitsError, StreamError, TruncatedError, UnsupportedError

MAGIC = b"FWB"
START_BYTES = 6  # magic, version, codec, form
VERSION = 1
MAX_SECTIONS = 1 << 20
MAX_SIDE = (1 << 31) - 1
MAX_SECTION_LENGTH = 1 << 40
MAX_COUNT = 1 << 40  # samples of a sound in each channel
MAX_RATE = 1_000_000
MAX_RATE_TERM = 1_000_000  # of the rate of a film, numerator and denominator
CRC_BYTES = 4
WEIGHTS_BYTES = 8

KINDS = ("image", "video", "audio", "images")
FORM_KIND, FORM_WEIGHTS, FORM_MANY = 3, 4, 8  # bits of the form byte


@dataclass(frozen=True)
class Field:
    """One integer of the header.

    Attributes:
        name: what it is, also in messages.
        code: "u8" (one byte) or "varint" (LEB128).
        low, high: the values that are allowed, both included.
    """

    name: str
    code: Literal["u8", "varint"]
    low: int
    high: int


FieldsOf = Callable[[int], tuple[Field, ...]]
"""The settings fields of a codec id; raises `UnsupportedError` for ids it does not know."""

VERSION_FIELD = Field("format version", "u8", 1, 255)
CODEC_FIELD = Field("codec", "u8", 0, 255)
FORM_FIELD = Field("form", "u8", 0, 15)
COUNT_FIELD = Field("number of sections", "varint", 2, MAX_SECTION_LENGTH)  # the limit has an error of its own
LENGTH_FIELD = Field("length of a section", "varint", 0, MAX_SECTION_LENGTH)
MEDIA_FIELDS = {
    "image": (Field("layout", "u8", 0, 63), Field("width", "varint", 1, MAX_SIDE),
              Field("height", "varint", 1, MAX_SIDE)),
    "images": (Field("channels", "u8", 1, 3), Field("width", "varint", 1, MAX_SIDE),
               Field("height", "varint", 1, MAX_SIDE), Field("count", "varint", 1, MAX_SIDE)),
    "audio": (Field("rate", "varint", 1, MAX_RATE), Field("channels", "u8", 1, 255),
              Field("count", "varint", 1, MAX_COUNT)),
    "video": (Field("layout", "u8", 0, 15), Field("width", "varint", 1, MAX_SIDE),
              Field("height", "varint", 1, MAX_SIDE), Field("count", "varint", 1, MAX_SIDE),
              Field("rate_numerator", "varint", 1, MAX_RATE_TERM),
              Field("rate_denominator", "varint", 1, MAX_RATE_TERM)),
}

# How files of other kinds begin, for a helpful sentence: (offset, bytes, name).
_SIGNATURES = (
    (0, b"\x89PNG", "a PNG picture"), (0, b"\xff\xd8\xff", "a JPEG picture"), (8, b"WEBP", "a WebP picture"),
    (0, b"GIF8", "a GIF picture"), (4, b"ftypavif", "an AVIF picture"), (4, b"ftyphei", "a HEIF picture"),
    (4, b"ftyp", "an MP4 or QuickTime file"), (0, b"\xff\x0a", "a JPEG XL picture"),
    (4, b"JXL ", "a JPEG XL picture"), (0, b"BM", "a BMP picture"), (0, b"II*\0", "a TIFF picture"),
    (0, b"MM\0*", "a TIFF picture"), (8, b"WAVE", "a WAV sound"), (0, b"fLaC", "a FLAC sound"),
    (0, b"OggS", "an Ogg file"), (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM file"), (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"), (0, b"\x1f\x8b", "a gzip file"),
)


@dataclass(frozen=True)
class Header:
    """What a file says about itself.

    Attributes:
        codec: numeric id.
        kind: one of `KINDS`; "images" is a set of images of equal size.
        weights: identity of the weights, 8 bytes, or none where the file needs none.
        media: the fields of the kind, by name (see `MEDIA_FIELDS`).
        settings: the fields that the codec declares, by name.
    """

    codec: int
    kind: str
    weights: bytes
    media: dict[str, int]
    settings: dict[str, int]


@dataclass(frozen=True)
class SectionTable:
    """Where the sections lie.

    Attributes:
        header_size: bytes before the checksum of the first section.
        lengths: bytes of every section but the last, without checksums; the last reaches to the end of the file.
    """

    header_size: int
    lengths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a file.

    Attributes:
        offset, length: of its bytes in the file, after its checksum.
        intact: it is complete and its checksum, which covers the header too, is right.
    """

    offset: int
    length: int
    intact: bool


@dataclass(frozen=True)
class Container:
    """A file that was read. Sections that are not intact are for the caller to judge."""

    header: Header
    header_size: int
    sections: list[Section]
    data: bytes

    def section(self, number: int) -> bytes:
        """Bytes of a section. Raises `DamagedError` if it is not intact."""
        section = self.sections[number]
        if not section.intact:
            raise DamagedError(f"Section {number} at byte {section.offset} is damaged or cut short.")
        return self.data[section.offset : section.offset + section.length]


class _Pen(Protocol):
    """Either side of the header. The writer returns the value it was given, the reader ignores it and reads one."""

    def field(self, field: Field, value: int) -> int: ...

    def raw(self, count: int, value: bytes) -> bytes: ...

    def check_count(self, count: int) -> None: ...


class _Writer:
    def __init__(self) -> None:
        self.out = bytearray(MAGIC)

    def field(self, field: Field, value: int) -> int:
        if not field.low <= value <= field.high:
            raise ValueError(f"{field.name} is {value}, not within {field.low}..{field.high}")
        self.out += bytes([value]) if field.code == "u8" else write_varint(value)
        return value

    def raw(self, count: int, value: bytes) -> bytes:
        if len(value) != count:
            raise ValueError(f"{len(value)} bytes where {count} belong")
        self.out += value
        return value

    def check_count(self, count: int) -> None:
        if count > MAX_SECTIONS:
            raise ValueError(f"{count} sections are more than {MAX_SECTIONS}")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.offset = data, len(MAGIC)

    def field(self, field: Field, value: int) -> int:
        at = self.offset
        if field.code == "u8":
            value = self.raw(1, b"")[0]
        else:
            value, self.offset = read_varint(self.data, at)
        if not field.low <= value <= field.high:
            raise DamagedError(f"The header is damaged: {field.name} at byte {at} is {value}, "
                               f"not within {field.low}..{field.high}.")
        return value

    def raw(self, count: int, value: bytes) -> bytes:
        value = self.data[self.offset : self.offset + count]
        if len(value) < count:
            raise TruncatedError(f"The file ends at byte {len(self.data)}, within its header.")
        self.offset += count
        return value

    def check_count(self, count: int) -> None:
        if count > MAX_SECTIONS:
            raise LimitError(f"The file claims {count} sections; the limit is {MAX_SECTIONS}.")
        if count - 1 > len(self.data) - self.offset:  # each length takes a byte at least
            raise TruncatedError(f"The file ends at byte {len(self.data)}, within the lengths of {count} sections.")


class _Ruler(_Reader):
    """A reader that notes how many bytes everything takes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.layout = [("magic", self.offset)]

    def field(self, field: Field, value: int) -> int:
        start = self.offset
        value = super().field(field, value)
        self.layout.append((field.name, self.offset - start))
        return value

    def raw(self, count: int, value: bytes) -> bytes:
        value = super().raw(count, value)
        if count == WEIGHTS_BYTES:  # other raw bytes are those of fields
            self.layout.append(("weights", count))
        return value


def _walk(pen: _Pen, header: Header, fields_of: FieldsOf, lengths: tuple[int, ...]) -> tuple[Header, tuple[int, ...]]:
    """The header from the version to the lengths of the sections, for both writer and reader."""
    version = pen.field(VERSION_FIELD, VERSION)
    if version > VERSION:
        raise UnsupportedError(f"The file has format version {version}; this release of fewbits reads up to version "
                               f"{VERSION}: update fewbits to read it.")
    codec = pen.field(CODEC_FIELD, header.codec)
    settings_fields = fields_of(codec)
    form = pen.field(FORM_FIELD, KINDS.index(header.kind) | FORM_WEIGHTS * bool(header.weights)
                     | FORM_MANY * bool(lengths))
    kind = KINDS[form & FORM_KIND]
    weights = pen.raw(WEIGHTS_BYTES, header.weights) if form & FORM_WEIGHTS else b""
    media = {field.name: pen.field(field, header.media.get(field.name, -1)) for field in MEDIA_FIELDS[kind]}
    settings = {field.name: pen.field(field, header.settings.get(field.name, -1)) for field in settings_fields}
    if form & FORM_MANY:
        count = pen.field(COUNT_FIELD, len(lengths) + 1)
        pen.check_count(count)
        given = iter(lengths)
        lengths = tuple(pen.field(LENGTH_FIELD, next(given, -1)) for _ in range(count - 1))
    return Header(codec, kind, weights, media, settings), lengths


def write(header: Header, settings_fields: tuple[Field, ...], sections: Sequence[bytes]) -> bytes:
    """The bytes of a file.

    Raises:
        ValueError: if a value is missing, unknown or out of its field's range, the kind is unknown, the identity of
            the weights has neither 0 nor 8 bytes, or there are no sections or too many.
    """
    if header.kind not in MEDIA_FIELDS:
        raise ValueError(f"there is no media kind {header.kind!r}")
    for what, values, fields in (("media", header.media, MEDIA_FIELDS[header.kind]),
                                 ("settings", header.settings, settings_fields)):
        if values.keys() != {field.name for field in fields}:
            raise ValueError(f"{what} are {list(values)}; declared are {[field.name for field in fields]}")
    if not sections:
        raise ValueError("a file needs a section")
    writer = _Writer()
    _walk(writer, header, lambda _: settings_fields, tuple(len(section) for section in sections[:-1]))
    head = bytes(writer.out)
    base = zlib.crc32(head)
    parts = [head]
    for number, section in enumerate(sections):
        parts += [_checksum(base, number, section).to_bytes(CRC_BYTES, "little"), section]
    return b"".join(parts)


def size_of_sections(lengths: Sequence[int]) -> int:
    """Bytes by which sections make a file longer than one empty section would, with what each costs beside its bytes.

    Args:
        lengths: bytes of each section, at least one.
    """
    listed = [len(lengths), *lengths[:-1]] if len(lengths) > 1 else []
    return sum(lengths) + CRC_BYTES * (len(lengths) - 1) + sum(len(write_varint(number)) for number in listed)


def _checksum(base: int, number: int, section: bytes | memoryview) -> int:
    """CRC-32 of the header (whose own CRC is `base`), the section's number and its bytes: a section that was swapped
    with another, or that stands under a damaged header, fails too."""
    return zlib.crc32(section, zlib.crc32(number.to_bytes(4, "little"), base))


def read_header(data: bytes, fields_of: FieldsOf) -> tuple[Header, SectionTable]:
    """The header alone, not verified by any checksum.

    Raises:
        NotFewbitsError, UnsupportedError, TruncatedError, DamagedError, LimitError: see `read`.
    """
    _check_magic(data)
    reader = _Reader(data)
    header, lengths = _walk(reader, Header(0, KINDS[0], b"", {}, {}), fields_of, ())
    return header, SectionTable(reader.offset, lengths)


def header_layout(data: bytes, fields_of: FieldsOf) -> list[tuple[str, int]]:
    """Names of all that stands in a header, in the order of the file, and the bytes that each takes.

    Raises:
        NotFewbitsError, UnsupportedError, TruncatedError, DamagedError, LimitError: see `read`.
    """
    _check_magic(data)
    ruler = _Ruler(data)
    _walk(ruler, Header(0, KINDS[0], b"", {}, {}), fields_of, ())
    return ruler.layout


def kind_of_start(data: bytes) -> str | None:
    """The kind of media in a file, from its first bytes; None where they are not those of a file."""
    if data[: len(MAGIC)] != MAGIC or len(data) < START_BYTES:
        return None
    return KINDS[data[START_BYTES - 1] & FORM_KIND]


def _check_magic(data: bytes) -> None:
    if not data:
        raise NotFewbitsError("The file is empty.")
    if data[: len(MAGIC)] == MAGIC:
        return
    if MAGIC.startswith(data):
        raise TruncatedError(f"The file ends after {len(data)} bytes, within its header.")
    seems = next((f": it seems to be {name}" for at, start, name in _SIGNATURES
                  if data[at : at + len(start)] == start), "")
    raise NotFewbitsError(f"This is not a .fwb file{seems}.")


def read(data: bytes, fields_of: FieldsOf) -> Container:
    """A file, with every section's checksum verified.

    A section among several may be damaged or missing: it comes back with `intact` false.

    Args:
        fields_of: the settings fields of a codec id; raises `UnsupportedError` for ids it does not know.

    Raises:
        NotFewbitsError: if it is empty or begins like another kind of file.
        UnsupportedError: if it is newer than this release.
        TruncatedError: if it ends in the header or before its first section.
        DamagedError: if a header field has an impossible value, or no section is intact.
        LimitError: if it claims more sections than `MAX_SECTIONS`.
    """
    header, table = read_header(data, fields_of)
    sections = _sections(data, table)
    if not any(section.intact for section in sections):
        raise _ruined(data, table, len(sections))
    return Container(header, table.header_size, sections, data)


def resealed(data: bytes, fields_of: FieldsOf) -> bytes:
    """The same file with the right checksum at every section that is complete, as an attacker would make it.

    Raises:
        NotFewbitsError, UnsupportedError, TruncatedError, DamagedError, LimitError: see `read`; of its header alone.
    """
    _, table = read_header(data, fields_of)
    out, base = bytearray(data), zlib.crc32(data[: table.header_size])
    for number, section in enumerate(_sections(data, table)):
        end = section.offset + section.length
        if end <= len(data):
            checksum = _checksum(base, number, data[section.offset : end])
            out[section.offset - CRC_BYTES : section.offset] = checksum.to_bytes(CRC_BYTES, "little")
    return bytes(out)


def _sections(data: bytes, table: SectionTable) -> list[Section]:
    view = memoryview(data)
    base = zlib.crc32(view[: table.header_size])
    sections = []
    at = table.header_size
    for number in range(len(table.lengths) + 1):
        offset = at + CRC_BYTES
        last = number == len(table.lengths)
        length = max(len(data) - offset, 0) if last else table.lengths[number]
        at = offset + length
        intact = at <= len(data) and _checksum(base, number, view[offset:at]) == int.from_bytes(
            view[offset - CRC_BYTES : offset], "little")
        sections.append(Section(offset, length, intact))
    return sections


def _ruined(data: bytes, table: SectionTable, count: int) -> StreamError:
    """The error for a file without one intact section."""
    first_end = table.header_size + CRC_BYTES + (table.lengths[0] if table.lengths else 0)
    if len(data) < first_end:
        return TruncatedError(f"The file ends at byte {len(data)}, before the end of its first section.")
    if count == 1:
        return DamagedError("The file is damaged or cut short: its checksum is wrong.")
    return DamagedError(f"The file is damaged: the checksums of all its {count} sections are wrong.")
