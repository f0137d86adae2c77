"""`vqextreme` beside AVIF and WebP in files of the same size. A table of `vqextreme.md`.

    python docs/codecs/vqextreme_rivals.py PHOTOS

Neither of the two reaches such rates with all pixels of a photo. So each gets the photo reduced by the factor that
serves it best, by MS-SSIM, at the highest quality whose file is no larger; its decoded picture is enlarged again
(Lanczos both ways). The factor costs it nothing, though a file would have to say it.
"""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.image.vqextreme.config import RATES
from fewbits.codecs.media import Image
from fewbits.codecs.search import highest_within
from fewbits.eval.anchors import ANCHORS, Anchor
from fewbits.eval.metrics import METRICS

FACTORS = (1, 1.5, 2, 3, 4)
SHOWN = ("psnr", "ms_ssim", "gmsd", "features")


def measured(source: np.ndarray, decoded: np.ndarray) -> list[float]:
    """Values of the metrics that are shown."""
    return [METRICS[name].compute(source, decoded) or float("nan") for name in SHOWN]


def rival(anchor: Anchor, source: np.ndarray,
          factor: float) -> tuple[Callable[[int], bytes], Callable[[int], np.ndarray]]:
    """Of a reduced photo: its file at a quality, and the enlarged picture in that."""
    height, width = source.shape[:2]
    whole = PillowImage.fromarray(source)
    size = round(width / factor), round(height / factor)
    reduced = Image(np.asarray(whole.resize(size, PillowImage.Resampling.LANCZOS)))
    coded = cache(lambda quality: anchor.encode(reduced, quality))

    def picture(quality: int) -> np.ndarray:
        decoded = PillowImage.fromarray(anchor.decode(coded(quality)).rgb())
        return np.asarray(decoded.resize((width, height), PillowImage.Resampling.LANCZOS))

    return coded, picture


def main(folder: Path) -> None:
    """Prints the table."""
    rows: dict[tuple[int, str], list[list[float]]] = {}
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        photo = Image.open(path)
        source = photo.rgb()
        pixels = source.shape[0] * source.shape[1]
        rivals = {name: [rival(ANCHORS[name], source, factor) for factor in FACTORS] for name in ("avif", "webp")}
        for number in range(len(RATES)):
            data = files.encode(photo, "vqextreme", Target(quality=100 * number / (len(RATES) - 1))).data
            own = [8 * len(data) / pixels, *measured(source, files.decode(data).image.rgb())]
            rows.setdefault((number, "vqextreme"), []).append(own)
            for name, reduced in rivals.items():
                found = []
                for coded, picture in reduced:
                    quality = highest_within(lambda q, coded=coded: len(coded(q)), len(data), 0, 100)
                    if quality is not None:
                        found.append((8 * len(coded(quality)) / pixels, picture(quality)))
                if found:
                    rate, decoded = max(found, key=lambda one: METRICS["ms_ssim"].compute(source, one[1]) or 0)
                    rows.setdefault((number, name), []).append([rate, *measured(source, decoded)])
        print(path.name, file=sys.stderr)
    print(f"| rate | codec | photos | bits per pixel | {' | '.join(SHOWN)} |")
    print("|---" * (4 + len(SHOWN)) + "|")
    for (number, name), values in sorted(rows.items(), key=lambda item: item[0][0]):
        mean = np.mean(values, 0)
        print(f"| {number} | {name} | {len(values)} | {mean[0]:.4f} | {mean[1]:.2f} | "
              + " | ".join(f"{value:.4f}" for value in mean[2:]) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
