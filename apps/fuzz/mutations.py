"""Changes of `.fwb` files that know their structure: bytes, lengths, fields of the header, sections, other files.

What a header holds and where sections lie is asked of `fewbits.entropy.container`, which is all that knows the format.
"""

from collections.abc import Callable, Sequence
from random import Random

from fewbits.codecs import registry
from fewbits.entropy import container
from fewbits.entropy.varint import MAX_VALUE, write_varint
from fewbits.errors import StreamError

FAR = tuple(value for bits in (0, 7, 8, 12, 16, 20, 24, 28, 31, 32, 40)
            for value in ((1 << bits) - 1, 1 << bits, (1 << bits) + 1) if value <= MAX_VALUE)
"""Numbers at which limits, types and lengths of varints end."""

NO_NUMBERS = (b"\x80\x00", b"\xff\xff\xff\xff\xff\xff", b"\x80")
"""Bytes that are no varint: not the shortest form, above the limit, without an end."""

Mutation = Callable[[bytes, Sequence[bytes], Random], bytes]
"""Changes a file, by chance; it is also given other files, to take parts of."""


def mutated(data: bytes, others: Sequence[bytes], step: int) -> bytes:
    """The file after one change, which `step` chooses; what cannot be done to a file whose header is wrong, or holds
    what none can, is another change of its bytes."""
    random = Random(step)
    try:
        return random.choice(MUTATIONS)(data, others, random)
    except (StreamError, ValueError):
        return random.choice(_OF_BYTES)(data, others, random)


def sealed(data: bytes) -> bytes:
    """The file with the right checksums; as it is, where its header cannot be read."""
    try:
        return container.resealed(data, registry.settings_of_number)
    except StreamError:
        return data


def _flip_bits(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8)) if out else 0):
        out[random.randrange(len(out))] ^= 1 << random.randrange(8)
    return bytes(out)


def _overwrite(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    start, stop = _span(data, random)
    fill = random.choice((b"\x00", b"\x7f", b"\x80", b"\xff", None))
    return data[:start] + (random.randbytes(stop - start) if fill is None else fill * (stop - start)) + data[stop:]


def _truncate(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _extend(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    return data + random.choice((random.randbytes(random.randrange(1, 64)), bytes(random.randrange(1, 64)), data))


def _delete(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    start, stop = _span(data, random)
    return data[:start] + data[stop:]


def _repeat(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    start, stop = _span(data, random)
    return data[:stop] + data[start:]


def _splice(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    other = random.choice(others)
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


def _number_in_section(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Puts a number at the beginning of a section, where codecs have their own lengths and counts."""
    at = random.choice(_sections(data)).offset + random.randrange(12)
    return data[:at] + random.choice((_number(random), random.randbytes(1))) + data[at + 1 :]


def _field(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Another value in a field of the header, the number and the lengths of the sections among them."""
    at = 0
    layout = container.header_layout(data, registry.settings_of_number)
    chosen = random.randrange(1, len(layout))
    for _, size in layout[:chosen]:
        at += size
    return data[:at] + random.choice((_number(random), random.randbytes(layout[chosen][1]))) + data[
        at + layout[chosen][1] :]


def _media(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Another value that the header may have, in a header that is right; checksums stay as they were."""
    box = container.read(data, registry.settings_of_number)
    settings_fields = registry.settings_of_number(box.header.codec)
    field = random.choice(container.MEDIA_FIELDS[box.header.kind] + settings_fields)
    values = box.header.media if field.name in box.header.media else box.header.settings
    near = (values[field.name] + random.choice((-8, -2, -1, 1, 2, 8)), values[field.name] * 2, random.choice(FAR))
    values[field.name] = min(max(random.choice(near), field.low), field.high)
    return _with_checksums(box.header, [_piece(data, section) for section in box.sections])


def _section_list(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Sections lost, emptied, doubled, exchanged, or taken from another file, each with the checksum that it had."""
    box = container.read(data, registry.settings_of_number)
    pieces = [_piece(data, section) for section in box.sections]
    first, second = random.randrange(len(pieces)), random.randrange(len(pieces))
    foreign = random.choice(others)
    deed = random.randrange(5)
    if deed == 0 and len(pieces) > 1:
        del pieces[first]
    elif deed == 1:
        pieces.insert(second, pieces[first])
    elif deed == 2:
        pieces[first], pieces[second] = pieces[second], pieces[first]
    elif deed == 3:
        pieces[first] = _piece(foreign, random.choice(_sections(foreign)))
    else:
        pieces[first] = pieces[first][: container.CRC_BYTES]
    return _with_checksums(box.header, pieces)


def _with_checksums(header: container.Header, pieces: list[bytes]) -> bytes:
    """A file of sections that each follow their checksum, right or wrong."""
    sections = [piece[container.CRC_BYTES :] for piece in pieces]
    written = container.write(header, registry.settings_of_number(header.codec), sections)
    size = container.read_header(written, registry.settings_of_number)[1].header_size
    return written[:size] + b"".join(pieces)


def _sections(data: bytes) -> list[container.Section]:
    return container.read(data, registry.settings_of_number).sections


def _bytes_of(data: bytes, section: container.Section) -> bytes:
    return data[section.offset : section.offset + section.length]


def _piece(data: bytes, section: container.Section) -> bytes:
    """The checksum of a section, of 4 bytes wherever the file ends, and its bytes."""
    checksum = data[section.offset - container.CRC_BYTES : section.offset]
    return checksum.ljust(container.CRC_BYTES, b"\x00") + _bytes_of(data, section)


def _number(random: Random) -> bytes:
    return random.choice(NO_NUMBERS) if random.randrange(8) == 0 else write_varint(random.choice(FAR))


def _span(data: bytes, random: Random) -> tuple[int, int]:
    """Where a short part of a file begins and ends."""
    start = random.randrange(len(data) + 1)
    return start, min(start + random.choice((1, 2, 4, 16, 64)), len(data))


_OF_BYTES: tuple[Mutation, ...] = (_flip_bits, _overwrite, _truncate, _extend, _delete, _repeat, _splice)
MUTATIONS: tuple[Mutation, ...] = (*_OF_BYTES, _number_in_section, _field, _media, _section_list)
