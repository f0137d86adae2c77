"""Comparisons on films, on made-up ones."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fewbits.apps.cli.main import app
from fewbits.codecs import files
from fewbits.codecs.film import MAX_VIDEO_PIXELS, Video
from fewbits.codecs.video_source import VideoFile
from fewbits.errors import FewbitsError, InputError
from fewbits.eval import videos
from fewbits.eval.curves import bd_table, load_published
from fewbits.eval.medium import FILMS, medium_of
from fewbits.eval.report import write_html
from fewbits.eval.stills import Stills
from fewbits.eval.video_anchors import VIDEO_ANCHORS
from fewbits.eval.video_metrics import ceiling
from fewbits.eval.videos import Placed, asked_for, evaluate

FIELDS = {"file", "codec", "setting", "frames", "seconds", "bytes", "bpp", "kbps", "metrics", "exact", "encode_s",
          "decode_s"}
QUICK = ("psnr", "psnr_yuv")
MEASURED = ((0.0977, 30.41), (0.1091, 31.55), (0.1082, 32.21))  # bpp and PSNR of x264@28, x265@28 and svtav1@46

MAIN = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("stored_film", {path!r})
module = sys.modules["stored_film"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.register()
from fewbits.apps.cli.main import main
main()
"""


def test_records_say_what_a_film_cost_and_how_good_it_is(films):
    result = evaluate([films], ["x264@20,40", "svtav1@30"], metrics=QUICK)
    assert [(r["file"], r["codec"], r["setting"]) for r in result["records"]] == [
        (name, *codec) for name in ("a.mkv", "b.mkv") for codec in (("x264", 20), ("x264", 40), ("svtav1", 30))]
    for r in result["records"]:
        frames, width, height = (8, 48, 34) if r["file"] == "a.mkv" else (5, 37, 25)
        assert set(r) == FIELDS and set(r["metrics"]) == set(QUICK)
        assert (r["frames"], r["seconds"]) == (frames, frames / 25)
        assert r["bpp"] == pytest.approx(8 * r["bytes"] / (frames * width * height))
        assert r["kbps"] == pytest.approx(8 * r["bytes"] / r["seconds"] / 1000)
        assert r["encode_s"] > 0 and r["decode_s"] > 0 and not r["exact"]
        assert 15 < r["metrics"]["psnr"] < 50 and 15 < r["metrics"]["psnr_yuv"] < 50
    film = VideoFile(films / "a.mkv", MAX_VIDEO_PIXELS)
    assert result["records"][2]["bytes"] == len(VIDEO_ANCHORS["svtav1"].encode(film, 30))
    assert result["environment"]["effort"] == 5 and medium_of(result) is FILMS
    json.dumps(result)


def test_films_are_described_with_the_ceiling_of_the_conversion(films):
    result = evaluate([films], ["x264@20"])
    assert list(result["films"]) == ["a.mkv", "b.mkv"]
    told = result["films"]["b.mkv"]
    assert (told["width"], told["height"], told["frames"], told["fps"]) == (37, 25, 5, 25) and told["read_s"] > 0
    assert told["psnr_420"] == ceiling(VideoFile(films / "b.mkv", MAX_VIDEO_PIXELS))
    first, second, *_ = (sentence for sentence in result["notices"] if sentence.startswith("b.mkv: "))
    assert f"leaves {told['psnr_420']:.2f} dB" in first and "5 frames of 37 x 25" in first
    assert second == "b.mkv: MS-SSIM cannot be had: it takes frames of 161 pixels or more on each side."
    assert result["records"][0]["metrics"]["ms_ssim"] is None
    assert result["records"][0]["metrics"]["psnr"] < result["films"]["a.mkv"]["psnr_420"]


def test_large_frames_have_ms_ssim(tmp_path, make_film):
    make_film(168, 162, 1).save(tmp_path / "a.mkv")
    result = evaluate([tmp_path / "a.mkv"], ["x264@30"])
    assert 0.5 < result["records"][0]["metrics"]["ms_ssim"] < 1 and len(result["notices"]) == 1


