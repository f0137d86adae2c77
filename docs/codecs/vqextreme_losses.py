"""What a lost fifth of the indices of `vqextreme` costs, left grey and guessed. A table of `vqextreme.md`.

    python docs/codecs/vqextreme_losses.py PHOTOS
"""

import sys
from pathlib import Path

import numpy as np

from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.image.vqextreme.config import RATES
from fewbits.codecs.media import Image
from fewbits.eval.metrics import METRICS

SHOWN = ("ms_ssim", "features")


def without_section(data: bytes, number: int) -> bytes:
    """A file with one of its sections zeroed."""
    section = files.info(data)["sections"][number]
    start, stop = section["offset"], section["offset"] + section["length"]
    return data[:start] + bytes(stop - start) + data[stop:]


def main(folder: Path) -> None:
    """Prints the table: means over all photos, each losing one chunk, the next one in turn."""
    print(f"| rate | lost chunk | {' | '.join(SHOWN)} | features, against the intact file |")
    print("|---" * (3 + len(SHOWN)) + "|")
    paths = sorted(p for p in folder.iterdir() if p.is_file())
    for number in range(len(RATES)):
        rows: dict[str, list[list[float]]] = {"none": [], "grey": [], "guessed": []}
        for place, path in enumerate(paths):
            photo = Image.open(path)
            data = files.encode(photo, "vqextreme", Target(quality=100 * number / (len(RATES) - 1))).data
            broken = without_section(data, place % len(files.info(data)["sections"]))
            decoded = (files.decode(data), files.decode(broken, allow_damage=True), files.decode(broken, conceal=True))
            for name, made in zip(rows, decoded, strict=True):
                rows[name].append([METRICS[m].compute(photo.rgb(), made.image.rgb()) or np.nan for m in SHOWN])
        intact = np.mean(rows["none"], 0)[-1]
        for name, values in rows.items():
            mean = np.mean(values, 0)
            print(f"| {number} | {name} | {' | '.join(f'{value:.4f}' for value in mean)} "
                  f"| {100 * (mean[-1] / intact - 1):+.1f} % |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
