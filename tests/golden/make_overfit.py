"""Makes a golden file of `overfit`: NAME.fwb and NAME.png (the decoded picture, which is the same on every machine)."""

import sys
from pathlib import Path

import numpy as np

from fewbits.apps import samples
from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.media import Image

if __name__ == "__main__":
    name = Path(sys.argv[1])
    picture = Image(np.ascontiguousarray(samples.photo(samples.TOWER).pixels[200:288, 120:240]))
    data = files.encode(picture, "overfit", Target(quality=60, effort=2)).data
    name.with_suffix(".fwb").write_bytes(data)
    files.decode(data).media.save(name.with_suffix(".png"))