def test_what_a_source_loses_is_told(tmp_path, film, moving):
    (tmp_path / "a.mkv").write_bytes(film(moving(3), pix_fmt="yuv420p10le"))
    assert "a.mkv: The film has 10 bits a sample; 8 are kept." in evaluate([tmp_path / "a.mkv"], ["x264@40"])["notices"]


def test_settings_default_to_the_spread_of_the_codec(films):
    records = evaluate([films / "b.mkv"], ["x264"], metrics=["psnr"])["records"]
    assert tuple(r["setting"] for r in records) == VIDEO_ANCHORS["x264"].settings


def test_sound_is_left_out(tmp_path, film, moving, film_codec):
    for name, tone in (("a.mkv", 0), ("b.mkv", 1)):
        (tmp_path / name).write_bytes(film(moving(3), tone=tone))
    plain, with_sound = np.split(np.array([r["bytes"] for r in evaluate(
        [tmp_path], [f"{film_codec}@5", "svtav1@30"], metrics=["psnr"])["records"]]), 2)
    assert np.array_equal(plain, with_sound)


def test_codecs_of_fewbits_stand_beside_the_anchors(films, film_codec):
    records = evaluate([films], [film_codec, "x264@30"], metrics=QUICK)["records"]
    neural, anchors = ([r for r in records if (r["codec"] == film_codec) == own] for own in (True, False))
    assert [r["setting"] for r in neural] == [1, 3, 5, 7, 9] * 2
    assert all(set(r) == FIELDS | {"estimate_bits"} for r in neural) and all(set(r) == FIELDS for r in anchors)
    assert all(r["exact"] and r["metrics"] == {"psnr": 100, "psnr_yuv": 100} for r in neural)
    data = files.encode(VideoFile(films / "a.mkv", MAX_VIDEO_PIXELS), film_codec).data
    assert neural[0]["bytes"] == len(data)


def test_effort_reaches_the_codec(films, film_codec, monkeypatch):
    efforts, whole = [], files.encode
    monkeypatch.setattr(files, "encode", lambda media, codec, target, progress, audio: efforts.append(
        (target.effort, media.count)) or whole(media, codec, target, audio=audio))
    monkeypatch.setattr("fewbits.codecs.registry.describe", lambda: [
        {"name": film_codec, "kind": "video", "family": "", "lossless": False, "about": "", "takes_weights": False,
         "tunable": False}])
    monkeypatch.setattr("fewbits.codecs.kinds.check_target", lambda target, kind: None)
    monkeypatch.setattr("fewbits.codecs.codec.Target.has_aim", False)
    result = evaluate([films / "a.mkv"], [f"{film_codec}@50"], 3, ["psnr"])
    assert efforts == [(1, 2), (3, 8)] and result["environment"]["effort"] == 3  # the first is the warm-up


def test_decoding_is_all_that_is_timed(films, film_codec, monkeypatch):
    """A film that is decoded while it is read has to be read, or its time would be that of opening it."""
    read = []
    whole = files.CodedVideo.frames
    monkeypatch.setattr(files.CodedVideo, "frames", lambda self, *part: read.append(self.count) or whole(self, *part))
    evaluate([films / "a.mkv"], [f"{film_codec}@5"], metrics=["psnr"])
    assert read == [2, 8, 8]  # the warm-up, the clock, the metrics


def test_a_codec_that_loses_frames_is_caught(films, monkeypatch):
    anchor = VIDEO_ANCHORS["x264"]
    monkeypatch.setattr(type(anchor), "encode", lambda self, film, setting: b"")
    monkeypatch.setattr(type(anchor), "decode", lambda self, data: Video(
        np.zeros((7, 34, 48, 3), np.uint8), VideoFile(films / "a.mkv", MAX_VIDEO_PIXELS).rate))
    with pytest.raises(FewbitsError, match="8 frames of 48 x 34 pixels came back as 7 of 48 x 34"):
        evaluate([films / "a.mkv"], ["x264@30"])


