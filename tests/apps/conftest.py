"""A codec without weights, for tests of what stands around codecs."""

import io
import zlib

import numpy as np
import pytest

from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.media import Image
from fewbits.errors import DamagedError

MAGIC = b"stored"


def store(media: Image, codec: str, target: Target, **options: object) -> files.Encoded:
    buffer = io.BytesIO()
    np.save(buffer, media.pixels)
    notices = ("The target could not be met.",) if target.size is not None else ()
    return files.Encoded(MAGIC + zlib.compress(buffer.getvalue()), 100.0, notices, {"quality": 7})


def unstore(data: bytes, *, allow_damage: bool = False, **options: object) -> files.Decoded:
    if not data.startswith(MAGIC):
        raise DamagedError("The file is damaged.")
    pixels = np.load(io.BytesIO(zlib.decompress(data.removeprefix(MAGIC))))
    return files.Decoded(Image(pixels), [1] if allow_damage else [], 3)


@pytest.fixture
def storing_codec(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Puts a codec that stores samples in the place of all others; gives the bytes that its files begin with."""
    monkeypatch.setattr(files, "encode", store)
    monkeypatch.setattr(files, "decode", unstore)
    return MAGIC
