"""The main job as users run it, processes and trained weights and all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("hyperprior_weights")


@pytest.fixture
def fewbits(root: Path, tmp_path: Path):
    """Runs the command line in an empty folder; gives exit code, standard output and standard error."""

    def run(*arguments: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        command = [sys.executable, "-m", "fewbits", *arguments]
        environment = os.environ | {"PYTHONPATH": str(root)}
        result = subprocess.run(command, input=stdin, capture_output=True, cwd=tmp_path, env=environment, timeout=300)
        return result.returncode, result.stdout, result.stderr

    return run


def test_a_picture_goes_there_and_back(fewbits, smooth_png: Path, tmp_path: Path) -> None:
    code, out, _ = fewbits("encode", "smooth.png", "--quality", "80", "--json")
    assert code == 0
    record = json.loads(out)
    data = (tmp_path / "smooth.fwb").read_bytes()
    assert record["bytes"] == len(data)

    code, out, _ = fewbits("info", "smooth.fwb", "--json")
    facts = json.loads(out)
    assert (code, facts["codec"], facts["width"], facts["height"]) == (0, "hyperprior", 64, 48)
    assert facts["settings"] == record["settings"]

    code, out, _ = fewbits("verify", "smooth.fwb", "--against", "smooth.png")
    assert code == 0
    assert float(out.decode().split("PSNR")[1].split()[0]) > 30

    code, piped, _ = fewbits("decode", "-", stdin=data)
    assert (code, fewbits("decode", "smooth.fwb", "-o", "back.png")[0]) == (0, 0)
    assert (tmp_path / "back.png").read_bytes() == piped


def test_a_size_aimed_at_is_kept(fewbits, smooth_png: Path, tmp_path: Path) -> None:
    assert fewbits("encode", "smooth.png", "--size", "600")[0] == 0
    assert (tmp_path / "smooth.fwb").stat().st_size <= 600


def test_damage_is_exit_code_3_and_leaves_no_picture(fewbits, smooth_png: Path, tmp_path: Path) -> None:
    assert fewbits("encode", "smooth.png")[0] == 0
    data = (tmp_path / "smooth.fwb").read_bytes()
    for bad in (data[:-1], data[: len(data) // 2], data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]):
        (tmp_path / "bad.fwb").write_bytes(bad)
        for command in ("decode", "verify"):
            code, out, error = fewbits(command, "bad.fwb")
            assert (code, out) == (3, b"")
            assert error.startswith(b"fewbits: ") and error.count(b"\n") == 1
    assert sorted(os.listdir(tmp_path)) == ["bad.fwb", "smooth.fwb", "smooth.png"]


@pytest.mark.slow
def test_demo_runs_for_real(fewbits, tmp_path: Path) -> None:
    code, out, error = fewbits("demo", "--output", "files")
    assert code == 0, error
    assert b"hyperprior" in out and b"avif" in out
    assert len(list((tmp_path / "files").glob("*.fwb"))) >= 3
