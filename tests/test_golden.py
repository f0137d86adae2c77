"""Golden files, of all codecs alike: what earlier commits wrote decodes as it did; see tests/golden/README.md."""

import importlib.util
import socket
from pathlib import Path
from types import ModuleType

import pytest

from fewbits.codecs import registry

GOLDEN = Path(__file__).parent / "golden"
CODECS = [name for name in (str(known["name"]) for known in registry.describe())
          if registry.entry(name).number not in registry.PRIVATE]


@pytest.fixture(scope="module")
def check() -> ModuleType:
    """tests/golden/check.py."""
    spec = importlib.util.spec_from_file_location("check", GOLDEN / "check.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_has_a_golden_file(codec: str) -> None:
    assert list(GOLDEN.glob(f"{codec}-[0-9]*.fwb")), (
        f"The codec {codec} has no golden file: make tests/golden/{codec}-1.fwb, as tests/golden/README.md says.")


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.fwb")), ids=lambda path: path.stem)
def test_golden_files_decode_as_when_they_were_made(
    golden: Path, check: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decoding must not open a connection")

    for opens in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, opens, refuse)
    exact = check.codec_of(golden) in check.EXACT
    assert exact or check.digest(golden) == golden.with_suffix(".sha256").read_text().strip()
    assert check.difference(golden) <= (0 if exact else 1)
