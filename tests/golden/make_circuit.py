"""Makes a golden file of `circuit`: NAME.fwb and NAME.png, the picture that it is to decode to."""

import sys
from pathlib import Path

import numpy as np

from fewbits.apps import samples
from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.media import Image

if __name__ == "__main__":
    name, effort = Path(sys.argv[1]), int(sys.argv[2])
    picture = Image(np.ascontiguousarray(samples.photo(samples.TOWER).pixels[200:264, 120:200]))
    name.with_suffix(".fwb").write_bytes(files.encode(picture, "circuit", Target(effort=effort)).data)
    picture.save(name.with_suffix(".png"))
