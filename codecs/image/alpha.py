"""Opacity without loss: differences between neighbours, deflated. Full opacity takes no bytes."""

import numpy as np

from fewbits.entropy.deflate import deflate, inflate
from fewbits.errors import DamagedError


def encode_alpha(alpha: np.ndarray) -> bytes:
    """(H, W) uint8 to bytes."""
    if (alpha == 255).all():
        return b""
    across = np.diff(alpha, axis=1, prepend=np.uint8(0))
    return deflate(np.diff(across, axis=0, prepend=np.uint8(0)).tobytes())


def decode_alpha(data: bytes, height: int, width: int) -> np.ndarray:
    """Inverse of `encode_alpha`. Raises `DamagedError` if the bytes do not hold exactly that many samples."""
    if not data:
        return np.full((height, width), 255, np.uint8)
    samples = inflate(data, height * width, "opacity section")
    if len(samples) != height * width:
        raise DamagedError("The opacity section does not hold as many samples as the picture has.")
    across = np.cumsum(np.frombuffer(samples, np.uint8).reshape(height, width), axis=0, dtype=np.uint8)
    return np.cumsum(across, axis=1, dtype=np.uint8)
