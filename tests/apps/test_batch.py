"""`fewbits batch`: what runs again, what does not, and what is left when processes are killed."""

import json
import multiprocessing
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image as PillowImage
from typer.testing import CliRunner, Result

import fewbits
from fewbits.apps.batch import engines, manifest
from fewbits.apps.cli.main import app
from fewbits.codecs import files
from fewbits.errors import DamagedError, FewbitsError, InputError

Run = Callable[..., Result]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six small pictures in a tree, one like no other."""
    folder = tmp_path / "photos"
    (folder / "sea").mkdir(parents=True)
    random = np.random.default_rng(1)
    for number in range(6):
        smooth = np.cumsum(random.integers(-2, 3, (24, 32, 3)), axis=1) + 128
        PillowImage.fromarray(smooth.clip(0, 255).astype(np.uint8)).save(
            folder / ("sea" if number % 2 else "") / f"{number}.png")
    return folder


@pytest.fixture
def run(storing_codec: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs `fewbits batch` in this process, without others, with the codec that stores samples."""
    def in_this_process(work: Callable, jobs: Iterable, workers: int | None) -> Iterator:
        yield from map(work, jobs)

    monkeypatch.setattr(engines, "in_processes", in_this_process)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["batch", *arguments])


@pytest.fixture
def coded(run: Run, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Pictures that were coded; `run` comes first, so that this listens to its codec."""
    seen, store = [], files.encode

    def listen(media: Any, *arguments: Any, **options: Any) -> files.Encoded:
        seen.append(media.pixels)
        return store(media, *arguments, **options)

    monkeypatch.setattr(files, "encode", listen)
    return seen


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / manifest.NAME).read_text().splitlines()]


def done(folder: Path) -> Counter[str]:
    """How often the manifest says of each target that it is done."""
    return Counter(record["target"] for record in records(folder) if record["state"] == "done")


def content(folder: Path) -> dict[str, bytes]:
    """All files but the manifest; what is left of temporary ones would be among them."""
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file() and path.name != manifest.NAME}


def test_a_tree_goes_there_and_back(run: Run, photos: Path, tmp_path: Path) -> None:
    result = run("encode", "photos")
    assert result.exit_code == 0 and "6 done" in result.stdout and "bits per pixel" in result.stdout
    assert run("decode", "photos-fwb", "-o", "back").exit_code == 0
    for path in photos.rglob("*.png"):
        assert np.array_equal(PillowImage.open(path), PillowImage.open(tmp_path / "back" / path.relative_to(photos)))


def test_the_manifest_says_what_became_of_each_file(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_text("not a picture")
    assert run("encode", "photos", "-o", "out", "--quality", "30").exit_code == 2
    last = {record["target"]: record for record in records(tmp_path / "out")}
    good, bad = last["sea/1.fwb"], last["bad.fwb"]
    assert (good["state"], good["source"], good["options"]["quality"]) == ("done", "photos/sea/1.png", 30)
    assert good["bytes"] == (tmp_path / "out" / "sea" / "1.fwb").stat().st_size
    assert bad["state"] == "failed" and "bad.png" in bad["error"]


def test_what_is_done_is_not_done_again(run: Run, coded: list, photos: Path) -> None:
    run("encode", "photos")
    result = run("encode", "photos")
    assert result.exit_code == 0 and "0 done, 6 done before" in result.stdout
    assert len(coded) == 6


def test_a_changed_source_or_option_or_a_lost_file_is_done_again(run: Run, coded: list, photos: Path) -> None:
    run("encode", "photos", "-o", "out")
    (photos.parent / "out" / "0.fwb").unlink()
    assert "1 done, 5 done before" in run("encode", "photos", "-o", "out").stdout
    os.utime(photos / "0.png", (1, 1))
    assert "1 done, 5 done before" in run("encode", "photos", "-o", "out").stdout
    assert "6 done" in run("encode", "photos", "-o", "out", "--quality", "20").stdout
    assert "6 done before" in run("encode", "photos", "-o", "out", "--quality", "20", "--max-pixels", "9999").stdout


def test_an_interrupted_batch_goes_on(run: Run, coded: list, photos: Path, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    listen = files.encode

    def interrupt(*arguments: Any, **options: Any) -> files.Encoded:
        if len(coded) == 2:
            raise KeyboardInterrupt
        return listen(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(files, "encode", interrupt)
        result = run("encode", "photos", "-o", "out")
        assert result.exit_code != 0 and "2 done, 4 left" in result.stdout
    assert len(content(tmp_path / "out")) == 2
    assert "4 done, 2 done before" in run("encode", "photos", "-o", "out").stdout
    assert len(coded) == 6 and set(done(tmp_path / "out").values()) == {1}
    run("encode", "photos", "-o", "at-once")
    assert content(tmp_path / "out") == content(tmp_path / "at-once")


def test_a_kill_between_file_and_record_loses_nothing(run: Run, photos: Path, tmp_path: Path) -> None:
    run("encode", "photos", "-o", "out")
    whole = content(tmp_path / "out")
    lines = (tmp_path / "out" / manifest.NAME).read_bytes()
    (tmp_path / "out" / manifest.NAME).write_bytes(lines[:-40])  # the last "done" is torn
    half_written = tmp_path / "out" / "sea" / ".fewbits-x" / "5.fwb"
    half_written.parent.mkdir()
    half_written.write_bytes(b"half of it")
    assert "1 done, 5 done before" in run("encode", "photos", "-o", "out").stdout
    assert content(tmp_path / "out") == whole
    assert (tmp_path / "out" / manifest.NAME).read_bytes().startswith(lines[:lines[:-1].rindex(b"\n") + 1])
    assert set(done(tmp_path / "out").values()) == {1}


def test_a_manifest_of_something_else_is_refused(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / manifest.NAME).write_text("[]\n")
    assert "Line 1" in str(run("encode", "photos", "-o", "out").exception)


def test_failures_are_listed_until_they_are_retried(run: Run, coded: list, photos: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(media: Any, *arguments: Any, **options: Any) -> files.Encoded:
        coded.append(media.pixels)
        raise DamagedError("The moon was full.")

    with monkeypatch.context() as patch:
        patch.setattr(files, "encode", fail)
        results = [run("encode", "photos") for _ in range(2)]
    assert len(coded) == 6
    for result in results:
        assert result.exit_code == 3 and "6 failed" in result.stdout
        assert "photos/0.png: The moon was full." in result.stderr
    assert "6 done" in run("encode", "photos", "--retry").stdout


def test_a_fault_of_a_codec_costs_one_file(run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, numbers = files.encode, iter(range(6))

    def stumble(*arguments: Any, **options: Any) -> files.Encoded:
        return store(*arguments, **options) if next(numbers) else 1 / 0

    monkeypatch.setattr(files, "encode", stumble)
    result = run("encode", "photos")
    assert result.exit_code == 1 and "5 done, 1 failed" in result.stdout and "ZeroDivisionError" in result.stderr


def test_files_of_others_need_y(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0.fwb").write_bytes(b"old")
    result = run("encode", "photos", "-o", "out")
    assert result.exit_code == 2 and "5 done, 1 failed" in result.stdout and "use -y" in result.stderr
    assert (tmp_path / "out" / "0.fwb").read_bytes() == b"old"
    assert "1 done, 5 done before" in run("encode", "photos", "-o", "out", "-y").stdout


def test_a_list_of_paths(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text(f"photos/0.png\n\n{photos}/sea/1.png\nphotos/none.png\n")
    result = run("encode", "some.txt")
    assert result.exit_code == 2 and "2 done, 1 failed" in result.stdout and "none.png cannot be read" in result.stderr
    assert (tmp_path / "some-fwb" / "photos" / "0.fwb").is_file()
    assert (tmp_path / "some-fwb" / photos.relative_to("/") / "sea" / "1.fwb").is_file()


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["encode", "photos/0.png"], "leave batch out"),
    (["encode", "photos", "--codec", "circuit-tree"], "leave batch out"),
    (["encode", "photos", "-o", "-"], "pipe"),
    (["encode", "none.txt"], "none.txt cannot be read"),
    (["encode", "outside.txt"], "outside the folder of the list"),
    (["encode", "empty.txt"], "names no file"),
    (["encode", "bytes.txt"], "is no text"),
    (["decode", "photos"], "nothing to do"),
])
def test_what_makes_no_batch_is_refused(run: Run, photos: Path, tmp_path: Path, arguments: list[str],
                                        sentence: str) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "outside.txt").write_text("../a.png\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xfa")
    error = run(*arguments).exception
    assert isinstance(error, InputError) and sentence in str(error)


def test_a_folder_belongs_to_one_batch_at_a_time(run: Run, photos: Path, tmp_path: Path) -> None:
    with manifest.Manifest(tmp_path / "out"):
        assert "at work" in str(run("encode", "photos", "-o", "out").exception)
    assert run("encode", "photos", "-o", "out").exit_code == 0


def test_the_pool_takes_jobs_as_it_needs_them() -> None:
    taken = []
    jobs = (taken.append(number) or 0.0 for number in range(50))
    results = engines.in_processes(time.sleep, jobs, 1)
    next(results)
    assert len(taken) == engines.IN_HAND
    assert len(list(results)) == 49


def test_processes_of_the_pool_have_one_thread() -> None:
    names = ["OMP_NUM_THREADS", "NUMBA_NUM_THREADS"]
    assert list(engines.in_processes(os.getenv, names, 1)) == ["1", "1"]


def test_a_killed_process_of_the_pool_ends_the_batch_with_a_sentence() -> None:
    results = engines.in_processes(time.sleep, [0, 60, 60], 1)
    next(results)
    [process] = multiprocessing.active_children()
    process.kill()
    with pytest.raises(FewbitsError, match=r"killed.*goes on"):
        next(results)


def test_the_pool_ends_at_once_when_its_results_are_not_wanted_any_more() -> None:
    began = time.monotonic()
    results = engines.in_processes(time.sleep, [0, 60, 60], 1)
    next(results)
    results.close()
    assert not multiprocessing.active_children() and time.monotonic() - began < 30


def test_without_ray_a_sentence_says_how_to_get_it(run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "fewbits[ray]" in str(run("encode", "photos", "--engine", "ray").exception)


def heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored


@pytest.fixture
def fewbits_batch(root: Path, tmp_path: Path) -> Callable[..., subprocess.Popen]:
    """Starts `fewbits batch` as users do."""
    def start(*arguments: str | Path, **surroundings: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "fewbits", "batch", *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(root)} | surroundings
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                cwd=tmp_path, start_new_session=True, preexec_fn=heed_interrupts)

    return start


def wait_for_done(folder: Path, count: int, process: subprocess.Popen) -> None:
    """Until so many files are done; fails where the batch ends before that."""
    path = folder / manifest.NAME
    while not path.exists() or path.read_bytes().count(b'"state": "done"') < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def children(pid: int, name: bytes = b"") -> list[int]:
    """Processes below another whose command line has the name."""
    found = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, tasks.read_text().split()):
            if name in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
            found += children(child, name)
    return found


@pytest.mark.slow
def test_bytes_are_those_of_encode(fewbits_batch: Callable, hyperprior_weights: Path, photos: Path,
                                   tmp_path: Path) -> None:
    tone = np.sin(np.arange(16000) * 0.1).astype(np.float32) / 4
    soundfile.write(photos / "sea" / "tone.wav", tone, 16000)
    with fewbits_batch("encode", "photos", "-o", "out", "--quality", "40", "--jobs", "2") as process:
        out, error = process.communicate(timeout=300)
    assert process.returncode == 0 and "sounds" in out and "pictures" in out, error
    for name, data in content(tmp_path / "out").items():
        [source] = photos.glob(f"{name.removesuffix('.fwb')}.*")
        assert data == fewbits.encode(source, quality=40)


@pytest.fixture
def larger_photos(tmp_path: Path, shared_picture: np.ndarray) -> Path:
    """Sixty pictures that take long enough for a batch of them to be met while it is at work."""
    folder = tmp_path / "larger"
    folder.mkdir()
    for number in range(60):
        PillowImage.fromarray(np.roll(shared_picture, number, axis=1)).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture
def shared_picture(smooth_picture: np.ndarray) -> np.ndarray:
    """(384, 512, 3) uint8."""
    return np.tile(smooth_picture, (8, 8, 1))


def expected(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    return {name: fewbits.encode(folder / name.replace(".fwb", ".png"), quality=30) for name in names}


ENCODE = ("encode", "larger", "-o", "out", "--quality", "30", "--jobs", "2")


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "batch", "ctrl-c", "terminated"])
def test_after_a_kill_the_same_command_goes_on(fewbits_batch: Callable, hyperprior_weights: Path,
                                               larger_photos: Path, tmp_path: Path, victim: str) -> None:
    with fewbits_batch(*ENCODE) as process:
        wait_for_done(tmp_path / "out", 5, process)
        workers = children(process.pid, b"spawn_main")
        if victim == "worker":
            os.kill(workers[0], signal.SIGKILL)
        elif victim == "ctrl-c":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGKILL if victim == "batch" else signal.SIGTERM)
        out, error = process.communicate(timeout=120)
    codes = {"worker": 1, "batch": -signal.SIGKILL, "ctrl-c": 130, "terminated": 128 + signal.SIGTERM}
    assert process.returncode == codes[victim]
    assert victim != "worker" or "was killed" in error
    assert victim == "batch" or "left, in" in out
    assert "Traceback" not in error
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    before = done(tmp_path / "out")
    assert 5 <= len(before) < 60
    if victim in ("ctrl-c", "terminated"):
        assert not list((tmp_path / "out").glob(".fewbits-*"))
    with fewbits_batch(*ENCODE) as process:
        out, error = process.communicate(timeout=300)
    assert process.returncode == 0 and f"{len(before)} done before" in out, error
    assert done(tmp_path / "out") == {f"{number:02}.fwb": 1 for number in range(60)}
    made = content(tmp_path / "out")
    assert made == expected(larger_photos, made)


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_worker_loses_no_file(fewbits_batch: Callable, hyperprior_weights: Path,
                                                         larger_photos: Path, tmp_path: Path, root: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed: fewbits[ray]")
    monkeypatch.setenv("PYTHONPATH", str(root))  # of the workers
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # Ray would write one to the home folder
    cluster = ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        arguments = [*ENCODE, "--engine", "ray"]
        with fewbits_batch(*arguments, RAY_ADDRESS=cluster.address_info["gcs_address"]) as process:
            wait_for_done(tmp_path / "out", 5, process)
            os.kill(children(os.getpid(), b"ray::_on_ray")[0], signal.SIGKILL)
            out, error = process.communicate(timeout=400)
    finally:
        ray.shutdown()
    assert process.returncode == 0 and "60 done" in out, error
    assert done(tmp_path / "out") == {f"{number:02}.fwb": 1 for number in range(60)}
    made = content(tmp_path / "out")
    assert made == expected(larger_photos, made)
