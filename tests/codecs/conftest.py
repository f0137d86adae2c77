"""Fixtures for codec tests."""

import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image as PillowImage

from fewbits.apps import samples
from fewbits.codecs import files
from fewbits.errors import StreamError


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """(192, 256, 3) uint8: part of a photo that the installed gradio package carries, at half its size."""
    whole = PillowImage.fromarray(samples.photo(samples.STILL).rgb())
    half = whole.resize((whole.width // 2, whole.height // 2), PillowImage.Resampling.LANCZOS)
    return np.array(half)[32:224, 100:356]


@pytest.fixture(scope="session")
def smooth() -> Callable[..., np.ndarray]:
    """Makes a picture (height, width, channels=3) uint8 with gradients, waves and edges."""
    def make(height: int, width: int, channels: int = 3) -> np.ndarray:
        y, x = np.mgrid[0:height, 0:width] / 64
        planes = [128 + 90 * np.sin(5 * x + 2 * y * k) * np.cos(3 * y) + 30 * ((x * 2).astype(int) % 2 == k % 2)
                  for k in range(channels)]
        return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def rechecked() -> Callable[[bytes, int], bytes]:
    """Makes the checksum of a one-section file fit, as an attacker would: `rechecked(data, offset of the section)`."""
    def make(data: bytes, offset: int) -> bytes:
        header, section = data[: offset - 4], data[offset:]
        return header + zlib.crc32(section, zlib.crc32(bytes(4), zlib.crc32(header))).to_bytes(4, "little") + section

    return make


@pytest.fixture
def check_hostile_sections(rechecked) -> Callable[[bytes, tuple[int, ...]], None]:
    """Changes a one-section file of a picture in many ways, each with the right checksum: `check_hostile_sections(data,
    shape of the picture)`."""
    def check(data: bytes, shape: tuple[int, ...]) -> None:
        offset, generator = files.info(data)["sections"][0]["offset"], np.random.default_rng(0)
        for _ in range(200):
            mutated = bytearray(data)
            mutated[generator.integers(offset, len(mutated))] ^= generator.integers(1, 256)
            try:
                decoded = files.decode(rechecked(bytes(mutated), offset)).image
            except StreamError:
                continue
            assert decoded.pixels.shape == shape  # the coder consumed all of it: another valid stream

    return check


@pytest.fixture
def latents_digest_elsewhere(elsewhere):
    """The SHA-256 of the latents that another process decodes: `latents_digest_elsewhere(*paths, NAME="value")`, a line
    for each path."""
    program = """
import hashlib, pathlib, sys
from fewbits.codecs import files

for path in sys.argv[1:]:
    parsed = files.parse(pathlib.Path(path).read_bytes())
    latents = parsed.codec.latents(parsed.stream, parsed.shape)
    latents = latents[0] if isinstance(latents, tuple) else latents
    print(hashlib.sha256(latents.numpy().astype("<i2").tobytes()).hexdigest())
"""
    return lambda *paths, **surroundings: elsewhere(program, *paths, **surroundings)
