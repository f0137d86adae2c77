"""A file written and decoded again, and how long both took: what every rate that is reported stands on."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fewbits.codecs.video_source import VideoSource

Decoded = TypeVar("Decoded")


def there_and_back(encode: Callable[[], bytes], decode: Callable[[bytes], Decoded],
                   file: Path) -> tuple[Decoded, dict[str, float]]:
    """Writes what `encode` makes to a file, reads it and decodes it.

    Returns:
        What was decoded, and `bytes` (size of the file), `encode_s` and `decode_s` (wall seconds, without the disk).
    """
    start = time.perf_counter()
    data = encode()
    encode_s = time.perf_counter() - start
    file.write_bytes(data)
    data = file.read_bytes()
    start = time.perf_counter()
    decoded = decode(data)
    decode_s = time.perf_counter() - start
    return decoded, {"bytes": file.stat().st_size, "encode_s": encode_s, "decode_s": decode_s}


def read_through(media: object) -> None:
    """Reads all frames of a film that is decoded while it is read; other media are there already."""
    if isinstance(media, VideoSource):
        for _ in media.frames():
            pass
