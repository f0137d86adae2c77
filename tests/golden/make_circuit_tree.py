"""Makes a golden file of `circuit-tree`: NAME.fwb and NAME.idx, the images that it is to decode to: drawn digits."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from fewbits.codecs import files
from fewbits.codecs.image_set import ImageSet

COUNT = 140  # a block of 128, and some
SIDE = 28


def drawn(number: int) -> np.ndarray:
    """A digit of some size at some place, (28, 28, 1) uint8."""
    picture = PillowImage.new("L", (SIDE, SIDE))
    place = (6 + number % 5, -2 + number % 7)
    ImageDraw.Draw(picture).text(place, str(number % 10), 255, ImageFont.load_default(20 + number % 4))
    return np.asarray(picture)[..., None]


if __name__ == "__main__":
    name = Path(sys.argv[1])
    images = ImageSet(np.stack([drawn(number) for number in range(COUNT)]))
    name.with_suffix(".fwb").write_bytes(files.encode(images, "circuit-tree").data)
    images.save(name.with_suffix(".idx"))
