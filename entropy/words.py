"""Words of the ANS coders as bytes: 32 bits each, little-endian, the last not 0. And sections, of escapes and words."""

import numpy as np

from fewbits.entropy.varint import read_varint, write_varint
from fewbits.errors import DamagedError, TruncatedError

WORD_BYTES = 4


def words_to_bytes(words: np.ndarray) -> bytes:
    """Bytes of (n,) words of any integer type."""
    return words.astype("<u4").tobytes()


def words_from_bytes(data: bytes | memoryview) -> np.ndarray:
    """Inverse of `words_to_bytes`, (n,) uint32. Raises `DamagedError` unless there are words, the last above 0."""
    words = np.frombuffer(data[: len(data) - len(data) % WORD_BYTES], "<u4").astype(np.uint32)
    if len(data) % WORD_BYTES or not words.size or words[-1] == 0:
        raise DamagedError("The section is damaged or cut short: it does not end with a whole word above 0.")
    return words


def join(escapes: bytes, words: np.ndarray) -> bytes:
    """A section: length of the escapes (varint), escapes, words."""
    return write_varint(len(escapes)) + escapes + words_to_bytes(words)


def split(section: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Escapes (uint8) and words (uint32) of a section.

    Raises:
        TruncatedError, DamagedError: if it cannot be one.
    """
    length, begin = read_varint(section, 0)
    if length > len(section) - begin:
        raise TruncatedError(f"The section ends at byte {len(section)}, within {length} bytes of escaped symbols.")
    return np.frombuffer(section, np.uint8, length, begin), words_from_bytes(section[begin + length :])
