"""The command line with sounds, and a codec that stores samples."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fewbits.apps.cli.main import app
from fewbits.codecs import registry
from fewbits.codecs.sound import Audio
from fewbits.entropy import container

RATE = 8000
Process = Callable[..., subprocess.CompletedProcess[bytes]]

MAIN = """
import runpy, sys
runpy.run_path(sys.argv.pop(1), run_name="stored_sound")
from fewbits.apps.cli.main import main
main()
"""


def made_sound(seconds: float = 2.5, channels: int = 1) -> Audio:
    time = np.arange(round(seconds * RATE)) / RATE
    return Audio(np.stack([np.sin((900 + 200 * k) * time) / 2 for k in range(channels)]).astype(np.float32), RATE)


@pytest.fixture
def sound(tmp_path: Path) -> Audio:
    """A sound as it is in the file sound.wav."""
    made_sound().save(tmp_path / "sound.wav")
    return Audio.open(tmp_path / "sound.wav")


@pytest.fixture
def run(stored_sound: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Runs the command line in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments, stdin=b"": CliRunner().invoke(app, arguments, input=stdin)


@pytest.fixture
def process(stored_sound: Path, root: Path, tmp_path: Path) -> Process:
    """Runs the command line as a process, in a folder of its own."""

    def run(*arguments: str, stdin: bytes = b"", **surroundings: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-c", MAIN.replace("sys.argv.pop(1)", repr(str(stored_sound))), *arguments]
        environment = os.environ | {"PYTHONPATH": str(root)} | surroundings
        return subprocess.run(command, input=stdin, capture_output=True, cwd=tmp_path, env=environment, timeout=120)

    return run


def near(decoded: Audio, source: Audio) -> bool:
    same = (decoded.rate, decoded.samples.shape) == (source.rate, source.samples.shape)
    return same and float(np.abs(decoded.samples - source.samples).max()) < 1 / 100


def test_a_sound_goes_there_and_back_in_processes(process: Process, sound: Audio, tmp_path: Path) -> None:
    encoded = process("encode", "sound.wav", "--json")
    assert (encoded.returncode, encoded.stderr) == (0, b"")
    record = json.loads(encoded.stdout)
    size = (tmp_path / "sound.fwb").stat().st_size
    assert (record["input"], record["output"], record["codec"]) == ("sound.wav", "sound.fwb", "speech")
    assert (record["rate"], record["channels"], record["samples"], record["seconds"]) == (RATE, 1, 20000, 2.5)
    assert record["bytes"] == size and record["kbps"] == pytest.approx(8 * size / 2500)
    assert not {"bpp", "pixels", "width"} & set(record)
    assert process("decode", "sound.fwb", "-o", "back.wav").returncode == 0
    assert near(Audio.open(tmp_path / "back.wav"), sound)


def test_pipes_carry_sounds(process: Process, sound: Audio, tmp_path: Path) -> None:
    encoded = process("encode", "-", stdin=(tmp_path / "sound.wav").read_bytes())
    assert encoded.returncode == 0 and b"kbit/s" in encoded.stderr
    decoded = process("decode", "-", stdin=encoded.stdout)
    assert decoded.returncode == 0 and decoded.stdout.startswith(b"RIFF")
    assert near(Audio.open(io.BytesIO(decoded.stdout)), sound)
    assert os.listdir(tmp_path) == ["sound.wav"]
    assert process("encode", "sound.wav", "-o", "-").stdout == encoded.stdout
    assert process("decode", "-", "-o", "back.wav", stdin=encoded.stdout).returncode == 0
    assert (tmp_path / "back.wav").read_bytes() == decoded.stdout


@pytest.mark.parametrize("source", ["-", "cut.flac"])
def test_a_source_that_breaks_off_leaves_nothing_behind(process: Process, source: str, tmp_path: Path) -> None:
    made_sound(30).save(tmp_path / "cut.flac")
    cut = (tmp_path / "cut.flac").read_bytes()[:-5000]
    (tmp_path / "cut.flac").write_bytes(cut)
    (tmp_path / "temporary").mkdir()
    result = process("encode", source, "-o", "a.fwb", stdin=cut, TMPDIR=str(tmp_path / "temporary"))
    assert result.returncode == 2 and b"damaged or cut" in result.stderr
    assert sorted(os.listdir(tmp_path)) == ["cut.flac", "temporary"] and not os.listdir(tmp_path / "temporary")


def test_exit_codes_and_sentences(process: Process, sound: Audio, smooth_png: Path, tmp_path: Path) -> None:
    piped = process("encode", "sound.wav", "-o", "-")
    (tmp_path / "cut.fwb").write_bytes(piped.stdout[:40])
    before = sorted(os.listdir(tmp_path))
    for arguments, code, words in (
        (("encode", "sound.wav", "--codec", "hyperprior"), 2, "hyperprior is for one picture, not for sound"),
        (("encode", "smooth.png", "--codec", "speech"), 2, "speech is for sound, not for one picture"),
        (("encode", "sound.wav", "-o", "a.fwb", "--bpp", "1"), 2, "aim at kbit/s"),
        (("encode", "smooth.png", "--kbps", "6"), 2, "kbit/s mean nothing"),
        (("decode", "cut.fwb"), 3, "ends at byte 40"),
    ):
        result = process(*arguments)
        assert result.returncode == code and result.stdout == b""
        assert words in result.stderr.decode() and result.stderr.count(b"\n") == 1
    assert sorted(os.listdir(tmp_path)) == before


def test_the_suffix_of_the_output_chooses_the_format(run, sound: Audio, tmp_path: Path) -> None:
    assert run("encode", "sound.wav").exit_code == 0
    assert run("decode", "sound.fwb", "-o", "back.flac").exit_code == 0
    assert (tmp_path / "back.flac").read_bytes().startswith(b"fLaC")
    assert near(Audio.open(tmp_path / "back.flac"), sound)
    result = run("decode", "sound.fwb", "-o", "back.png")
    assert result.exception is not None and ".wav and .flac are known" in str(result.exception)
    assert not (tmp_path / "back.png").exists()


def test_rates_and_limits(run, sound: Audio, tmp_path: Path) -> None:
    record = json.loads(run("encode", "sound.wav", "--kbps", "20", "--json").stdout)
    assert record["kbps"] <= 20
    assert "kbit/s" in run("encode", "sound.wav", "-y", "--size", "2000").stdout
    assert (tmp_path / "sound.fwb").stat().st_size <= 2000
    assert "samples, the limit" in str(run("encode", "sound.wav", "-y", "--max-samples", "19999").exception)
    assert "limit of 19999" in str(run("decode", "sound.fwb", "-y", "--max-samples", "19999").exception)
    assert run("decode", "sound.fwb", "-y", "--max-samples", "20000").exit_code == 0


def test_a_folder_of_sounds_goes_there_and_back(run, tmp_path: Path) -> None:
    (tmp_path / "talks" / "old").mkdir(parents=True)
    made_sound(1).save(tmp_path / "talks" / "a.wav")
    made_sound(2, channels=2).save(tmp_path / "talks" / "old" / "b.flac")
    (tmp_path / "talks" / "notes.txt").write_text("not a sound")
    assert run("encode", "talks").exit_code == 0
    assert run("decode", "talks-fwb").exit_code == 0
    back = tmp_path / "talks-fwb-decoded"
    assert near(Audio.open(back / "a.wav"), made_sound(1))
    assert near(Audio.open(back / "old" / "b.wav"), made_sound(2, channels=2))
    assert "nothing to do" in str(run("encode", "talks", "-o", "x", "--codec", "hyperprior").exception)


def test_a_folder_of_pictures_and_sounds_takes_the_codec_of_each(run, sound: Audio, smooth_png: Path, tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._DEFAULTS, "image", "circuit")
    lines = run("encode", ".", "-o", "out", "--json").stdout.splitlines()
    assert {(record["input"], record["codec"]) for record in map(json.loads, lines)} == {
        ("smooth.png", "circuit"), ("sound.wav", "speech")}
    assert run("decode", "out", "-o", "back").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "back").iterdir()) == ["smooth.png", "sound.wav"]


def test_verify_compares_sounds(run, sound: Audio, tmp_path: Path) -> None:
    run("encode", "sound.wav")
    plain = run("verify", "sound.fwb").stdout
    assert "all 3 sections are intact and decode to 2.50 s of sound: 1 x 20,000 samples at 8000 Hz" in plain
    compared = run("verify", "sound.fwb", "--against", "sound.wav").stdout
    assert float(compared.split("SI-SDR")[1].split()[0]) > 30 and "mel distance" in compared
    assert run("decode", "sound.fwb", "-o", "same.wav").exit_code == 0
    assert "identical" in run("verify", "sound.fwb", "--against", "same.wav").stdout
    made_sound(2).save(tmp_path / "shorter.wav")
    assert "not the sound in" in str(run("verify", "sound.fwb", "--against", "shorter.wav").exception)


def test_accepted_damage_is_reported(run, sound: Audio, tmp_path: Path) -> None:
    run("encode", "sound.wav")
    data = (tmp_path / "sound.fwb").read_bytes()
    (tmp_path / "sound.fwb").write_bytes(data[:-1])
    assert "1 of 3 sections" in str(run("decode", "sound.fwb", "-y").exception)
    result = run("decode", "sound.fwb", "-y", "--allow-damage")
    assert result.exit_code == 0 and "1 of 3 sections are damaged and blank" in result.stderr
    assert not Audio.open(tmp_path / "sound.wav").samples[:, 2 * RATE :].any()


def test_info_tells_what_is_in_a_file_that_nobody_can_decode(run, tmp_path: Path) -> None:
    entry = registry.entry("speech")
    header = container.Header(entry.number, "audio", b"unknown!", {"rate": 16000, "channels": 2, "count": 40000},
                              {field.name: field.low for field in entry.settings})
    (tmp_path / "a.fwb").write_bytes(container.write(header, entry.settings, [b"first", b"second"]))
    facts = json.loads(run("info", "a.fwb", "--json").stdout)
    assert (facts["seconds"], facts["kbps"]) == (2.5, pytest.approx(facts["bytes"] * 8 / 2500))
    text = run("info", "a.fwb").stdout
    for words in ("speech (hierarchical)", "2.50 s, 2 channels at 16000 Hz", "40,000 in each channel", "kbit/s",
                  b"unknown!".hex(), "2, all checksums right"):
        assert words in text
    assert "pixel" not in text and "colour" not in text
