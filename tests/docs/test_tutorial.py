"""docs/tutorial.md as a reader goes through it: every block of commands, in order."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(root: Path) -> list[tuple[str, str]]:
    """Language and text of each block; that without a language is the set-up."""
    return BLOCK.findall((root / "docs" / "tutorial.md").read_text())


def test_the_tutorial_sets_up_what_make_knows_and_all_else_is_run(root):
    (language, set_up), *rest = blocks(root)
    target, activate = set_up.splitlines()
    assert not language and activate == "source .venv/bin/activate"
    assert f"\n{target.removeprefix('make ')}: " in (root / "Makefile").read_text()
    assert {language for language, _ in rest} == {"sh", "python"}


@pytest.mark.slow
def test_the_tutorial_works_from_beginning_to_end(root, tmp_path):
    commands, folder = tmp_path / "bin", tmp_path / "folder"
    for made in (commands, folder):
        made.mkdir()
    (commands / "fewbits").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fewbits "$@"\n')
    (commands / "fewbits").chmod(0o755)
    path = f"{commands}:{os.environ['PATH']}"
    surroundings = os.environ | {"PYTHONPATH": str(root), "PATH": path, "MPLBACKEND": "agg"}
    told = ""
    for language, text in blocks(root)[1:]:
        program = ["sh", "-e"] if language == "sh" else [sys.executable, "-"]
        told += subprocess.run(program, input=text, text=True, stdout=subprocess.PIPE, cwd=folder, env=surroundings,
                               check=True, timeout=300).stdout
    assert "hyperprior" in told and "BD-rate against jpeg" in told
    with Image.open(folder / "back.png") as back, Image.open(folder / "plot.png") as plot:
        assert back.size == (377, 600) and plot.width > 300
    assert (folder / "fits.fwb").stat().st_size <= 15000
    assert (folder / "heard.wav").is_file()
    page = (folder / "report.html").read_text()
    assert page.count("<svg") >= 2 and page.count("<figure>") == 8  # two photos, each as it is and by three codecs
