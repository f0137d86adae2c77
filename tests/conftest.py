"""What tests of all floors share."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of photos, films and sounds beside the repository; skips the test on machines without it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("this machine has no ../shared/data")
    return folder


@pytest.fixture(scope="session")
def hyperprior_weights() -> Path:
    """The trained weights of `hyperprior`; skips the test in a checkout that does not have them yet."""
    weights = ROOT / "codecs" / "image" / "weights" / "hyperprior.safetensors"
    if not weights.is_file():
        pytest.skip("the weights of hyperprior are not there")
    return weights


@pytest.fixture(scope="session")
def smooth_picture() -> np.ndarray:
    """(48, 64, 3) uint8: gradients with an edge, the kind of content that photos have."""
    y, x = np.mgrid[0:48, 0:64]
    red, green = 2 * x + y, 3 * y + 40
    blue = np.where((x - 32) ** 2 + (y - 24) ** 2 < 200, 220, 90)
    return np.stack([red, green, blue], axis=-1).clip(0, 255).astype(np.uint8)


@pytest.fixture
def smooth_png(smooth_picture: np.ndarray, tmp_path: Path) -> Path:
    """A PNG file of `smooth_picture`."""
    from PIL import Image

    path = tmp_path / "smooth.png"
    Image.fromarray(smooth_picture).save(path)
    return path


@pytest.fixture
def elsewhere(tmp_path: Path) -> Callable[..., str]:
    """Runs a program in another process, in other surroundings and with a cache of its own, so that numba compiles for
    them. `elsewhere(program, *arguments, NAME="value")` gives what it prints."""
    def run(program: str, *arguments: Path, **surroundings: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path)} | surroundings
        done = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], env=environment,
                              capture_output=True, text=True, check=True, cwd=tmp_path)
        return done.stdout.strip()

    return run


@pytest.fixture
def stored_sound(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Puts a codec that stores samples in the place of `speech`; gives the file that does so in other processes."""
    path = ROOT / "tests" / "stored_sound.py"
    spec = importlib.util.spec_from_file_location("stored_sound", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "stored_sound", module)
    monkeypatch.setitem(sys.modules, "fewbits.codecs.audio.codec", module)
    spec.loader.exec_module(module)
    yield path
    module.registry.create.cache_clear()
