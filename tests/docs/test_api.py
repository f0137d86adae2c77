"""docs/api.py: the reference is whole."""

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_reference_builds_without_a_warning(root, tmp_path):
    pytest.importorskip("pdoc")
    subprocess.run([sys.executable, root / "docs" / "api.py", tmp_path], check=True, timeout=300,
                   env=os.environ | {"PYTHONPATH": str(root)})
    assert "Codes a picture, a sound, a film" in (tmp_path / "fewbits.html").read_text()  # a name that comes lazily
    for module in ("codecs/codec", "entropy/coder", "eval/curves", "kernels/rans", "errors"):
        assert (tmp_path / "fewbits" / f"{module}.html").is_file()
