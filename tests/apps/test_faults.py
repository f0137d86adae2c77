"""Disks that are full and pipes that end: a sentence and an exit code, and the old file as it was."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from fewbits.apps.train.checkpoints import save_checkpoint
from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.media import Image
from fewbits.errors import InputError

LIMIT = 600  # bytes that a file may have
Process = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def process(root: Path, tmp_path: Path) -> Process:
    """Runs the command line in a folder with a file a.fwb of a noisy picture, which takes more than `LIMIT`."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    # checked by decoding, so that numba's cache is there before processes are limited
    (tmp_path / "a.fwb").write_bytes(files.encode(Image(noise), "circuit", Target(effort=1)).data)
    PillowImage.fromarray(noise).save(tmp_path / "a.png")

    def run(*arguments: str, limited: bool = False, **options) -> subprocess.CompletedProcess[str]:
        def limit() -> None:  # Python ignores the signal that comes with it
            resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))

        return subprocess.run([sys.executable, "-B", "-m", "fewbits", *arguments], cwd=tmp_path, text=True,
                              env=os.environ | {"PYTHONPATH": str(root)}, stderr=subprocess.PIPE, timeout=300,
                              preexec_fn=limit if limited else None, **options)

    return run


@pytest.mark.parametrize("name", ["old.png", "old.jpg", "old.tif", "old.bmp"])
def test_a_full_disk_leaves_the_old_picture(name: str, process: Process, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"old")
    done = process("decode", "a.fwb", "-o", name, "-y", limited=True)
    assert done.returncode == 2 and name in done.stderr and ".fewbits-" not in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert (tmp_path / name).read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == sorted(["a.fwb", "a.png", name])


@pytest.mark.parametrize("arguments", [["info", "a.fwb"], ["decode", "a.fwb", "-o", "-"]])
def test_pipes_that_are_full_or_end(arguments: list[str], process: Process) -> None:
    with open("/dev/full", "wb") as full:
        done = process(*arguments, stdout=full)
    assert done.returncode == 2 and done.stderr == "fewbits: [Errno 28] No space left on device\n"
    reading, writing = os.pipe()
    os.close(reading)
    done = process(*arguments, stdout=writing)
    os.close(writing)
    assert done.returncode == 1 and done.stderr == ""


def test_a_closed_output_is_a_sentence(root: Path, process: Process, tmp_path: Path) -> None:
    done = subprocess.run(["sh", "-c", f"{sys.executable} -m fewbits decode a.fwb -o - >&-"], cwd=tmp_path, text=True,
                          env=os.environ | {"PYTHONPATH": str(root)}, stderr=subprocess.PIPE, timeout=300)
    assert done.returncode == 2 and done.stderr == "fewbits: The standard output is closed: give a file with -o.\n"


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint({"step": 1}, path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    try:
        with pytest.raises(InputError, match=r"checkpoint\.pt cannot be written"):
            save_checkpoint({"step": torch.zeros(10000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.load(path) == {"step": 1} and os.listdir(tmp_path) == ["checkpoint.pt"]
