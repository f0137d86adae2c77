"""Unsigned integers of variable length: LEB128, seven bits a byte, the low ones first, in the shortest form."""

from fewbits.errors import DamagedError, TruncatedError

MAX_VALUE = 1 << 40
MAX_BYTES = 6  # of the largest value


def write_varint(value: int) -> bytes:
    """1 to 6 bytes. Raises `ValueError` unless 0 <= value <= 2**40."""
    if not 0 <= value <= MAX_VALUE:
        raise ValueError(f"{value} cannot be written as a varint of at most 2**40")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """The value that begins at `offset`, and the offset after it.

    Raises:
        TruncatedError: if the data ends within it.
        DamagedError: if it is above 2**40 or not in its shortest form, so that equal files have equal bytes.
    """
    value = 0
    for position in range(offset, offset + MAX_BYTES):
        if position >= len(data):
            raise TruncatedError(f"The data ends at byte {len(data)}, within a number that began at byte {offset}.")
        byte = data[position]
        value |= (byte & 0x7F) << 7 * (position - offset)
        if byte < 0x80:
            if byte == 0 and position > offset:
                raise DamagedError(f"The number at byte {offset} is not in its shortest form.")
            if value > MAX_VALUE:
                break
            return value, position + 1
    raise DamagedError(f"The number at byte {offset} is above the limit of 2**40.")
