"""The demonstration and the benchmark, with codecs that need no weights."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fewbits.apps import bench, demo, demo_sounds, samples
from fewbits.codecs import registry
from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio
from fewbits.entropy.benchmark import entropy_benchmark
from fewbits.errors import InputError
from fewbits.eval.anchors import ANCHORS
from fewbits.eval.matched import nearest_in_size


@pytest.mark.parametrize("name", [samples.TOWER, samples.STILL])
def test_the_photos_are_there(name: str) -> None:
    photo = samples.photo(name)
    assert photo.channels == 3
    assert photo.width * photo.height > 200_000


def test_a_photo_that_is_gone_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"no media_assets/none\.jpg"):
        samples.photo("media_assets/none.jpg")


@pytest.mark.parametrize("name", demo.RIVALS)
def test_rivals_come_near_the_size(name: str, smooth_picture: np.ndarray) -> None:
    picture = Image(np.tile(smooth_picture, (3, 3, 1)))
    anchor = ANCHORS[name]
    low, high = (len(anchor.encode(picture, setting)) for setting in (30, 90))
    size = (low + high) // 2
    setting, data, _ = nearest_in_size(partial(anchor.encode, picture), size, anchor.low, anchor.high)
    assert anchor.encode(picture, setting) == data
    assert abs(len(data) - size) < (high - low) / 4


def test_demo_leaves_files_that_match_its_table(
    storing_codec: bytes, monkeypatch: pytest.MonkeyPatch, smooth_picture: np.ndarray, tmp_path: Path
) -> None:
    monkeypatch.setattr(samples, "photo", lambda name: Image(smooth_picture))
    groups = list(demo.run(tmp_path))
    entries = [registry.entry(name) for name in registry.names("image")]
    assert len(groups) == sum(len(demo.settings_of(entry)) for entry in entries)
    for neural, *rivals in groups:
        path = tmp_path / f"{neural.codec}-{neural.setting}.fwb"
        assert neural.size == path.stat().st_size
        assert neural.bits_per_pixel == pytest.approx(8 * neural.size / (64 * 48))
        assert path.with_suffix(".png").is_file()
        lossless = registry.entry(neural.codec).lossless
        assert [rival.codec for rival in rivals] == list(demo.LOSSLESS_RIVALS if lossless else demo.RIVALS)
        written = {p.stat().st_size for p in tmp_path.glob(f"{path.stem}-*")}
        assert {rival.size for rival in rivals} == written
    assert (tmp_path / "original.png").is_file()


def test_demo_of_sounds_leaves_files_that_match_its_table(
    stored_sound: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    voice = Audio(np.sin(np.arange(24000, dtype=np.float32)[None] / 20) / 4, 16000)
    monkeypatch.setattr(samples, "sound", lambda name: voice)
    scene = demo_sounds.SCENES[0]
    rows = list(demo_sounds.run(scene, tmp_path))
    assert [(row["codec"], row["setting"]) for row in rows] == [(n, s) for n, all_ in scene.points for s in all_]
    for row in rows:
        path = next(p for p in tmp_path.glob(f"voice-{row['codec']}-{row['setting']}.*") if p.suffix != ".wav")
        assert row["bytes"] == path.stat().st_size
        assert row["kbps"] == pytest.approx(8 * row["bytes"] / 1500)
        assert Audio.open(path.with_suffix(".wav")).count == voice.count
    assert demo_sounds.table(scene, rows).row_count == len(rows)


def test_the_voice_and_the_music_are_there() -> None:
    for name in (samples.VOICE, samples.MUSIC):
        sound = samples.sound(name)
        assert sound.channels == 1 and sound.seconds > 5


def test_bench_measures_codecs_beside_rivals(storing_codec: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "entropy_benchmark", lambda: entropy_benchmark(2000))
    results = json.loads(json.dumps(bench.run()))
    assert [speed["codec"] for speed in results["codecs"]] == [*registry.names("image"), *bench.RIVALS]
    assert all(speed["encode_s"] > 0 and speed["decode_s"] > 0 for speed in results["codecs"])
    assert results["environment"]["python"]
    entropy, codecs = bench.tables(results)
    assert entropy.row_count == len(results["entropy"]) > 1
    assert codecs.row_count == len(results["codecs"])