@pytest.mark.parametrize("size, kept", [((38, 26), (37, 25)), ((37, 25), (37, 25)), ((64, 24), (37, 24))])
def test_what_was_added_is_cut_off(size, kept, make_film):
    placed = Placed(make_film(*size), make_film(37, 25))
    assert (placed.width, placed.height) == kept
    assert next(placed.frames(3, 4)).shape == (*kept[::-1], 3) and placed.sound is None


def test_progress_is_told(films):
    shares: list[float] = []
    evaluate([films], ["x264@20,40"], metrics=["psnr"], progress=lambda share, what: shares.append(share))
    assert shares == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("codecs, message", [
    (["x264", "jpeg"], "no codec 'jpeg' for films; there are: .*x264, x264-psnr, x265, x265-psnr, svtav1, svtav1-psnr"),
    (["x264", "hyperprior"], "no codec 'hyperprior' for films"),
    (["x264@52"], "whole numbers from 0 to 51, not 52"),
    (["svtav1@0"], "from 1 to 63, not 0"),
    (["x265@20.5"], "whole numbers"),
    (["x264@"], "x264@20,40"),
])
def test_wrong_codecs_are_refused_before_anything_is_coded(codecs, message, films, monkeypatch):
    monkeypatch.setattr(videos, "_measure", lambda *_: pytest.fail("coded something"))
    with pytest.raises(InputError, match=message):
        evaluate([films], codecs)


