"""docs/memory.md: what it says is what docs/memory.py holds codecs to, and it says it of every codec."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from fewbits.codecs import registry

ROW = re.compile(r"^\| (\S+) \| ([\d,]+) [^|]*\|(.*)\|$", re.MULTILINE)
MEASURED = re.compile(r"(\d+) of (\d+) MB")


@pytest.fixture(scope="module")
def memory(root: Path) -> ModuleType:
    """The script."""
    spec = importlib.util.spec_from_file_location("memory", root / "docs" / "memory.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_codec_has_its_bound_and_rows(root: Path, memory: ModuleType) -> None:
    page = (root / "docs" / "memory.md").read_text()
    measured = {codec for codec, _, cells in ROW.findall(page) if MEASURED.search(cells)}
    for codec in (described["name"] for described in registry.describe()):
        assert memory.rule(codec) in page.splitlines()
        assert codec in measured


def test_what_was_measured_is_within_the_bounds(root: Path, memory: ModuleType) -> None:
    for codec, size, cells in ROW.findall((root / "docs" / "memory.md").read_text()):
        for direction, cell in zip(("encode", "decode"), cells.split("|"), strict=False):
            for figure, bound in MEASURED.findall(cell):
                allowed = memory.BOUNDS[codec].megabytes(direction, int(size.replace(",", "")))
                assert int(bound) == round(allowed) and int(figure) <= allowed
