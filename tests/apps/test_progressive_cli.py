"""Progressive files on the command line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fewbits.apps.cli.main import app
from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.media import Image
from fewbits.errors import DamagedError, FewbitsError, InputError


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def sentence(result: Result, error: type[FewbitsError]) -> str:
    assert isinstance(result.exception, error)
    return str(result.exception)


def damaged(data: bytes, section: int) -> bytes:
    """Without the last section, and with damage in another one."""
    sections = files.info(data)["sections"]
    changed = bytearray(data[: sections[-1]["offset"]])
    changed[sections[section]["offset"]] ^= 0xFF
    return bytes(changed)


def test_files_say_what_their_levels_cost_and_show_the_first_of_them(run, smooth_png: Path, tmp_path: Path) -> None:
    assert run("encode", "smooth.png", "--progressive").exit_code == 0
    data = (tmp_path / "smooth.fwb").read_bytes()
    sizes = ", ".join(f"{section['length']:,}" for section in files.info(data)["sections"])
    assert f"levels    5, of {sizes} bytes" in run("info", "smooth.fwb").stdout
    assert run("decode", "smooth.fwb", "--levels", "2", "-o", "preview.png").exit_code == 0
    assert np.array_equal(Image.open(tmp_path / "preview.png").pixels, files.decode(data, levels=2).image.pixels)
    (tmp_path / "smooth.fwb").write_bytes(damaged(data, 1))
    said = "2 of 5 sections of the file are damaged or missing: allow damage to see what is there."
    assert sentence(run("verify", "smooth.fwb"), DamagedError) == said
    assert (sentence(run("decode", "smooth.fwb", "-y"), DamagedError)
            == f"{said} The option for that is --allow-damage.")


def test_what_knows_no_levels_says_so(run, smooth_png: Path, tmp_path: Path, stored_sound: Path) -> None:
    from fewbits.codecs.sound import Audio

    (tmp_path / "talk.fwb").write_bytes(files.encode(Audio(np.zeros((1, 99), np.float32), 16000)).data)
    assert "holds no picture" in sentence(run("decode", "talk.fwb", "--levels", "1"), InputError)
    assert "no progressive files" in sentence(run("encode", "smooth.png", "--codec", "circuit", "--progressive"),
                                              InputError)


def test_the_beginning_of_a_file_is_shown_where_that_is_asked_for(smooth_picture: np.ndarray, root: Path,
                                                                 tmp_path: Path) -> None:
    data = files.encode(Image(smooth_picture), target=Target(progressive=True)).data
    (tmp_path / "cut.fwb").write_bytes(damaged(data, 2))
    command = [sys.executable, "-m", "fewbits", "decode", "cut.fwb", "--allow-damage"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300,
                          env=os.environ | {"PYTHONPATH": str(root)})
    assert done.returncode == 0
    assert done.stderr == ("fewbits: cut.fwb: 2 of 5 sections are damaged or missing, and 1 more cannot be shown "
                           "without them; levels shown: 2.\n")
    assert np.array_equal(Image.open(tmp_path / "cut.png").pixels, files.decode(data, levels=2).image.pixels)


def test_what_is_lost_is_guessed_where_the_codec_can(run, smooth_png: Path, tmp_path: Path) -> None:
    photo = Image(Image.open(smooth_png).pixels.repeat(4, 0).repeat(4, 1)[:200, :300])
    data = files.encode(photo, "vqextreme").data
    cut = data[: files.info(data)["sections"][-1]["offset"]]  # without the last of five chunks
    (tmp_path / "cut.fwb").write_bytes(cut)
    result = run("decode", "cut.fwb", "--conceal")
    assert result.exit_code == 0
    assert "1 of 5 sections are damaged; what they held is guessed." in result.stderr
    assert np.array_equal(Image.open(tmp_path / "cut.png").pixels, files.decode(cut, conceal=True).image.pixels)
    assert run("encode", "smooth.png").exit_code == 0
    assert "cannot guess" in sentence(run("decode", "smooth.fwb", "--conceal", "-y"), InputError)
