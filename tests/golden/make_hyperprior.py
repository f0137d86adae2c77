"""Makes a golden file of `hyperprior` or `mcq`, as its name begins, at an effort, tuned for a metric, `progressive`
where said: NAME.fwb, NAME.png (the decoded picture) and NAME.sha256 (of the latents)."""

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
    picture = Image(np.ascontiguousarray(samples.photo(samples.TOWER).pixels[200:288, 120:240]))
    target = Target(quality=55, effort=int(sys.argv[2]), tune=sys.argv[3], progressive="progressive" in sys.argv[4:])
    data = files.encode(picture, name.stem.split("-")[0], target).data
    name.with_suffix(".fwb").write_bytes(data)
    files.decode(data).media.save(name.with_suffix(".png"))
    parsed = files.parse(data)
    latents = parsed.codec.latents(parsed.stream, parsed.shape).numpy()
    name.with_suffix(".sha256").write_text(hashlib.sha256(latents.astype("<i2").tobytes()).hexdigest() + "\n")
