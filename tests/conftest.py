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
    """Runs a program in another process and in other surroundings, with a cache of its own where numba shall compile
    for them. `elsewhere(program, *arguments, NAME="value")` gives what it prints."""
    def run(program: str, *arguments: Path, **surroundings: str) -> str:
        compiles = any(name.startswith("NUMBA_") for name in surroundings)
        cache = {"NUMBA_CACHE_DIR": str(tmp_path)} if compiles else {}
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | cache | surroundings
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


@pytest.fixture(scope="session")
def moving() -> Callable[..., np.ndarray]:
    """Makes the frames of a film, (count, height, width, 3) uint8: gradients that move, and a square."""
    def make(count: int = 10, width: int = 48, height: int = 34) -> np.ndarray:
        n, y, x = np.mgrid[0:count, 0:height, 0:width]
        square = (abs(x - width // 2 - n) < 6) & (abs(y - height // 2) < 6)
        planes = [2 * x + y + 3 * n, 3 * y + 40, np.where(square, 200, 90)]
        return np.stack(planes, axis=-1).clip(20, 235).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def film() -> Callable[..., bytes]:
    """Makes the bytes of a film of `frames`, (N, H, W, 3) RGB; lossless in Matroska where nothing else is said.

    `times`: of the frames, in ticks; `tone`: seconds of sound, by the encoder `sound`, which begins at `begin`.
    """
    import io
    from fractions import Fraction

    import av

    def make(frames: np.ndarray, rate: Fraction | int = 25, *, codec: str = "ffv1", pix_fmt: str = "bgr0",
             format: str = "matroska", times: list[int] | None = None, tick: Fraction | None = None, rotation: int = 0,
             aspect: Fraction | None = None, tone: float = 0, sound: str = "aac", begin: float = 0,
             matrix: int | None = None, full: bool = False) -> bytes:
        target = io.BytesIO()
        with av.open(target, "w", format=format) as out:
            stream = out.add_stream(codec, rate=rate)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = pix_fmt
            stream.codec_context.time_base = tick or 1 / Fraction(rate)
            if rotation:
                stream.set_display_rotation(rotation)
            if aspect:
                stream.sample_aspect_ratio = aspect
            if matrix is not None:
                stream.codec_context.colorspace = matrix
                stream.codec_context.color_range = 2 if full else 1
            audio = out.add_stream(sound, rate=48000, layout="stereo") if tone else None
            for number, pixels in enumerate(frames):
                given = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
                frame = given.reformat(format=pix_fmt, dst_colorspace=matrix, dst_color_range=2 if full else 1)
                frame.pts = number if times is None else times[number]
                frame.time_base = stream.codec_context.time_base
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
            if audio is not None:
                wave = np.sin(2 * np.pi * 440 * np.arange(round(tone * 48000)) / 48000).astype(np.float32) / 2
                block = av.AudioFrame.from_ndarray(np.stack([wave, wave]), "fltp", "stereo")
                block.sample_rate, block.pts, block.time_base = 48000, round(begin * 48000), Fraction(1, 48000)
                cutter = av.AudioResampler(audio.format.name, "stereo", 48000, audio.frame_size or 1024)
                for part in [*cutter.resample(block), *cutter.resample(None), None]:
                    out.mux(audio.encode(part))
        return target.getvalue()

    return make


@pytest.fixture
def stored_film(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Makes a lossless codec the usual one of films; gives the file that does so in other processes."""
    path = ROOT / "tests" / "stored_film.py"
    spec = importlib.util.spec_from_file_location("stored_film", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "stored_film", module)
    from fewbits.codecs import registry

    for known in ("_BY_NAME", "_BY_NUMBER", "_DEFAULTS"):
        monkeypatch.setattr(registry, known, dict(getattr(registry, known)))
    spec.loader.exec_module(module)
    module.register()
    yield path
    registry.create.cache_clear()


@pytest.fixture
def compressai_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint with the names and shapes of CompressAI's, and random weights that give latents to code:
    `compressai_checkpoint("mbt2018-mean", seed=1)`."""
    import torch

    from fewbits.codecs.image.compressai import config as sizes
    from fewbits.codecs.image.compressai.transforms import Transforms, hyper_synthesis

    def write(architecture: str, channels: int = 8, latents: int = 12, seed: int = 0) -> Path:
        torch.manual_seed(seed)
        config = sizes.CompressaiConfig(sizes.NAMES.index(architecture), channels, latents)
        state = Transforms(config).state_dict()
        state["g_a.6.weight"] *= 60
        state["g_s.0.weight"] /= 20
        if config.has_hyperprior:
            state |= {f"h_s.{name}": value for name, value in hyper_synthesis(config).state_dict().items()}
            state["h_a.4.weight"] *= 30
            state["h_s.4.weight"] *= 6
            state["h_s.4.bias"] += 4
        for name, value in list(state.items()):
            if name.endswith((".beta", ".gamma")):
                state[name] = (value + 2.0**-36).sqrt()
                state[f"{name}_reparam.pedestal"] = torch.tensor([2.0**-36])
        coded = channels if config.has_hyperprior else latents
        widths = [1, 3, 3, 3, 3, 1]
        for i in range(5):
            state[f"entropy_bottleneck.matrices.{i}"] = torch.rand(coded, widths[i + 1], widths[i]) - 0.5
            state[f"entropy_bottleneck.biases.{i}"] = torch.rand(coded, widths[i + 1], 1) - 0.5
            if i < 4:
                state[f"entropy_bottleneck.factors.{i}"] = torch.rand(coded, widths[i + 1], 1) - 0.5
        medians = torch.randn(coded, 1, 1)
        state["entropy_bottleneck.quantiles"] = torch.cat([medians - 10, medians, medians + 10], 2)
        state["entropy_bottleneck._offset"] = torch.zeros(0, dtype=torch.int32)
        path = tmp_path / f"{architecture}-{seed}.pth.tar"
        torch.save(state, path)
        return path

    return write


@pytest.fixture
def compressai_weights(compressai_checkpoint: Callable[..., Path]) -> Callable[..., Path]:
    """The weights file of such a checkpoint; arguments as of `compressai_checkpoint`."""
    from fewbits.apps.train.compressai_import import import_weights

    def write(*arguments: str, **sizes: int) -> Path:
        checkpoint = compressai_checkpoint(*arguments, **sizes)
        weights = checkpoint.with_suffix(".safetensors")
        import_weights(checkpoint).save(weights)
        return weights

    return write
