"""Codecs in company: in threads and processes at once they do what they do alone, and they leave nothing changed."""

import io
import multiprocessing
import random
import sys
import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from PIL import ImageFile

from fewbits.codecs import files, registry
from fewbits.codecs.codec import Target
from fewbits.codecs.film import Video
from fewbits.codecs.image_set import ImageSet
from fewbits.codecs.kinds import Media, samples_of
from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio

AT_ONCE = 2


def media_of(kind: str, number: int) -> Media:
    """Tiny media, each like no other."""
    y, x = np.mgrid[0:18, 0:26]
    pixels = np.stack([x * (5 + number), y * 7, x + y * number], axis=-1).astype(np.uint8)
    if kind == "image":
        return Image(pixels)
    if kind == "images":
        return ImageSet(np.stack([np.roll(np.pad(pixels[..., :1], ((5, 5), (1, 1), (0, 0))), n, 0) for n in range(3)]))
    if kind == "audio":
        return Audio(np.sin(np.arange(4000, dtype=np.float32)[None] / (5 + number)) / 2, 16000)
    return Video(np.stack([np.roll(pixels, n, axis=1) for n in range(3)]), Fraction(25))


def there_and_back(codec: str, number: int, weights: Path | None = None) -> tuple[bytes, np.ndarray]:
    """The bytes of a file, and what they decode to."""
    media = media_of(registry.entry(codec).kind, number)
    data = files.encode(media, codec, Target(effort=1), weights=weights).data
    files.info(data)
    return data, samples_of(files.decode(data, weights=weights).media)


@pytest.fixture(scope="module")
def alone() -> Callable[..., list[tuple[bytes, np.ndarray]]]:
    """What `there_and_back` gives where nothing else runs; kept."""
    known: dict[str, list[tuple[bytes, np.ndarray]]] = {}

    def of(codec: str, weights: Path | None = None) -> list[tuple[bytes, np.ndarray]]:
        if codec not in known:
            known[codec] = [there_and_back(codec, number, weights) for number in range(AT_ONCE)]
        return known[codec]

    return of


@pytest.fixture
def weights_for(compressai_weights: Callable[..., Path]) -> Callable[[str], Path | None]:
    """A weights file for codecs that take one of the user's."""
    return lambda codec: compressai_weights("mbt2018-mean") if registry.entry(codec).takes_weights else None


# what is overfitted takes seconds even at its lowest effort
ALL = [pytest.param(entry["name"], marks=pytest.mark.slow) if entry["family"] == "overfitted" else entry["name"]
       for entry in registry.describe()]


def same(made: list[tuple[bytes, np.ndarray]], expected: list[tuple[bytes, np.ndarray]]) -> bool:
    return all(a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in zip(made, expected, strict=True))


def surroundings() -> dict[str, object]:
    """What codecs have in common with the program around them."""
    states = [torch.get_rng_state().numpy().tobytes(), repr(np.random.get_state()), random.getstate()]
    return {
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()), "random states": states,
        "torch": (torch.get_default_dtype(), torch.is_grad_enabled(), torch.is_inference_mode_enabled(),
                  torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic,
                  torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision(),
                  torch.is_autocast_enabled("cpu"), torch.backends.mkldnn.enabled),
        "numpy": np.geterr(), "warnings": list(warnings.filters), "recursion": sys.getrecursionlimit(),
        "Pillow": (PillowImage.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES),
    }


@pytest.mark.parametrize("codec", ALL)
def test_nothing_is_left_changed(codec: str, weights_for: Callable[[str], Path | None]) -> None:
    weights = weights_for(codec)
    registry.create.cache_clear()
    before = surroundings()
    there_and_back(codec, 0, weights)
    assert surroundings() == before


@pytest.mark.parametrize("codec", ALL)
def test_threads_at_once(codec: str, alone: Callable, weights_for: Callable[[str], Path | None]) -> None:
    weights = weights_for(codec)
    expected = alone(codec, weights)
    registry.create.cache_clear()  # weights are loaded in threads too
    before = surroundings()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        made = list(pool.map(there_and_back, [codec] * AT_ONCE, range(AT_ONCE), [weights] * AT_ONCE))
    assert same(made, expected)
    assert surroundings() == before


@pytest.mark.slow  # each process imports torch and loads all weights
@pytest.mark.parametrize("films", [False, True])
def test_processes_at_once(films: bool, alone: Callable, weights_for: Callable[[str], Path | None],
                           root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(root)  # where processes find this file again
    codecs = [str(entry["name"]) for entry in registry.describe() if (entry["kind"] == "video") == films]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        made = [[pool.submit(there_and_back, codec, number, weights_for(codec)) for number in range(AT_ONCE)]
                for codec in codecs]
        for codec, results in zip(codecs, made, strict=True):
            assert same([result.result() for result in results], alone(codec, weights_for(codec)))


def test_pillow_keeps_its_limit_while_threads_read_pictures() -> None:
    file = io.BytesIO()
    PillowImage.new("L", (9, 9)).save(file, "PNG")
    limit = PillowImage.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(8) as pool:
        deque(pool.map(lambda _: Image.open(io.BytesIO(file.getvalue())), range(400)), maxlen=0)
    assert PillowImage.MAX_IMAGE_PIXELS == limit
