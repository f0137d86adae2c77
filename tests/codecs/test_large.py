"""Large pictures: bounded memory and no seams. Minutes of work, so marked slow."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.image.hyperprior import picture as picture_module
from fewbits.codecs.media import Image
from fewbits.eval.metrics import psnr

pytestmark = pytest.mark.slow

GIBIBYTE = 1 << 30


@pytest.mark.parametrize("quality", [20, 60])
def test_tiles_of_real_size_lose_nothing(shared_data, monkeypatch, quality):
    """A 2048 x 2048 mosaic of photos, in four tiles and as a whole: PSNR within 0.05 dB, size within 0.5 %."""
    photos = [Image.open(p).pixels for p in sorted((shared_data / "image/kodak").glob("*.png"))]
    upright = [p if p.shape[1] == 768 else np.rot90(p) for p in photos]
    rows = [np.concatenate(upright[i : i + 3], 1) for i in (0, 5, 10, 19)]
    mosaic = np.ascontiguousarray(np.concatenate(rows)[:2048, :2048])
    tiled = files.encode(Image(mosaic), target=Target(quality=quality))
    tiled_psnr = psnr(files.decode(tiled.data).media.pixels, mosaic)
    monkeypatch.setattr(picture_module, "TILE", 256)
    whole = files.encode(Image(mosaic), target=Target(quality=quality))
    whole_psnr = psnr(files.decode(whole.data).media.pixels, mosaic)
    print(f"quality {quality}: tiled {len(tiled.data)} bytes {tiled_psnr:.3f} dB, "
          f"whole {len(whole.data)} bytes {whole_psnr:.3f} dB")
    assert abs(tiled_psnr - whole_psnr) < 0.05
    assert len(tiled.data) < 1.005 * len(whole.data)


def test_a_hundred_megapixels_stay_under_three_gibibytes(tmp_path):
    """Encoding and decoding as processes; each one's peak of resident memory."""
    y, x = np.mgrid[0:10000, 0:10000].astype(np.float32)
    waves = (128 + 60 * np.sin(x / 37) * np.cos(y / 53) + 40 * np.sin((x + y) / 11)).clip(0, 255).astype(np.uint8)
    del x, y
    source, coded, decoded = (tmp_path / name for name in ("large.png", "large.fwb", "back.png"))
    PillowImage.merge("RGB", [PillowImage.fromarray(w) for w in (waves, waves.T, 255 - waves)]).save(
        source, compress_level=1)
    del waves
    for command in (["encode", str(source), "-o", str(coded), "--quality", "40"],
                    ["decode", str(coded), "-o", str(decoded)]):
        peak = peak_memory(command)
        print(f"{command[0]}: {peak / GIBIBYTE:.2f} GiB")
        assert peak < 3 * GIBIBYTE
    assert PillowImage.open(decoded).size == (10000, 10000)


def test_fitting_twelve_megapixels_stays_under_four_gibibytes(shared_data, tmp_path):
    """`overfit` at effort 1 on a mosaic of photos, as a process."""
    photos = [Image.open(p).pixels for p in sorted((shared_data / "image/kodak").glob("*.png"))]
    upright = [p if p.shape[1] == 768 else np.rot90(p) for p in photos]
    rows = [np.concatenate([upright[(5 * row + column) % 24] for column in range(6)], 1) for row in range(6)]
    source, coded, decoded = (tmp_path / name for name in ("large.png", "large.fwb", "back.png"))
    PillowImage.fromarray(np.concatenate(rows)[:3000, :4000]).save(source, compress_level=1)
    for command in (["encode", str(source), "-o", str(coded), "--codec", "overfit", "--effort", "1"],
                    ["decode", str(coded), "-o", str(decoded)]):
        peak = peak_memory(command)
        print(f"{command[0]}: {peak / GIBIBYTE:.2f} GiB")
        assert peak < 4 * GIBIBYTE
    assert psnr(Image.open(decoded).pixels, Image.open(source).pixels) > 28


def peak_memory(command: list[str]) -> int:
    """Peak resident bytes of a `fewbits` command."""
    program = ("import resource, subprocess, sys;"
               "subprocess.run([sys.executable, '-m', 'fewbits', *sys.argv[1:]], check=True);"
               "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)")
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", program, *command], check=True, capture_output=True, text=True,
                          cwd=root)
    return int(done.stdout.split()[-1])
