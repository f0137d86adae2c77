"""Makes a golden file of `vqextreme`: NAME.fwb, NAME.png (the decoded picture) and NAME.sha256 (of the indices)."""

import hashlib
import sys
from pathlib import Path

import numpy as np

from fewbits.apps import samples
from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.media import Image

if __name__ == "__main__":
    name = Path(sys.argv[1])
    picture = Image(np.ascontiguousarray(samples.photo(samples.TOWER).pixels[100:356, 40:260]))
    data = files.encode(picture, "vqextreme", Target(quality=100)).data
    name.with_suffix(".fwb").write_bytes(data)
    files.decode(data).image.save(name.with_suffix(".png"))
    parsed = files.parse(data)
    indices = parsed.codec.indices(parsed.stream, parsed.shape)[0].joined()
    name.with_suffix(".sha256").write_text(hashlib.sha256(indices.astype("<i4").tobytes()).hexdigest() + "\n")
