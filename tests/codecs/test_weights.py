"""What a weights file is known by."""

import hashlib
from pathlib import Path

import pytest

from fewbits.codecs.weights import identity_of
from fewbits.errors import WeightsError


def test_identity_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    for content in (b"before", b"afterwards"):
        path.write_bytes(content)
        assert identity_of(path) == hashlib.sha256(content).digest()[:8]
    path.unlink()
    with pytest.raises(WeightsError, match="fewbits train own"):
        identity_of(path)
