"""Comparisons on sets of images, on made-up sets and with a circuit made at random."""

import json
import lzma
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fewbits.apps.cli.main import app
from fewbits.codecs import files
from fewbits.codecs.circuit import codec as circuit_codec
from fewbits.codecs.circuit.circuit import Circuit
from fewbits.codecs.circuit.tree import Tree
from fewbits.codecs.codec import Target
from fewbits.codecs.image_set import ImageSet
from fewbits.codecs.media import Image
from fewbits.errors import FewbitsError, InputError
from fewbits.eval import evaluate as pictures_module
from fewbits.eval import image_sets
from fewbits.eval.image_sets import cut, evaluate, mosaic

FIELDS = {"file", "codec", "setting", "images", "bytes", "bpp", "exact", "encode_s", "decode_s"}


def slopes(count: int, channels: int = 1) -> ImageSet:
    """Images of 6 x 4 pixels (width x height), each its own slope and some noise."""
    generator = np.random.default_rng(count)
    down, across = generator.uniform(0, 25, (2, count, 1, 1, channels))
    y, x = np.mgrid[:4, :6][..., None]
    return ImageSet((down * y + across * x + generator.integers(0, 9, (count, 4, 6, channels))).astype(np.uint8))


@pytest.fixture
def circuit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs a circuit with random parameters for images of 6 x 4 grey pixels."""
    folder = tmp_path / "weights"
    folder.mkdir()
    generator = np.random.default_rng(0)
    Circuit.from_probabilities(
        (4, 6, 1), Tree(generator.permutation(24), np.arange(24)), generator.random(4), generator.random((24, 4, 4)),
        generator.random((24, 4, 3)), generator.random((3, 256))).save(folder / "slopes.safetensors", {})
    monkeypatch.setattr(circuit_codec, "WEIGHTS", folder)


@pytest.fixture
def idx(tmp_path: Path) -> Path:
    path = tmp_path / "set.idx"
    slopes(70).save(path)
    return path


@pytest.fixture
def run(circuit: None, idx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs `fewbits eval` in this process, in the folder of the set."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["eval", *map(str, arguments)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count, rows, columns", [(1, 1, 1), (2, 1, 2), (3, 2, 2), (7, 3, 3), (9, 3, 3), (10, 3, 4)])
def test_a_mosaic_is_cut_into_its_images(count, rows, columns, channels):
    images = slopes(count, channels)
    picture = mosaic(images)
    assert picture.pixels.shape == (4 * rows, 6 * columns, channels) and columns == math.ceil(math.sqrt(count))
    for number in range(rows * columns):
        y, x = 4 * (number // columns), 6 * (number % columns)
        place = picture.pixels[y : y + 4, x : x + 6]
        assert np.array_equal(place, images.samples[number]) if number < count else not place.any()
    assert np.array_equal(cut(picture, images.samples.shape), images.samples)


def test_a_picture_of_another_size_is_no_mosaic():
    with pytest.raises(FewbitsError, match="12 x 4 pixels came back of a mosaic of 12 x 8"):
        cut(Image(np.zeros((4, 12, 1), np.uint8)), (3, 4, 6, 1))


def test_rivals_code_the_same_set(circuit, idx):
    codecs = ["circuit-tree", "circuit@1", "jxl-lossless@1", "webp-lossless@0", "png@1,9", "xz"]
    result = json.loads(json.dumps(evaluate([idx], codecs, effort=1), allow_nan=False))
    assert result["environment"]["effort"] == 1
    assert [(r["codec"], r["setting"]) for r in result["records"]] == [
        ("circuit-tree", None), ("circuit", 1), ("jxl-lossless", 1), ("webp-lossless", 0), ("png", 1), ("png", 9),
        ("xz", None)]
    for r in result["records"]:
        assert set(r) == FIELDS and (r["file"], r["images"], r["exact"]) == ("set.idx", 70, True)
        assert r["bpp"] == pytest.approx(8 * r["bytes"] / (70 * 6 * 4))
        assert r["encode_s"] > 0 and r["decode_s"] > 0
    sizes = {(r["codec"], r["setting"]): r["bytes"] for r in result["records"]}
    assert sizes["circuit-tree", None] == len(files.encode(slopes(70), "circuit-tree").data)
    assert sizes["circuit", 1] == len(files.encode(mosaic(slopes(70)), "circuit", Target(effort=1)).data)
    assert sizes["xz", None] == len(lzma.compress(slopes(70).samples.tobytes(), preset=9 | lzma.PRESET_EXTREME))


def test_sets_in_colour_come_back(tmp_path):
    slopes(5, channels=3).save(tmp_path / "colour")
    records = evaluate([tmp_path / "colour"], ["xz", "png@9", "webp-lossless@0"])["records"]
    assert [(r["file"], r["exact"]) for r in records] == 3 * [("colour", True)]


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_lost_is_seen(channels, tmp_path):
    slopes(7, channels).save(tmp_path / "set.idx")
    exact = {r["codec"]: r["exact"] for r in evaluate([tmp_path / "set.idx"], ["jpeg@50", "webp@50", "xz"])["records"]}
    assert exact == {"jpeg": False, "webp": False, "xz": True}


def test_one_wrong_sample_is_seen(circuit, idx, monkeypatch):
    wrong = slopes(70).samples.copy()
    wrong[69, 3, 5] ^= 1
    monkeypatch.setattr(files, "decode", lambda data: files.Decoded(ImageSet(wrong), [], 1))
    assert [r["exact"] for r in evaluate([idx], ["circuit-tree"])["records"]] == [False]
    monkeypatch.setattr(files, "decode", lambda data: files.Decoded(slopes(1), [], 1))
    assert [r["exact"] for r in evaluate([idx], ["circuit-tree"])["records"]] == [False]


def test_the_encoder_does_not_check_what_is_compared_anyway(circuit, idx, monkeypatch):
    calls = []
    decode = files.decode
    monkeypatch.setattr(files, "decode", lambda *data, **more: calls.append(data) or decode(*data, **more))
    evaluate([idx], ["circuit-tree"])
    assert len(calls) == 2  # the warm-up and the measurement


def test_sets_of_one_name_stay_apart_and_progress_is_told(tmp_path):
    for number, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        slopes(3 + number).save(tmp_path / folder / "set.idx")
    shares: list[float] = []
    records = evaluate([tmp_path / "one" / "set.idx", tmp_path / "two" / "set.idx"], ["xz", "png@1"],
                       progress=lambda share, what: shares.append(share))["records"]
    assert [(r["file"], r["codec"], r["images"]) for r in records] == [
        ("one/set.idx", "xz", 3), ("one/set.idx", "png", 3), ("two/set.idx", "xz", 4), ("two/set.idx", "png", 4)]
    assert shares == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("codecs, message", [
    (["xz", "abacus"], "no codec 'abacus'"),
    (["xz@9"], "xz has no setting to choose"),
    (["circuit-tree@5"], "circuit-tree has no setting"),
    (["xz", "png@99"], "from 0 to 9, not 99"),
])
def test_wrong_codecs_are_refused_before_anything_is_coded(codecs, message, idx, monkeypatch):
    monkeypatch.setattr(image_sets, "_measure", lambda *_: pytest.fail("coded something"))
    with pytest.raises(InputError, match=message):
        evaluate([idx], codecs)


def test_wrong_sets_are_refused_before_anything_is_coded(idx, tmp_path, monkeypatch):
    monkeypatch.setattr(image_sets, "_measure", lambda *_: pytest.fail("coded something"))
    mosaic(slopes(3)).save(tmp_path / "picture.png")
    with pytest.raises(InputError, match=r"picture.png is neither a folder of pictures nor an idx file"):
        evaluate([idx, tmp_path / "picture.png"], ["xz"])
    with pytest.raises(InputError, match=r"none.idx cannot be read"):
        evaluate([idx, tmp_path / "none.idx"], ["xz"])


def test_pictures_are_not_for_codecs_of_sets(tmp_path):
    mosaic(slopes(3)).save(tmp_path / "picture.png")
    with pytest.raises(InputError, match="circuit-tree is for sets of images, not for pictures"):
        pictures_module.evaluate([tmp_path / "picture.png"], [("circuit-tree", None)])


def rows_of(result: Result) -> list[list[str]]:
    """The cells of the table that was printed."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.stdout.splitlines() if "│" in line]


