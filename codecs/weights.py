"""What weights files of all codecs have in common."""

import hashlib
from functools import lru_cache
from pathlib import Path

from fewbits.errors import WeightsError


def identity_of(path: Path) -> bytes:
    """First 8 bytes of the SHA-256 of a weights file. Raises `WeightsError` if it is missing."""
    try:
        status = path.stat()
        return _digest(path, status.st_size, status.st_mtime_ns)[:8]
    except OSError:
        raise WeightsError(f"The weights {path} are missing: install fewbits with its package data, "
                           f"or train them with `fewbits train {path.stem}`.") from None


@lru_cache(maxsize=32)
def _digest(path: Path, size: int, written: int) -> bytes:
    """Of the file as it was when it had this size and time: some milliseconds, for every media that is coded."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
