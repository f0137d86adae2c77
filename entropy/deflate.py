"""Parts of a file that zlib compresses, and their way back without any trust in them."""

import zlib

from fewbits.errors import DamagedError


def deflate(data: bytes) -> bytes:
    """A zlib stream, as small as zlib makes it."""
    return zlib.compress(data, 9)


def inflate(data: bytes, limit: int, what: str) -> bytes:
    """Inverse of `deflate`, in memory for `limit` bytes.

    Args:
        what: what the data is, for the sentence.

    Raises:
        DamagedError: unless the data is one whole zlib stream of at most `limit` bytes.
    """
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise DamagedError(f"The {what} is damaged: {error}.") from None
    if len(inflated) > limit or not stream.eof or stream.unused_data:
        raise DamagedError(f"The {what} is damaged: it has another length than it can have.")
    return inflated
