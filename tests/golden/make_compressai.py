"""Makes a golden file of `compressai` by the weights NAME.safetensors: NAME.fwb, NAME.png (the decoded picture) and
NAME.sha256 (of the latents)."""

import sys
from pathlib import Path

import numpy as np
from check import digest

from fewbits.apps import samples
from fewbits.codecs import files
from fewbits.codecs.media import Image

if __name__ == "__main__":
    name = Path(sys.argv[1])
    weights = name.with_suffix(".safetensors")
    picture = Image(np.ascontiguousarray(samples.photo(samples.TOWER).pixels[200:288, 120:240]))
    data = files.encode(picture, "compressai", weights=weights).data
    name.with_suffix(".fwb").write_bytes(data)
    files.decode(data, weights=weights).image.save(name.with_suffix(".png"))
    name.with_suffix(".sha256").write_text(digest(name.with_suffix(".fwb")) + "\n")