def test_the_command_prints_a_table_and_writes_records(run, tmp_path):
    result = run("set.idx", "--codec", "circuit-tree", "--codec", "jpeg@50", "--json", "records.json")
    assert result.exit_code == 0 and "set.idx: 70 images" in result.stdout
    tree, jpeg = json.loads((tmp_path / "records.json").read_text())["records"]
    assert tree["bytes"] == len(files.encode(slopes(70), "circuit-tree").data)
    for row, record, names in zip(rows_of(result), (tree, jpeg), (["circuit-tree", "-"], ["jpeg", "50"]), strict=True):
        assert row[:5] == [*names, f"{record['bytes']:,}", f"{record['bpp']:.4f}", f"{record['bytes'] / 70:.2f}"]
        assert row[5] == ("yes" if record["exact"] else "no")
        assert row[6:] == [f"{70 / record[name]:,.0f}" for name in ("encode_s", "decode_s")]
    assert (tree["exact"], jpeg["exact"]) == (True, False)


@pytest.mark.parametrize("option", [("--html", "r.html"), ("--anchor", "jpeg"), ("--published", "p.json")])
def test_the_command_refuses_what_sets_do_not_have(option, run, tmp_path):
    result = run("set.idx", "--codec", "circuit-tree", "--codec", "jpeg@50", *option)
    assert isinstance(result.exception, InputError) and option[0] in str(result.exception)
    assert not (tmp_path / "r.html").exists()


def test_the_command_takes_no_set_for_a_picture(run):
    assert "not a picture" in str(run("set.idx", "--codec", "png@9").exception)
