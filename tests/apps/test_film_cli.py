"""The command line with films, and a codec that stores frames."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fewbits.apps.cli.main import app
from fewbits.codecs import registry
from fewbits.codecs.film import MAX_VIDEO_PIXELS, Video
from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio
from fewbits.codecs.video_source import VideoFile

Process = Callable[..., subprocess.CompletedProcess[bytes]]

MAIN = """
import runpy
runpy.run_path({path!r}, run_name="stored_film_elsewhere")
from fewbits.apps.cli.main import main
main()
"""


@pytest.fixture
def frames(film, moving, tmp_path: Path) -> np.ndarray:
    """Frames as they are in the file film.mkv, with 1.2 seconds of sound."""
    frames = moving(30)
    (tmp_path / "film.mkv").write_bytes(film(frames, Fraction(30000, 1001), tone=1))
    return frames


@pytest.fixture
def tone() -> Audio:
    """Half a second of sound."""
    return Audio(np.sin(np.arange(4000) / 3, dtype=np.float32)[None] / 2, 8000)


@pytest.fixture
def run(stored_film: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Runs the command line in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments, stdin=b"": CliRunner().invoke(app, arguments, input=stdin)


@pytest.fixture
def process(stored_film: Path, root: Path, tmp_path: Path) -> Process:
    """Runs the command line as a process, in a folder of its own."""

    def run(*arguments: str, stdin: bytes = b"", **surroundings: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-c", MAIN.format(path=str(stored_film)), *arguments]
        environment = os.environ | {"PYTHONPATH": str(root)} | surroundings
        return subprocess.run(command, input=stdin, capture_output=True, cwd=tmp_path, env=environment, timeout=120)

    return run


def samples(path: Path | io.BytesIO) -> np.ndarray:
    return Video.read(VideoFile(path, MAX_VIDEO_PIXELS)).samples


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as source:
        return [bytes(packet) for packet in source.demux(audio=0) if packet.size] if source.streams.audio else []


def test_a_film_goes_there_and_back(process: Process, run, frames: np.ndarray, tmp_path: Path) -> None:
    encoded = process("encode", "film.mkv", "--json")
    assert (encoded.returncode, encoded.stderr) == (0, b"")
    record = json.loads(encoded.stdout)
    size = (tmp_path / "film.fwb").stat().st_size
    assert (record["input"], record["output"], record["codec"]) == ("film.mkv", "film.fwb", "stored")
    assert (record["width"], record["height"], record["frames"], record["bytes"]) == (48, 34, 30, size)
    assert record["kbps"] == pytest.approx(8 * size / 1001) and record["fps"] == pytest.approx(30000 / 1001)
    assert run("decode", "film.fwb", "-o", "back.mkv").exit_code == 0
    assert np.array_equal(samples(tmp_path / "back.mkv"), frames)
    assert packets(tmp_path / "back.mkv") == packets(tmp_path / "film.mkv")


def test_pipes_carry_films(process: Process, frames: np.ndarray, tmp_path: Path) -> None:
    encoded = process("encode", "-", stdin=(tmp_path / "film.mkv").read_bytes())
    assert encoded.returncode == 0 and b"kbit/s" in encoded.stderr
    decoded = process("decode", "-", stdin=encoded.stdout)
    assert (decoded.returncode, decoded.stderr) == (0, b"")
    assert np.array_equal(samples(io.BytesIO(decoded.stdout)), frames)
    assert os.listdir(tmp_path) == ["film.mkv"]


def test_a_film_that_breaks_off_leaves_nothing_behind(process: Process, film, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 34, 48, 3), np.uint8)
    data = bytearray(film(noise, codec="png", pix_fmt="rgb24", format="avi"))
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    (tmp_path / "temporary").mkdir()
    result = process("encode", "-", "-o", "a.fwb", stdin=bytes(data), TMPDIR=str(tmp_path / "temporary"))
    assert result.returncode == 2 and result.stderr.startswith(b"fewbits: the input ")
    assert os.listdir(tmp_path) == ["temporary"] and not os.listdir(tmp_path / "temporary")


@pytest.mark.parametrize("name", ["film.mp4", "film.mov", "film"])
def test_the_suffix_of_the_output_chooses_the_form(name: str, run, frames: np.ndarray, tmp_path: Path) -> None:
    run("encode", "film.mkv")
    result = run("decode", "film.fwb", "-o", name if "." in name else f"{name}/")
    assert result.exit_code == 0
    if "." in name:
        assert VideoFile(tmp_path / name, MAX_VIDEO_PIXELS).count == 30 and packets(tmp_path / name)
    else:
        assert "hold no sound" in result.stderr and len(os.listdir(tmp_path / name)) == 30
        assert np.array_equal(Image.open(tmp_path / name / "000029.png").pixels, frames[29])
    assert "exists" in str(run("decode", "film.fwb", "-o", name).exception) or "." not in name
    before = sorted(os.listdir(tmp_path))
    assert "suffixes .mkv" in str(run("decode", "film.fwb", "-o", "a.gif").exception)
    assert sorted(os.listdir(tmp_path)) == before


def test_frames_and_rates_can_be_chosen(run, frames: np.ndarray, tmp_path: Path) -> None:
    run("encode", "film.mkv")
    result = run("decode", "film.fwb", "-o", "part.mkv", "--frames", "5:12")
    assert result.exit_code == 0 and "sound is left out" in result.stderr
    assert np.array_equal(samples(tmp_path / "part.mkv"), frames[5:12]) and not packets(tmp_path / "part.mkv")
    assert run("decode", "film.fwb", "-o", "half.mkv", "--fps", "15000/1001").exit_code == 0
    half = VideoFile(tmp_path / "half.mkv", MAX_VIDEO_PIXELS)
    assert half.rate == Fraction(15000, 1001) and np.array_equal(Video.read(half).samples, frames[::2])
    assert packets(tmp_path / "half.mkv") == packets(tmp_path / "film.mkv")
    for arguments, words in ((("--frames", "5"), "takes A:B"), (("--frames", "-1:3"), "takes A:B"),
                             (("--frames", "3:99"), "the film has 30"), (("--fps", "many"), "takes a number"),
                             (("--fps", "60"), "between frames"), (("--fps", "0"), "above 0")):
        assert words in str(run("decode", "film.fwb", "-o", "no.mkv", *arguments).exception)
    assert not (tmp_path / "no.mkv").exists()


def test_frames_are_for_films(run, tone: Audio, stored_sound: Path, tmp_path: Path) -> None:
    tone.save(tmp_path / "tone.wav")
    assert run("encode", "tone.wav").exit_code == 0
    for option in (("--frames", "1:2"), ("--fps", "3")):
        assert "holds no film" in str(run("decode", "tone.fwb", "-o", "a.wav", *option).exception)
    assert "can be chosen for films" in str(run("encode", "tone.wav", "-y", "--audio", "none").exception)


def test_the_sound_can_be_left_out_or_coded(run, frames: np.ndarray, stored_sound: Path, tmp_path: Path) -> None:
    sizes = {}
    for audio in ("copy", "none", "speech"):
        assert run("encode", "film.mkv", "-y", "--audio", audio).exit_code == 0
        sizes[audio] = (tmp_path / "film.fwb").stat().st_size
        text = run("info", "film.fwb").stdout
        assert ("sound     none" if audio == "none" else f"sound     {audio}, ") in text
    assert sizes["none"] < min(sizes["copy"], sizes["speech"])
    assert "There is no codec 'loud'" in str(run("encode", "film.mkv", "-y", "--audio", "loud").exception)


def test_info_and_verify(run, frames: np.ndarray, film, tmp_path: Path) -> None:
    run("encode", "film.mkv")
    text = run("info", "film.fwb").stdout
    for words in ("stored (stored)", "30 frames of 48 x 34 pixels, 1.00 s", "30000/1001 frames a second",
                  "RGB, from bt601, limited range", "kbit/s", "sound     copy, ", "5, all checksums right"):
        assert words in text
    assert json.loads(run("info", "film.fwb", "--json").stdout)["sound_track"]["form"] == "copy"
    plain = run("verify", "film.fwb").stdout
    assert "all 5 sections are intact and decode to 1.00 s of film: 30 frames of 48 x 34 pixels at 30000/1001" in plain
    assert "of sound" in plain
    assert "identical" in run("verify", "film.fwb", "--against", "film.mkv").stdout
    (tmp_path / "darker.mkv").write_bytes(film(frames - np.uint8(2)))
    assert "PSNR 42.11 dB" in run("verify", "film.fwb", "--against", "darker.mkv").stdout
    (tmp_path / "shorter.mkv").write_bytes(film(frames[:9]))
    assert "not the film in" in str(run("verify", "film.fwb", "--against", "shorter.mkv").exception)


def test_limits_and_damage(run, frames: np.ndarray, tmp_path: Path) -> None:
    assert "more than the limit" in str(run("encode", "film.mkv", "--max-pixels", "1000").exception)
    run("encode", "film.mkv")
    assert "more than the limit" in str(run("decode", "film.fwb", "-o", "a.mkv", "--max-pixels", "1000").exception)
    data = (tmp_path / "film.fwb").read_bytes()
    (tmp_path / "film.fwb").write_bytes(data[:-1])
    assert "1 of 5 sections" in str(run("decode", "film.fwb", "-o", "a.mkv").exception)
    result = run("decode", "film.fwb", "-o", "a.mkv", "--allow-damage")
    assert result.exit_code == 0 and "1 of 5 sections are damaged and blank" in result.stderr
    assert np.array_equal(samples(tmp_path / "a.mkv")[:24], frames[:24])


def test_a_folder_of_films_and_sounds(run, frames: np.ndarray, tone: Audio, stored_sound: Path,
                                      tmp_path: Path) -> None:
    tone.save(tmp_path / "tone.wav")
    lines = run("encode", ".", "-o", "out", "--json").stdout.splitlines()
    assert {(record["input"], record["codec"]) for record in map(json.loads, lines)} == {
        ("tone.wav", "speech"), ("film.mkv", "stored")}
    assert run("decode", "out", "-o", "back").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["film.mkv", "tone.wav"]
    assert np.array_equal(samples(tmp_path / "back" / "film.mkv"), frames)


def test_without_a_codec_for_films_a_sentence_says_so(run, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(registry._DEFAULTS, "video")
    assert "no usual codec for video" in str(run("encode", "film.mkv").exception)


KILLED = """
import os, signal, sys
from fewbits.codecs.video.nerv import encoder
from fewbits.codecs.video.nerv.checkpoint import Checkpoint

