"""Sets of images on the command line: training a circuit, and files there and back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from typer.testing import CliRunner, Result

from fewbits.apps.cli.main import app
from fewbits.apps.train import circuit_tree as recipe
from fewbits.codecs import files
from fewbits.codecs.circuit import codec as codec_module
from fewbits.codecs.circuit.circuit import Circuit
from fewbits.codecs.circuit.codec import circuit_bits
from fewbits.codecs.image_set import ImageSet
from fewbits.errors import InputError

TINY = recipe.Budget(states=4, components=4, passes=6, whole_passes=1, batch=64)


def blobs(count: int) -> ImageSet:
    """Images of 5 x 5 pixels: a bright column on a dark ground."""
    generator = np.random.default_rng(0)
    samples = generator.integers(0, 4, (count, 5, 5, 1))
    samples[np.arange(count), :, generator.integers(0, 5, count)] += 250
    return ImageSet(samples.astype(np.uint8))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained circuit for `blobs`."""
    run = tmp_path_factory.mktemp("run")
    recipe.train(blobs(400), run, run / "weights" / "blobs.safetensors", TINY, report=lambda line: None)
    return run / "weights"


@pytest.fixture
def run(weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs the command line in this process, in a folder of its own, with the circuit for `blobs`."""
    monkeypatch.setattr(codec_module, "WEIGHTS", weights)
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, stdin: bytes = b"") -> Result:
        return CliRunner().invoke(app, arguments, input=stdin)

    return invoke


def test_a_trained_circuit_beats_single_pixels_and_goes_on_where_it_stopped(tmp_path: Path):
    lines: list[str] = []
    images, weights = blobs(400), tmp_path / "w.safetensors"
    recipe.train(images, tmp_path, weights, TINY, report=lines.append)
    assert len(lines) == TINY.passes + TINY.whole_passes + 1
    first = Circuit.load(weights)
    bits = circuit_bits(blobs(50).samples, first.compiled()) / blobs(50).samples.size
    counts = np.bincount(images.samples.reshape(-1), minlength=256) / images.samples.size
    assert bits < -(counts[counts > 0] * np.log2(counts[counts > 0])).sum()
    card = weights.with_suffix(".md").read_text()
    assert "20 more" in card and f"{bits:.1f}" in card
    weights.unlink()
    lines.clear()
    recipe.train(images, tmp_path, weights, TINY, report=lines.append)
    assert len(lines) == 1  # nothing was left to train
    assert np.array_equal(Circuit.load(weights).transitions, first.transitions)


def test_an_interrupted_run_ends_like_one_that_was_not(tmp_path: Path):
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    images = blobs(100)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            recipe.Training(images, tmp_path, TINY, "cpu", recipe.no_progress, interrupt).go_on()
    broken = recipe.Training(images, tmp_path, TINY, "cpu", recipe.no_progress, lambda line: None)
    broken.go_on()
    whole = recipe.Training(images, tmp_path / "other", TINY, "cpu", recipe.no_progress, lambda line: None)
    (tmp_path / "other").mkdir()
    whole.go_on()
    assert broken.state.history == whole.state.history


def test_a_run_of_other_images_or_too_few_images_are_refused(tmp_path: Path):
    recipe.train(blobs(40), tmp_path, tmp_path / "w.safetensors", TINY, report=lambda line: None)
    with pytest.raises(InputError, match="another training"):
        recipe.train(ImageSet(np.zeros((40, 3, 3, 1), np.uint8)), tmp_path, tmp_path / "w.safetensors", TINY)
    with pytest.raises(InputError, match="three images"):
        recipe.train(blobs(2), tmp_path / "b", tmp_path / "w.safetensors", TINY)


def test_pruning_costs_nothing(tmp_path: Path):
    images = blobs(400)
    training = recipe.Training(images, tmp_path, TINY, "cpu", recipe.no_progress, lambda line: None)
    training.go_on()
    circuit = training.circuit()
    less = recipe.pruned(circuit, images.samples)
    assert (less.transitions == 0).sum() > (circuit.transitions == 0).sum()
    bits = [circuit_bits(images.samples, some.compiled()) for some in (circuit, less)]
    assert bits[1] <= bits[0]


def test_an_idx_file_goes_there_and_back(run, tmp_path: Path):
    blobs(200).save(tmp_path / "set-idx3-ubyte")
    assert run("encode", "set-idx3-ubyte", "--codec", "circuit-tree", "-o", "set.fwb").exit_code == 0
    assert run("decode", "set.fwb", "-o", "back-idx3-ubyte").exit_code == 0
    assert (tmp_path / "back-idx3-ubyte").read_bytes() == (tmp_path / "set-idx3-ubyte").read_bytes()
    assert "identical" in run("verify", "set.fwb", "--against", "set-idx3-ubyte").stdout
    assert "200 of 5 x 5" in run("info", "set.fwb").stdout


def test_a_folder_goes_there_and_back(run, tmp_path: Path):
    blobs(3).save(tmp_path / "set")
    result = run("encode", "set", "--codec", "circuit-tree", "--json", "--no-verify")
    assert json.loads(result.stdout)["bpp"] == pytest.approx(8 * (tmp_path / "set.fwb").stat().st_size / 75)
    assert run("decode", "set.fwb").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "set-decoded").iterdir()) == ["00000.png", "00001.png", "00002.png"]
    assert np.array_equal(ImageSet.open(tmp_path / "set-decoded").samples, blobs(3).samples)


def test_one_image_is_decoded_alone(run, tmp_path: Path):
    (tmp_path / "set.fwb").write_bytes(files.encode(blobs(200), "circuit-tree").data)
    assert run("decode", "set.fwb", "--only", "150").exit_code == 0
    with PillowImage.open(tmp_path / "set-150.png") as picture:
        assert np.array_equal(np.asarray(picture), blobs(200).samples[150, ..., 0])
    assert "counted from 0" in str(run("decode", "set.fwb", "--only", "200").exception)


def test_pipes_carry_idx_files(run):
    data = blobs(9).to_idx()
    stream = run("encode", "-", "--codec", "circuit-tree", stdin=data)
    assert run("decode", "-", stdin=stream.stdout_bytes).stdout_bytes == data


def test_another_set_is_not_identical(run, tmp_path: Path):
    blobs(9).save(tmp_path / "a.idx")
    ImageSet(blobs(9).samples[::-1].copy()).save(tmp_path / "b.idx")
    run("encode", "a.idx", "--codec", "circuit-tree")
    assert "other images" in str(run("verify", "a.fwb", "--against", "b.idx").exception)


PROCESS = """
import sys
from pathlib import Path
from fewbits.apps.cli.main import main
from fewbits.codecs.circuit import codec
codec.WEIGHTS = Path(sys.argv.pop(1))
main()
"""


def test_as_a_process(root: Path, weights: Path, tmp_path: Path):
    def fewbits(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-c", PROCESS, str(weights), *arguments]
        return subprocess.run(command, capture_output=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)})

    blobs(150).save(tmp_path / "set.idx")
    ImageSet(np.zeros((2, 4, 4, 1), np.uint8)).save(tmp_path / "other.idx")
    assert fewbits("encode", "set.idx", "--codec", "circuit-tree").returncode == 0
    assert fewbits("decode", "set.fwb", "-o", "back.idx").returncode == 0
    assert (tmp_path / "back.idx").read_bytes() == (tmp_path / "set.idx").read_bytes()
    refused = fewbits("encode", "other.idx", "--codec", "circuit-tree")
    assert refused.returncode == 2
    assert "fewbits train circuit-tree" in refused.stderr.decode() and len(refused.stderr.decode().splitlines()) == 1
