"""The example of docs/own_codec.md: it works as a codec of the house does, and registering keeps others from harm."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import fewbits
from fewbits.codecs import files, registry
from fewbits.codecs.codec import Target
from fewbits.codecs.media import Image
from fewbits.errors import DamagedError, InputError, StreamError, UnsupportedError
from fewbits.eval.metrics import psnr


@pytest.fixture
def own(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of the example, registered for the time of a test."""
    for known in ("_BY_NAME", "_BY_NUMBER"):
        monkeypatch.setattr(registry, known, dict(getattr(registry, known)))
    monkeypatch.syspath_prepend(root / "docs")
    monkeypatch.delitem(sys.modules, "own_codec", raising=False)
    import own_codec

    yield own_codec
    registry.create.cache_clear()
    del sys.modules["own_codec"]


def test_the_example_is_found_by_name_and_gives_pictures_back(own, smooth_picture):
    sizes, distortions = [], []
    for quality in (0, 50, 100):
        data = fewbits.encode(smooth_picture, "cosine", quality=quality)
        assert fewbits.info(data)["codec"] == "cosine"
        sizes.append(len(data))
        distortions.append(psnr(smooth_picture, fewbits.decode(data).pixels))
    assert sizes == sorted(sizes) and distortions == sorted(distortions) and distortions[-1] > 50


@pytest.mark.parametrize("shape", [(1, 1, 3), (17, 31, 3), (1, 9, 1), (8, 8, 1)])
def test_the_example_takes_sizes_and_layouts(own, shape):
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    assert abs(fewbits.decode(fewbits.encode(pixels, "cosine", quality=100)).pixels - pixels.astype(int)).max() <= 3


def test_the_example_says_what_it_cannot_take(own, smooth_picture):
    transparent = np.dstack([smooth_picture, smooth_picture[..., :1]])
    for refused in (lambda: fewbits.encode(transparent, "cosine"),
                    lambda: fewbits.encode(smooth_picture, "cosine", psnr=35)):
        with pytest.raises(InputError, match="grey and RGB"):
            refused()


def test_the_example_keeps_to_its_estimate_and_to_sizes(own, smooth_picture):
    encoded = files.encode(Image(smooth_picture), "cosine", Target(quality=60))
    assert encoded.estimate_bits / 8 < len(encoded.data) < encoded.estimate_bits / 8 + 40
    assert len(fewbits.encode(smooth_picture, "cosine", size=500)) <= 500
    assert "smallest" in files.encode(Image(smooth_picture), "cosine", Target(size=20)).notices[0]


def test_damage_is_told(own, smooth_picture, monkeypatch):
    data = fewbits.encode(smooth_picture, "cosine", quality=30)
    for at in (3, len(data) // 2, len(data) - 1):
        with pytest.raises(StreamError):
            fewbits.decode(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
    with pytest.raises(StreamError):
        fewbits.decode(data[:-4])
    parsed = files.parse(data)
    whole = parsed.stream.sections[0]
    for section in (whole[:-4], whole + b"\1\0\0\0", b"\0\0\0\0\1"):  # what a right checksum does not notice
        with pytest.raises(DamagedError):
            parsed.codec.decode(replace(parsed.stream, sections=[section]), parsed.shape)
    with pytest.raises(DamagedError, match="one section"):
        parsed.codec.decode(replace(parsed.stream, sections=[None, whole]), parsed.shape)


def test_an_evaluation_puts_the_example_on_a_plot(root, tmp_path, smooth_png):
    command = [sys.executable, root / "docs" / "own_codec.py", "eval", smooth_png, "--codec", "cosine@10,40,80",
               "--codec", "jpeg@10,50,90", "--metrics", "psnr", "--anchor", "jpeg", "--json", "o.json",
               "--html", "o.html"]
    environment = os.environ | {"PYTHONPATH": str(root)}
    subprocess.run(command, check=True, cwd=tmp_path, env=environment, timeout=120)
    records = json.loads((tmp_path / "o.json").read_text())["records"]
    assert [r["setting"] for r in records if r["codec"] == "cosine"] == [10, 40, 80]
    page = (tmp_path / "o.html").read_text()
    assert "BD-rate against jpeg" in page and "cosine" in page and "<svg" in page


def test_without_the_codec_its_files_are_refused_with_a_sentence(own, smooth_picture, monkeypatch):
    data = fewbits.encode(smooth_picture, "cosine")
    monkeypatch.delitem(registry._BY_NUMBER, 192)
    with pytest.raises(UnsupportedError, match=r"somebody's own.*register"):
        fewbits.info(data)


def test_registering_takes_nothing_from_others(own):
    entry = registry.entry("cosine")
    registry.register(entry)  # again: nothing happens
    assert "cosine" in registry.names("image")
    for wrong, sentence in ((replace(entry, about="another"), "free"), (replace(entry, name="sine"), "free"),
                            (replace(entry, name="overfit", number=200), "free"),
                            (replace(entry, name="sine", number=1), "192 to 255"),
                            (replace(entry, name="sine", number=256), "192 to 255"),
                            (replace(entry, name="sine", number=200, kind="smell"), "smell")):
        with pytest.raises(InputError, match=sentence):
            registry.register(wrong)
    assert registry.entry("cosine") is entry and registry.entry_of_number(2).name == "overfit"


def test_no_codec_of_the_house_has_a_private_number():
    assert all(entry.number not in registry.PRIVATE for entry in registry._ENTRIES)
