"""Comparisons on sounds, on made-up ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from fewbits.apps.cli.main import app
from fewbits.codecs import files
from fewbits.codecs.sound import Audio
from fewbits.errors import InputError
from fewbits.eval import sounds
from fewbits.eval.sound_anchors import SOUND_ANCHORS
from fewbits.eval.sound_metrics import SOUND_METRICS, SoundMetric
from fewbits.eval.sounds import aligned, asked_for, evaluate

FIELDS = {"file", "codec", "setting", "seconds", "bytes", "kbps", "metrics", "exact", "encode_s", "decode_s"}
QUICK = ("si_sdr", "mel")


@pytest.fixture
def folder(tmp_path: Path, make_sound) -> Path:
    """A folder with two sounds and a file that is none."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    make_sound(1.5).save(folder / "a.wav")
    make_sound(1, rate=44100, channels=2).save(folder / "b.flac")
    (folder / "notes.txt").write_text("not a sound")
    return folder


@pytest.mark.parametrize("delay", [0, 1, 777, -500, 3000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_known_delay_is_found(delay, channels, make_sound):
    source = make_sound(channels=channels)
    hiss = np.random.default_rng(2).normal(0, 0.02, source.samples.shape)
    moved = np.pad(source.samples + hiss, ((0, 0), (max(delay, 0), 400)))[:, max(-delay, 0) :].astype(np.float32)
    result = aligned(source, Audio(moved, source.rate))
    expected = (source.samples + hiss).astype(np.float32)
    start = max(-delay, 0)  # what was cut off is lost
    assert np.array_equal(result.samples[:, start:], expected[:, start:]) and not result.samples[:, :start].any()


def test_a_delay_is_found_in_pieces(make_sound, monkeypatch):
    monkeypatch.setattr(sounds, "_ALIGNED_AT_ONCE", 1000)
    source = make_sound()
    moved = Audio(np.pad(source.samples, ((0, 0), (1024, 0))), source.rate)
    assert np.array_equal(aligned(source, moved).samples, source.samples)


def test_channels_that_cancel_are_aligned(make_sound):
    one = make_sound().samples
    source = Audio(np.vstack([one, -one]), 16000)
    moved = Audio(np.pad(source.samples, ((0, 0), (100, 0))), 16000)
    assert np.array_equal(aligned(source, moved).samples, source.samples)


@pytest.mark.parametrize("count", [1, 10, 5000])
def test_silence_and_tiny_sounds_stay_where_they_are(count):
    silence = Audio(np.zeros((1, count), np.float32), 8000)
    noise = Audio(np.random.default_rng(0).normal(0, 0.1, (1, count)).astype(np.float32), 8000)
    assert np.array_equal(aligned(silence, noise).samples, noise.samples)
    assert np.array_equal(aligned(noise, silence).samples, silence.samples)
    assert np.array_equal(aligned(noise, noise).samples, noise.samples)


def test_records_hold_what_was_written_and_decoded(folder):
    result = json.loads(json.dumps(evaluate([folder], ["opus@16,64", "flac@5"], metrics=QUICK), allow_nan=False))
    assert [(r["file"], r["codec"], r["setting"]) for r in result["records"]] == [
        (file, codec, setting) for file in ("a.wav", "b.flac")
        for codec, setting in (("opus", 16), ("opus", 64), ("flac", 5))]
    for r in result["records"]:
        assert set(r) == FIELDS and set(r["metrics"]) == set(QUICK)
        assert r["seconds"] == (1.5 if r["file"] == "a.wav" else 1)
        assert r["kbps"] == pytest.approx(8 * r["bytes"] / r["seconds"] / 1000)
        assert r["encode_s"] > 0 and r["decode_s"] > 0
        assert r["exact"] == (r["codec"] == "flac")
        if r["exact"]:
            assert r["metrics"] == {"si_sdr": None, "mel": 0}
        else:
            assert r["metrics"]["si_sdr"] > 3 and r["metrics"]["mel"] > 0
    assert result["records"][2]["bytes"] == len(SOUND_ANCHORS["flac"].encode(Audio.open(folder / "a.wav"), 5))
    assert result["environment"]["packages"]["av"] and result["notices"] == []


def test_settings_default_to_the_spread_of_the_codec(folder):
    records = evaluate([folder / "a.wav"], ["mp3"], metrics=["si_sdr"])["records"]
    assert tuple(r["setting"] for r in records) == SOUND_ANCHORS["mp3"].settings


def test_the_delay_of_a_codec_is_taken_out(folder):
    records = evaluate([folder], ["aac@128", "mp3@128", "opus-60@96"], metrics=["si_sdr"])["records"]
    assert min(r["metrics"]["si_sdr"] for r in records) > 10


def test_the_mean_of_the_channels_can_be_the_source(folder):
    whole, mean = (evaluate([folder], ["flac@5"], metrics=["si_sdr"], mono=mono) for mono in (False, True))
    assert (whole["environment"]["mono"], mean["environment"]["mono"]) == (False, True)
    (a, b), (a_mean, b_mean) = ([r["bytes"] for r in result["records"]] for result in (whole, mean))
    assert a_mean == a and b_mean < b


def test_samples_that_are_no_numbers_are_told(tmp_path):
    samples = np.array([0.5, np.nan] * 4000, np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    result = evaluate([tmp_path / "a.wav"], ["flac"], metrics=["si_sdr"])
    assert result["notices"] == ["a.wav: 4000 samples were infinite or not numbers; they were set to 0."]


def test_metrics_that_are_not_installed_are_told(folder, monkeypatch):
    monkeypatch.setitem(SOUND_METRICS, "far", SoundMetric("far", lambda a, b: 1 / 0, "no_such_package"))
    result = evaluate([folder / "a.wav"], ["flac@0"], metrics=["si_sdr", "far"])
    assert result["records"][0]["metrics"]["far"] is None
    assert result["notices"] == ["Left out, for want of the extra packages of fewbits[metrics]: far."]


def test_codecs_of_fewbits_stand_beside_the_anchors(folder, stored_sound):
    records = evaluate([folder], ["speech", "opus@16", "flac@5"], metrics=QUICK)["records"]
    neural, anchors = [[r for r in records if (r["codec"] == "speech") == own] for own in (True, False)]
    assert [r["setting"] for r in neural] == [*range(0, 101, 10)] * 2
    assert all(set(r) == FIELDS | {"estimate_bits"} for r in neural) and all(set(r) == FIELDS for r in anchors)
    for r in neural:
        assert 0 < 8 * r["bytes"] - r["estimate_bits"] < 8 * 50  # header and checksums
    first = neural[:11]
    assert first[-1]["kbps"] > first[0]["kbps"] and first[-1]["metrics"]["mel"] < first[0]["metrics"]["mel"]
    again = evaluate([folder / "a.wav"], ["speech@0,100"], metrics=QUICK)["records"]
    assert [r["bytes"] for r in again] == [first[0]["bytes"], first[-1]["bytes"]]


def test_effort_reaches_the_codec_and_the_environment(folder, stored_sound, monkeypatch):
    efforts = []
    whole = files.encode
    monkeypatch.setattr(files, "encode", lambda media, codec, target, progress: efforts.append(target.effort) or whole(
        media, codec, target))
    result = evaluate([folder / "a.wav"], ["speech@50"], 3, ["si_sdr"])
    assert efforts == [1, 3] and result["environment"]["effort"] == 3  # the first is the warm-up


def test_codecs_of_fewbits_are_not_moved_about(folder, stored_sound, monkeypatch):
    monkeypatch.setattr(sounds, "aligned", lambda *_: pytest.fail("moved"))
    evaluate([folder], ["speech@10", "flac@5"], metrics=["si_sdr"])


def test_progress_is_told(folder):
    shares: list[float] = []
    evaluate([folder], ["flac@0,5"], metrics=["si_sdr"], progress=lambda share, what: shares.append(share))
    assert shares == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("codecs, message", [
    (["opus", "jpeg"], "no codec 'jpeg' for sounds; there are: speech, sound, speech-vq, speech-live, opus, opus-60"),
    (["opus", "hyperprior"], "no codec 'hyperprior' for sounds"),
    (["speech@101"], "numbers from 0 to 100, not 101"),
    (["opus@"], "opus@20,40"),
    (["opus@1000"], "from 4 to 510, not 1000"),
    (["flac@5.5"], "whole numbers from 0 to 12"),
])
def test_wrong_codecs_are_refused_before_anything_is_coded(codecs, message, folder, monkeypatch):
    monkeypatch.setattr(sounds, "_measure", lambda *_: pytest.fail("coded something"))
    with pytest.raises(InputError, match=message):
        evaluate([folder], codecs)


def test_wrong_metrics_and_paths_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match="no metric 'taste' of sounds; there are: pesq_wb"):
        evaluate([folder], ["opus"], metrics=["taste"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no sound to evaluate"):
        evaluate([tmp_path / "empty"], ["opus"])
    with pytest.raises(InputError, match=r"notes\.txt cannot be read as a sound"):
        evaluate([folder / "notes.txt"], ["opus"])


@pytest.mark.parametrize("codecs, answer", [
    (["opus@6"], True), (["jpeg", "opus-60"], True), (["speech@5"], True), (["jpeg@5", "xz"], False)])
def test_codecs_say_what_is_evaluated(codecs, answer):
    assert asked_for(codecs) == answer


@pytest.fixture
def run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs `fewbits eval` in this process, beside the folder of sounds, with quick metrics."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["eval", "--metrics", ",".join(QUICK), *arguments])


def rows_of(result: Result) -> list[list[str]]:
    """The cells of the tables that were printed."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.stdout.splitlines() if "│" in line]


def test_the_command_prints_tables_and_writes_records(run, tmp_path):
    result = run("sounds", "--codec", "opus@16", "--codec", "flac@5", "--json", "records.json")
    assert result.exit_code == 0 and "Means over 2 sounds" in result.stdout
    records = json.loads((tmp_path / "records.json").read_text())["records"]
    opus, flac = records[::2], records[1::2]
    rates, quality = rows_of(result)[:2], rows_of(result)[2:]
    for row, cell, name in zip(rates, (opus, flac), ("opus", "flac"), strict=True):
        assert row[0] == name and row[2] == f"{(cell[0]['kbps'] + cell[1]['kbps']) / 2:.2f}"
        assert row[4] == f"{2.5 / (cell[0]['encode_s'] + cell[1]['encode_s']):,.0f}"
    assert [row[3] for row in rates] == ["no", "yes"]
    assert quality[0][2] == f"{(opus[0]['metrics']['si_sdr'] + opus[1]['metrics']['si_sdr']) / 2:.3f}"
    assert quality[1] == ["flac", "5", "-", "0.000"]


def test_the_command_compares_rates_and_writes_a_page(run, stored_sound, tmp_path):
    result = run("sounds", "--codec", "speech@0,50,100", "--codec", "opus@6,16,64", "--html", "page.html")
    assert result.exit_code == 0 and "BD-rate against opus" in result.stdout
    page = (tmp_path / "page.html").read_text()
    for words in ("BD-rate against opus", "Spectrograms at about 6 kbit/s", "x real time", "kbit/s, size of the file"):
        assert words in page


@pytest.mark.parametrize("option", [("--anchor", "jpeg"), ("--published", "p.json")])
def test_the_command_refuses_what_sounds_do_not_have(option, run, tmp_path):
    result = run("sounds", "--codec", "opus", *option)
    assert isinstance(result.exception, InputError) and option[0].strip("-") in str(result.exception)


def test_the_command_takes_no_picture_for_a_sound(run, smooth_png):
    assert "holds no sound" in str(run(str(smooth_png), "--codec", "opus").exception)
