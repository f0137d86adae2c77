"""What weights files of all codecs have in common."""

import hashlib
from pathlib import Path

from fewbits.errors import WeightsError


def identity_of(path: Path) -> bytes:
    """First 8 bytes of the SHA-256 of a weights file. Raises `WeightsError` if it is missing."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()[:8]
    except OSError:
        raise WeightsError(f"The weights {path} are missing: install fewbits with its package data, "
                           f"or train them with `fewbits train {path.stem}`.") from None
