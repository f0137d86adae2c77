"""Whether a file of sound goes on as far as it says: formats without checksums are read to wherever they end."""

import os
from typing import IO

_UNKNOWN_SIZE = 2**32 - 1  # of what was written to a pipe
_PAGE = 1 << 16  # bytes that a page of Ogg has at most, nearly
_LAST_PAGE = 4  # a flag of Ogg pages

CUT = "The file ends before it should by its own account: it seems to be cut."
"""A sentence for the user."""


def is_cut(file: IO[bytes]) -> bool:
    """Whether WAV, AIFF, Ogg and MP3 files are shorter than they say; False for those that do not say, and others."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(36)
    magic = head[:4]
    if magic in (b"RIFF", b"FORM"):
        announced = int.from_bytes(head[4:8], "little" if magic == b"RIFF" else "big")
        return announced != _UNKNOWN_SIZE and announced + 8 > size + 1  # some leave out a last byte of padding
    if magic == b"RF64":
        return int.from_bytes(head[20:28], "little") + 8 > size
    if magic == b"OggS":
        return _lacks_last_page(file, size)
    return _size_by_xing(file, head) > size


def _lacks_last_page(file: IO[bytes], size: int) -> bool:
    file.seek(max(size - _PAGE, 0))
    end = file.read()
    page = end[max(end.rfind(b"OggS"), 0) :]
    lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""  # of the segments behind the header
    return not (lengths and page[5] & _LAST_PAGE and len(page) >= 27 + len(lengths) + sum(lengths))


def _size_by_xing(file: IO[bytes], head: bytes) -> int:
    """Bytes of an MP3 file by the header of Xing and LAME in its first frame; 0 where there is none."""
    start = 0
    if head[:3] == b"ID3":
        sevens = head[6:10]  # the length of the tag, 7 bits a byte
        start = 10 + sum((byte & 127) << 7 * (3 - place) for place, byte in enumerate(sevens))
    file.seek(start)
    frame = file.read(200)
    if frame[:1] != b"\xff":
        return 0
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    flags = frame[at + 7] if at >= 0 else 0
    if not flags & 2:
        return 0
    counted = at + (12 if flags & 1 else 8)  # behind the number of frames, where that is given
    return start + int.from_bytes(frame[counted : counted + 4], "big")
