"""Pictures, sounds, films and stand-ins for neural codecs, for the tests of evaluation."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fewbits.codecs import registry
from fewbits.codecs.colour import Colour
from fewbits.codecs.film import Video
from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio
from fewbits.eval.anchors import ANCHORS


def made_picture(width: int, height: int, seed: int = 0) -> Image:
    """A picture with slopes, an edge and some texture, so that rate and distortion depend on the setting."""
    y, x = np.mgrid[:height, :width].astype(float)
    texture = np.random.default_rng(seed).normal(0, 12, (height, width, 3))
    slopes = np.stack([x * 255 / width, y * 255 / height, 128 + 100 * np.sin((x + 2 * y) / 9)], axis=-1)
    slopes[:, : width // 3] = slopes[:, : width // 3] * 0.5 + 60
    return Image((slopes + texture).clip(0, 255).round().astype(np.uint8))


@pytest.fixture
def make_picture() -> Callable[..., Image]:
    return made_picture


def made_sound(seconds: float = 2, rate: int = 16000, channels: int = 1, seed: int = 0) -> Audio:
    """Something like speech: syllables of a gliding voice, with hiss between them."""
    time = np.arange(round(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(130 + 30 * np.sin(2 * np.pi * 0.7 * time)) / rate
    voice = sum(np.sin(k * pitch) / k for k in range(1, 20) if k * 160 < rate / 2)
    syllable = np.sin(2 * np.pi * 2 * time) ** 2
    hiss = np.random.default_rng(seed).normal(0, 0.2, (channels, len(time)))
    samples = 0.15 * (voice * syllable + hiss * (1 - syllable)) * np.linspace(1, 0.7, channels)[:, None]
    return Audio(samples.clip(-1, 1).astype(np.float32), rate)


@pytest.fixture
def make_sound() -> Callable[..., Audio]:
    return made_sound


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with two pictures that MS-SSIM can take, and a file that is no picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    made_picture(176, 192).save(folder / "a.png")
    made_picture(192, 176, seed=1).save(folder / "b.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> str:
    """A codec of fewbits that is JPEG inside: evaluation is tested here, not coding."""
    import fewbits.codecs

    def encode(media: Image, codec: str, target: object, progress: object) -> SimpleNamespace:
        data = ANCHORS["jpeg"].encode(media, max(int(target.quality), 1))
        return SimpleNamespace(data=data, estimate_bits=8 * len(data) - 100.0)

    def decode(data: bytes) -> SimpleNamespace:
        return SimpleNamespace(media=ANCHORS["jpeg"].decode(data))

    entry = {"name": "stand-in", "kind": "image", "family": "hierarchical", "lossless": False, "about": "for tests",
             "takes_weights": False, "tunable": True}
    monkeypatch.setattr(registry, "describe", lambda: [entry])
    monkeypatch.setattr(fewbits.codecs, "files", SimpleNamespace(encode=encode, decode=decode), raising=False)
    return "stand-in"


def made_film(width: int = 48, height: int = 34, count: int = 8, colour: Colour = Colour()) -> Video:
    """Soft shapes that move over a grain that stays, so that rate and distortion depend on the setting."""
    n, y, x = np.mgrid[:count, :height, :width].astype(float)
    waves = [np.sin((x + 2 * n) / 7), np.sin((y - n) / 5), np.cos((x + y + n) / 11)]
    grain = np.random.default_rng(0).normal(0, 6, (1, height, width, 3))
    frames = 128 + 70 * np.stack(waves, axis=-1) + grain
    return Video(frames.clip(0, 255).round().astype(np.uint8), Fraction(25), colour)


@pytest.fixture
def make_film() -> Callable[..., Video]:
    return made_film


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder with two films and a file that is none."""
    folder = tmp_path / "films"
    folder.mkdir()
    made_film().save(folder / "a.mkv")
    made_film(37, 25, 5).save(folder / "b.mkv")
    (folder / "notes.txt").write_text("not a film")
    return folder


@pytest.fixture
def film_codec(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A lossless codec of fewbits for films, which stores frames."""
    for known in ("_BY_NAME", "_BY_NUMBER", "_DEFAULTS"):
        monkeypatch.setattr(registry, known, dict(getattr(registry, known)))
    spec = importlib.util.spec_from_file_location("stored_film", root / "tests" / "stored_film.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "stored_film", module)
    spec.loader.exec_module(module)
    module.register()
    yield module.ENTRY.name
    registry.create.cache_clear()
