"""Words of the ANS coders as bytes of a section: 32 bits each, little-endian, the last not 0."""

import numpy as np

from fewbits.errors import DamagedError

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
