"""Disks that are full or cannot be written, pipes that end: a sentence and an exit code, and the old file as it was.

What is left of commands that are killed, `kills.py` says.
"""

import errno
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from fewbits.apps.batch import engines, manifest
from fewbits.apps.cli.main import app
from fewbits.apps.train.checkpoints import replaced
from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio
from fewbits.codecs.video.nerv.checkpoint import Checkpoint
from fewbits.codecs.video_source import VideoFile
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


def test_a_full_disk_is_a_sentence(process: Process, tmp_path: Path) -> None:
    (tmp_path / "old.png").write_bytes(b"old")
    done = process("decode", "a.fwb", "-o", "old.png", "-y", limited=True)
    assert done.returncode == 2 and "old.png" in done.stderr and ".fewbits-" not in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert (tmp_path / "old.png").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["a.fwb", "a.png", "old.png"]


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


INTERRUPTED = """
import signal, time
from pathlib import Path
from fewbits.apps.cli.main import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored

def wait(self, target):
    print("busy", flush=True)
    time.sleep(60)

Path.replace = wait  # the last step to a file's final name
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["interrupted", "terminated"])
@pytest.mark.parametrize("arguments", [["encode", "0.png", "--codec", "circuit", "--effort", "1", "-y", "-o", "old"],
                                       ["eval", "0.png", "--codec", "png", "--json", "old"],
                                       ["train", "circuit-tree", ".", "--states", "2", "--passes", "1", "-o", "."]],
                         ids=lambda arguments: arguments[0])
def test_an_interrupt_leaves_no_trace_but_what_eval_measured(
        arguments: list[str], number: int, root: Path, tmp_path: Path) -> None:
    for name in range(4):
        PillowImage.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "old").write_bytes(b"old")
    before = everything(tmp_path)
    with subprocess.Popen([sys.executable, "-c", INTERRUPTED, *arguments], env=os.environ | {"PYTHONPATH": str(root)},
                          cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None and process.stdout.readline() == "busy\n"
        process.send_signal(number)
        assert process.wait(timeout=60) == 128 + number
        said = process.stderr.read()
    if arguments[0] == "eval":
        assert said.startswith("old.unfinished keeps what is measured")
        (tmp_path / "old.unfinished").unlink()
    else:
        assert said == ""
    assert everything(tmp_path) == before


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """No file of this process can have more bytes in the block."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("save", [lambda tensors, path: torch.save(tensors, path), save_file], ids=["torch", "weights"])
def test_a_checkpoint_or_weights_that_cannot_be_written_leave_the_old_ones(save: Callable, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"old")
    with files_end_at(LIMIT), pytest.raises(InputError, match=r"checkpoint\.pt cannot be written"):  # noqa: SIM117
        with replaced(path) as temporary:
            save({"a": torch.zeros(10000)}, temporary)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["checkpoint.pt"]


def test_the_checkpoint_of_a_film_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "film.fit", "this film")
    checkpoint.save({"a": torch.ones(1)})
    (tmp_path / "film.fit.partial").write_bytes(b"what a kill has left")
    assert checkpoint.load() == {"a": torch.ones(1)} and os.listdir(tmp_path) == ["film.fit"]
    with files_end_at(LIMIT), pytest.raises(InputError, match=r"film\.fit cannot be written"):
        checkpoint.save({"a": torch.ones(10000)})
    assert checkpoint.load() == {"a": torch.ones(1)} and os.listdir(tmp_path) == ["film.fit"]


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_full_disk_is_told_of_sounds_to_the_last_byte(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 20000)).astype(np.float32)
    path = tmp_path / f"a{suffix}"
    sound = Audio(noise, 16000)
    sound.save(path)
    size = path.stat().st_size
    for limit in (10, size // 2, size - 300, size - 1):  # libsndfile is silent on what fails as it closes a FLAC file
        with files_end_at(limit), pytest.raises(InputError, match=r"cannot be written to .*: File too large\.$"):
            sound.save(path)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".webm", ".mov"])