def save(self, tensors, saved=[]):
    whole(self, tensors)
    saved.append(self)
    if len(saved) == 5:
        os.kill(os.getpid(), signal.SIGKILL)

encoder.SAVE_EVERY, Checkpoint.save, whole = 0.0, save, Checkpoint.save
from fewbits.apps.cli.main import app
app(sys.argv[1:])
"""


def test_an_encoding_that_is_killed_goes_on(root: Path, run, film, moving, tmp_path: Path) -> None:
    (tmp_path / "film.mkv").write_bytes(film(moving(4), Fraction(25)))
    arguments = ["encode", "film.mkv", "--effort", "1", "--codec", "nerv"]
    kept = [*arguments, "-o", "kept.fwb", "--checkpoint", "film.fit"]
    checkpoint, environment = tmp_path / "film.fit", os.environ | {"PYTHONPATH": str(root)}
    killed = subprocess.run([sys.executable, "-c", KILLED, *kept], cwd=tmp_path, env=environment, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert checkpoint.exists() and not (tmp_path / "kept.fwb").exists()
    assert run(*kept).exit_code == 0
    assert not checkpoint.exists()
    assert run(*arguments).exit_code == 0
    assert (tmp_path / "kept.fwb").read_bytes() == (tmp_path / "film.fwb").read_bytes()


def test_checkpoints_are_for_one_film(run, frames: np.ndarray, tmp_path: Path) -> None:
    assert "keeps no checkpoints" in str(run("encode", "film.mkv", "--checkpoint", "film.fit").exception)
    (tmp_path / "films").mkdir()
    for name in ("a.mkv", "b.mkv"):
        (tmp_path / "films" / name).write_bytes((tmp_path / "film.mkv").read_bytes())
    assert "belongs to one film" in str(run("encode", "films", "--checkpoint", "film.fit").exception)
