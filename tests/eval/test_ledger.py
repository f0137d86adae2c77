"""Evaluations that are interrupted and go on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewbits.eval.ledger import ENDING, Ledger

OPTIONS = {"effort": 5}


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "source.png"
    path.write_bytes(b"a picture")
    return path


def measured(value: int, times: list[int]):
    def measure() -> dict[str, int]:
        times.append(value)
        return {"value": value}

    return measure


def test_records_are_given_back(tmp_path, source):
    times: list[int] = []
    for _ in range(2):
        with Ledger(tmp_path / "kept", OPTIONS) as ledger:
            records = [ledger.record(source, {"codec": "jpeg", "setting": n}, measured(n, times)) for n in range(3)]
        assert records == [{"codec": "jpeg", "setting": n, "value": n} for n in range(3)]
    assert times == [0, 1, 2]
    assert (ledger.kept, ledger.taken) == (3, 3)


def test_a_torn_last_line_is_measured_again(tmp_path, source):
    times: list[int] = []
    path = tmp_path / "kept"
    with Ledger(path, OPTIONS) as ledger:
        for n in range(3):
            ledger.record(source, {"setting": n}, measured(n, times))
    path.write_bytes(path.read_bytes()[:-7])
    with Ledger(path, OPTIONS) as ledger:
        for n in range(3):
            ledger.record(source, {"setting": n}, measured(n, times))
    assert times == [0, 1, 2, 2]
    assert len(path.read_text().splitlines()) == 4


@pytest.mark.parametrize("change", ["options", "source", "machine", "program"])
def test_what_hangs_on_something_else_is_measured_again(tmp_path, source, monkeypatch, change):
    times: list[int] = []
    with Ledger(tmp_path / "kept", OPTIONS) as ledger:
        ledger.record(source, {"setting": 1}, measured(1, times))
    if change == "source":
        source.write_bytes(b"another picture")
    elif change == "machine":
        monkeypatch.setattr("fewbits.eval.ledger.describe_environment", lambda: {"processor": "another"})
    elif change == "program":
        monkeypatch.setattr("fewbits.eval.ledger._program", lambda: "another")
    with Ledger(tmp_path / "kept", {"effort": 6} if change == "options" else OPTIONS) as ledger:
        ledger.record(source, {"setting": 1}, measured(2, times))
    assert times == [1, 2]


def test_nothing_is_left_behind(tmp_path, source):
    with Ledger(tmp_path / "kept", OPTIONS):
        pass
    assert list(tmp_path.iterdir()) == [source]
    with Ledger(tmp_path / "kept", OPTIONS) as ledger:
        ledger.record(source, {"setting": 1}, measured(1, []))
        ledger.remove()
    assert list(tmp_path.iterdir()) == [source]


def test_the_command_goes_on_where_it_failed(root, smooth_picture, tmp_path):
    folder, out = tmp_path / "pictures", tmp_path / "out.json"
    folder.mkdir()
    Image.fromarray(smooth_picture).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"no picture")
    command = [sys.executable, "-m", "fewbits", "eval", folder, "--codec", "jpeg@30,60", "--codec", "png@6", "--anchor",
               "jpeg", "--json", out]

    def fewbits() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(root)})

    failed = fewbits()
    assert failed.returncode == 2
    assert "b.png" in failed.stderr and "3 records: the same command goes on from there" in failed.stderr
    unfinished = out.with_name(out.name + ENDING)
    kept = [json.loads(line)[1] for line in unfinished.read_text().splitlines()[1:]]
    assert not out.exists()
    Image.fromarray(np.flip(smooth_picture)).save(folder / "b.png")
    assert "Records taken over from the run that was interrupted: 3." in fewbits().stdout
    records = json.loads(out.read_text())["records"]
    assert [(r["file"], r["codec"], r["setting"]) for r in records] == [
        (file, *which) for file in ("a.png", "b.png") for which in (("jpeg", 30.0), ("jpeg", 60.0), ("png", 6.0))]
    assert records[:3] == kept
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json", "pictures"]