def test_a_full_disk_is_told_of_films(suffix: str, film: Callable, moving: Callable, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    source = VideoFile(BytesIO(film(moving())), 10**6)
    source.save(path)
    size = path.stat().st_size  # of lossy films it differs from time to time, by how threads of their encoders meet
    for limit in (10, size // 2, size - 1 if suffix == ".mkv" else 3 * size // 4):
        with files_end_at(limit), pytest.raises(InputError, match=r"cannot be written to .*: File too large\.$"):
            source.save(path)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command line in this process alone, in a folder with a small picture a.png and one in photos/."""
    def in_this_process(work: Callable, jobs: Iterable, workers: int | None) -> Iterator:
        yield from map(work, jobs)

    monkeypatch.setattr(engines, "in_processes", in_this_process)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "photos/a.png", "photos/b.png", "photos/c.png"):
        PillowImage.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "a.fwb").write_bytes(b"not looked at")
    return lambda *arguments: CliRunner().invoke(app, arguments)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()} | {
        str(path): b"" for path in folder.rglob("*") if path.is_dir()}


FILES = [["encode", "a.png", "-y", "-o"], ["decode", "a.fwb", "-y", "-o"],
         ["eval", "a.png", "--codec", "png", "--json"], ["eval", "a.png", "--codec", "png", "--html"]]
FOLDERS = [["batch", "encode", "photos", "-o"], ["demo", "-o"],
           *(["train", name, "photos", "-o"] for name in ("hyperprior", "overfit", "circuit-tree", "classifier"))]


@pytest.mark.parametrize("arguments", [*FILES, *FOLDERS], ids=" ".join)
def test_what_cannot_be_written_is_refused_before_the_work(arguments: list[str], run: Callable[..., Result],
                                                           tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(tmp_path)
    places = ["photos/a.png/x", "/proc/fewbits/x", "/sys/x", "a.png/x/y", "photos" if arguments in FILES else "a.png"]
    results = [run(*arguments, place) for place in places]
    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", MagicMock(side_effect=OSError(errno.EROFS, os.strerror(errno.EROFS))))
        results.append(run(*arguments, "new" if arguments in FOLDERS else "new.png"))
    assert "Read-only file system" in str(results[-1].exception)
    for result in results:
        assert isinstance(result.exception, InputError) and "[Errno" not in str(result.exception)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("name", ["old.jpg", "old.tif", "old.bmp", "old.fwb"])
def test_a_full_disk_leaves_the_old_file(name: str, run: Callable[..., Result], storing_codec: bytes,
                                         tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    PillowImage.fromarray(noise).save(tmp_path / "noise.png")
    run("encode", "noise.png")
    (tmp_path / name).write_bytes(b"old")
    before = everything(tmp_path)
    with files_end_at(LIMIT):
        result = run(*(["encode", "noise.png"] if name == "old.fwb" else ["decode", "noise.fwb"]), "-y", "-o", name)
    assert isinstance(result.exception, InputError) and "File too large" in str(result.exception)
    assert name in str(result.exception) and ".fewbits-" not in str(result.exception)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_a_full_disk_leaves_the_old_report(option: str, run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "report").write_bytes(b"old")
    before = everything(tmp_path)
    with files_end_at(LIMIT):
        result = run("eval", "a.png", "--codec", "png", option, "report")
    assert isinstance(result.exception, InputError)
    assert re.search(r"report(\.unfinished)? cannot be written: File too large", str(result.exception))
    assert everything(tmp_path) == before


def test_a_batch_whose_disk_was_full_goes_on(run: Callable[..., Result], storing_codec: bytes, tmp_path: Path) -> None:
    with files_end_at(LIMIT):  # the manifest is what grows beyond it
        assert isinstance(run("batch", "encode", "photos", "-o", "out").exception, OSError)
    assert "3 done" in run("batch", "encode", "photos", "-o", "out").stdout.replace("2 done, 1 done before", "3 done")
    run("batch", "encode", "photos", "-o", "at-once")
    lines = [(tmp_path / folder / manifest.NAME).read_text().splitlines() for folder in ("out", "at-once")]
    assert all(sum('"done"' in line for line in said) == 3 for said in lines)
    for path in (tmp_path / "at-once").glob("*.fwb"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    assert not list((tmp_path / "out").glob(".*"))
