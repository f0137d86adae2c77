"""Makes a golden file of a codec for films, as its name begins, at an effort: NAME.fwb, NAME.mkv (its frames) and
NAME.sha256 (of the network's integers)."""

import hashlib
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.film import Video

FRAMES, HEIGHT, WIDTH = 8, 34, 50


def film() -> Video:
    """A disc that moves over a slope."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    slope = np.stack([4 * columns, 5 * rows, 60 + rows + columns], -1)
    discs = [np.hypot(rows - 17, columns - 8 - 4 * number)[..., None] < 9 for number in range(FRAMES)]
    return Video(np.stack([np.where(disc, 235, slope) for disc in discs]).astype(np.uint8), Fraction(25))


if __name__ == "__main__":
    name = Path(sys.argv[1])
    codec, effort = name.name.rsplit("-", 1)[0], int(sys.argv[2])
    data = files.encode(film(), codec, Target(quality=60, effort=effort)).data
    name.with_suffix(".fwb").write_bytes(data)
    files.CodedVideo(data).save(name.with_suffix(".mkv"))
    parsed = files.parse(data)
    integers = parsed.codec.integers(parsed.stream, parsed.shape)
    name.with_suffix(".sha256").write_text(hashlib.sha256(integers.astype("<i4").tobytes()).hexdigest() + "\n")
