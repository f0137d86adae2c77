"""`encode` and `decode` with a codec that stores samples: files, pipes and folders need no weights to be tested."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from typer.testing import CliRunner, Result

from fewbits.apps.cli.main import app
from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.media import Image


@pytest.fixture
def run(storing_codec: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs the command line in this process, in a folder of its own, with the storing codec."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, stdin: bytes = b"") -> Result:
        return CliRunner().invoke(app, arguments, input=stdin)

    return invoke


def pixels_of(path: Path | io.BytesIO) -> np.ndarray:
    with PillowImage.open(path) as picture:
        return np.asarray(picture)


def test_a_file_goes_there_and_back(run, smooth_png: Path, smooth_picture: np.ndarray, tmp_path: Path) -> None:
    assert run("encode", "smooth.png").exit_code == 0
    assert run("decode", "smooth.fwb", "-o", "back.png").exit_code == 0
    assert np.array_equal(pixels_of(tmp_path / "back.png"), smooth_picture)


def test_the_suffix_of_the_output_chooses_the_format(run, smooth_png: Path, tmp_path: Path) -> None:
    run("encode", "smooth.png")
    assert run("decode", "smooth.fwb", "-o", "back.bmp").exit_code == 0
    assert (tmp_path / "back.bmp").read_bytes().startswith(b"BM")
    result = run("decode", "smooth.fwb", "-o", "back.xyz")
    assert result.exception is not None and "back.xyz" in str(result.exception)
    assert not (tmp_path / "back.xyz").exists()


def test_pipes_carry_the_file_and_nothing_else(
    run, storing_codec: bytes, smooth_png: Path, smooth_picture: np.ndarray
) -> None:
    encoded = run("encode", "-", stdin=smooth_png.read_bytes())
    assert encoded.stdout_bytes.startswith(storing_codec)
    assert "bits per pixel" in encoded.stderr
    decoded = run("decode", "-", stdin=encoded.stdout_bytes)
    assert np.array_equal(pixels_of(io.BytesIO(decoded.stdout_bytes)), smooth_picture)


def test_json_has_what_programs_need(run, smooth_png: Path, tmp_path: Path) -> None:
    record = json.loads(run("encode", "smooth.png", "--json").stdout)
    size = (tmp_path / "smooth.fwb").stat().st_size
    assert record["bytes"] == size
    assert record["bpp"] == pytest.approx(8 * size / (64 * 48))
    assert record["settings"] == {"quality": 7}
    assert (record["input"], record["output"]) == ("smooth.png", "smooth.fwb")


def test_notices_reach_the_user(run, smooth_png: Path) -> None:
    assert "could not be met" in run("encode", "smooth.png", "--size", "5").stderr
    assert json.loads(run("encode", "smooth.png", "-y", "--size", "5", "--json").stdout)["notices"]


def test_options_reach_the_codec(run, smooth_png: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets, store = [], files.encode

    def listen(media: Image, codec: str, target: Target, **options: object) -> files.Encoded:
        targets.append(target)
        return store(media, codec, target, **options)

    monkeypatch.setattr(files, "encode", listen)
    assert run("encode", "smooth.png").exit_code == 0
    options = ("--psnr", "31", "--effort", "3", "--tune", "msssim", "--keep-best", "-y")
    assert run("encode", "smooth.png", *options).exit_code == 0
    assert targets == [Target(), Target(psnr=31, effort=3, tune="msssim", keep_best=True)]


def test_existing_files_need_y(run, storing_codec: bytes, smooth_png: Path, tmp_path: Path) -> None:
    (tmp_path / "smooth.fwb").write_bytes(b"old")
    assert "use -y" in str(run("encode", "smooth.png").exception)
    assert (tmp_path / "smooth.fwb").read_bytes() == b"old"
    assert run("encode", "smooth.png", "-y").exit_code == 0
    assert (tmp_path / "smooth.fwb").read_bytes().startswith(storing_codec)


def test_a_folder_goes_there_and_back(run, smooth_png: Path, smooth_picture: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "photos" / "sea").mkdir(parents=True)
    smooth_png.rename(tmp_path / "photos" / "sea" / "a.png")
    assert run("encode", "photos").exit_code == 0
    assert run("decode", "photos-fwb", "-o", "back").exit_code == 0
    assert np.array_equal(pixels_of(tmp_path / "back" / "sea" / "a.png"), smooth_picture)


def test_one_bad_file_does_not_stop_the_others(run, smooth_png: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_text("not a picture")
    smooth_png.rename(folder / "b.png")
    result = run("encode", "photos")
    assert result.exit_code == 2
    assert "a.png" in result.stderr and "1 of 2 files failed" in result.stderr
    assert [p.name for p in (tmp_path / "photos-fwb").iterdir()] == ["b.fwb"]
    (tmp_path / "photos-fwb" / "c.fwb").write_bytes(b"rubbish")
    result = run("decode", "photos-fwb")
    assert result.exit_code == 3
    assert [p.name for p in (tmp_path / "photos-fwb-decoded").iterdir()] == ["b.png"]


def test_accepted_damage_is_reported(run, smooth_png: Path) -> None:
    run("encode", "smooth.png")
    result = run("decode", "smooth.fwb", "-o", "back.png", "--allow-damage")
    assert result.exit_code == 0
    assert "1 of 3 sections" in result.stderr


def test_verify_compares_with_the_original(run, smooth_png: Path, smooth_picture: np.ndarray, tmp_path: Path) -> None:
    run("encode", "smooth.png")
    assert "identical" in run("verify", "smooth.fwb", "--against", "smooth.png").stdout
    changed = smooth_picture.copy()
    changed[0, 0, 0] ^= 255
    PillowImage.fromarray(changed).save(tmp_path / "changed.png")
    assert "dB" in run("verify", "smooth.fwb", "--against", "changed.png").stdout
    PillowImage.fromarray(changed[:-1]).save(tmp_path / "smaller.png")
    assert "not the picture" in str(run("verify", "smooth.fwb", "--against", "smaller.png").exception)