def test_wrong_metrics_and_paths_are_refused(films, tmp_path):
    with pytest.raises(InputError, match="no metric 'taste' of films; there are: psnr, psnr_yuv, ms_ssim"):
        evaluate([films], ["x264"], metrics=["taste"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no film to evaluate"):
        evaluate([tmp_path / "empty"], ["x264"])
    with pytest.raises(InputError, match=r"notes\.txt cannot be read as a film"):
        evaluate([films / "notes.txt"], ["x264"])


@pytest.mark.parametrize("codecs, answer", [
    (["x264@30"], True), (["jpeg", "svtav1-psnr"], True), (["jpeg@5", "opus"], False)])
def test_codecs_say_what_is_evaluated(codecs, answer):
    assert asked_for(codecs) == answer


def test_stills_are_those_of_the_nearest_setting(films):
    stills = Stills(rate=0.5)
    result = evaluate([films], ["svtav1@10,30,50", "svtav1-psnr@10,50"], metrics=QUICK, seen=stills.see)
    row, = stills.rows()
    assert row.file == "a.mkv" and [still.codec for still in row.crops] == ["svtav1", "svtav1-psnr"]
    film = VideoFile(films / "a.mkv", MAX_VIDEO_PIXELS)
    assert np.array_equal(row.source, next(film.frames(4, 5)))
    for still in row.crops:
        own = {r["setting"]: r for r in result["records"] if (r["file"], r["codec"]) == ("a.mkv", still.codec)}
        assert still.setting == min(own, key=lambda setting: abs(np.log(own[setting]["bpp"] / 0.5)))
        assert still.caption == f"@{still.setting}: {still.bpp:.4f} bpp, {own[still.setting]['metrics']['psnr']:.2f} dB"
        anchor = VIDEO_ANCHORS[still.codec]
        decoded = Placed(anchor.decode(anchor.encode(film, still.setting)), film)
        assert np.array_equal(still.pixels, next(decoded.frames(4, 5)))


def test_a_page_about_films(films, film_codec, tmp_path):
    stills = Stills()
    result = evaluate([films], ["x264@20,30,40", "x265@20,30,40", f"{film_codec}@5"], seen=stills.see)
    published = tmp_path / "published.json"
    points = [{"bpp": 0.5, "psnr": 22.0, "psnr_yuv": 25.0}, {"bpp": 2, "psnr": 30.0, "psnr_yuv": 33.0}]
    published.write_text(json.dumps([{"codec": "of a paper", "source": "somewhere", "points": points}]))
    write_html(result, tmp_path / "page.html", "x264", load_published(published), stills.rows())
    text = (tmp_path / "page.html").read_text()
    assert text.count("<svg") == 2 and text.count("<img") == 3  # the source and two lossy codecs
    words = re.sub(r"<svg.*?</svg>|<style>.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL)
    for part in ("PSNR (dB) over rate", "PSNR of YUV (dB) over rate", "BD-rate against x264", "Means over 2 films.",
                 "One frame at about 0.05 bits per pixel", "frames/s", "4:2:0 alone", "lossless", "+0.0 %",
                 "of a paper"):
        assert part in words, part
    assert not re.search("picture|sound", words.partition("Environment")[0])


def test_delta_rates_are_against_the_anchor(films):
    result = evaluate([films], ["x264@15,25,35", "x265@15,25,35"], metrics=QUICK)
    rows = {row.codec: row.rates for row in bd_table(result, "x265")}
    assert rows["x265"]["psnr"].percent == pytest.approx(0) and rows["x264"]["psnr"].percent
    assert rows["x264"]["psnr_yuv"].percent != rows["x264"]["psnr"].percent


@pytest.fixture
def run(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `fewbits eval` in this process, beside the folder of films."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["eval", *arguments])


def test_the_command_refuses_what_does_not_go_together(run):
    for arguments, words in ((("--mono",), "no channels"), (("--anchor", "x265"), "add --codec x265"),
                             (("--codec", "opus"), "no codec 'opus' for films")):
        result = run("films", "--codec", "x264@30", *arguments)
        assert isinstance(result.exception, InputError) and words in str(result.exception)


def test_the_command_takes_no_sound_for_a_film(run, make_sound, tmp_path):
    make_sound().save(tmp_path / "a.wav")
    assert "holds no film" in str(run("a.wav", "--codec", "x264@30").exception)


def test_the_command_as_a_process(films, root, tmp_path):
    program = MAIN.format(path=str(root / "tests" / "stored_film.py"))
    arguments = ["eval", "films", "--codec", "x264@20,30,40", "--codec", "svtav1@30,50", "--codec", "stored@5",
                 "--json", "records.json", "--html", "page.html"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=tmp_path,
                          env=os.environ | {"PYTHONPATH": str(root), "COLUMNS": "80"}, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")  # the encoders say nothing
    result = json.loads((tmp_path / "records.json").read_text())
    assert set(result) == {"environment", "notices", "films", "records"} and len(result["records"]) == 12
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line]
    cell = [r for r in result["records"] if (r["codec"], r["setting"]) == ("x264", 20)]
    speeds = [f"{13 / sum(r[key] for r in cell):.3g}" for key in ("encode_s", "decode_s")]
    means = [np.mean([r[key] for r in cell]) for key in ("bpp", "kbps")]
    quality = [f"{np.mean([r['metrics'][name] for r in cell]):.2f}" for name in QUICK]
    assert lines[0] == ["x264", "20", f"{means[0]:.4f}", f"{means[1]:.1f}", *quality, "-", *speeds]
    assert "Means over 2 films" in done.stdout and "BD-rate against x264" in done.stdout
    assert "a.mkv: 8 frames of 48 x 34 pixels, 25 a second. 4:2:0 alone" in done.stdout
    assert "One frame" in (tmp_path / "page.html").read_text()
    assert not list(tmp_path.glob("*.tmp"))


def test_anchors_reach_what_was_measured(shared_data, tmp_path):
    """The first second of a film, the rows 40 to 679 of its frames as means of 4 x 4 pixels."""
    source = shared_data / "video" / "bunny_1280x720_132f.mkv"
    if not source.is_file():
        pytest.skip("this machine does not have the film")
    whole = VideoFile(source, MAX_VIDEO_PIXELS)
    frames = [frame[40:680].reshape(160, 4, 320, 4, 3).mean(axis=(1, 3)) for frame in whole.frames(0, 25)]
    Video(np.rint(frames).astype(np.uint8), whole.rate).save(tmp_path / "a.mkv")
    records = evaluate([tmp_path / "a.mkv"], ["x264@28", "x265@28", "svtav1@46"], metrics=QUICK)["records"]
    for r, (bpp, psnr) in zip(records, MEASURED, strict=True):
        assert r["bpp"] == pytest.approx(bpp, rel=0.03) and r["metrics"]["psnr"] == pytest.approx(psnr, abs=0.1)
