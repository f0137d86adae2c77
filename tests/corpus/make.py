"""Makes the files here that were encoded, of tiny media: `python tests/corpus/make.py tests/corpus`."""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.film import Video
from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio
from fewbits.codecs.sound_track import SoundTrack


def picture(height: int, width: int, channels: int = 4) -> Image:
    """Waves, with opacity that ends in a slope, a profile and EXIF."""
    rows, columns = np.mgrid[:height, :width]
    planes = [128 + 90 * np.sin(rows / 5 + plane) * np.cos(columns / 7) for plane in range(channels)]
    return Image(np.stack(planes, -1).astype(np.uint8), b"profile" * 20, b"Exif\x00\x00II*\x00" + bytes(9))


def film(sound: SoundTrack | None = None) -> Video:
    """Two frames of a slope that moves."""
    rows, columns = np.mgrid[:16, :24]
    frames = [np.stack([5 * columns + 9 * n, 6 * rows, 60 + rows + columns], -1) for n in range(2)]
    return Video(np.stack(frames).astype(np.uint8), Fraction(25), sound=sound)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    tone = Audio(np.sin(np.arange(1600) / 9, dtype=np.float32)[None] / 2, 16000)
    media = {
        "nerv++": (film(), Target(quality=20, effort=1)),
        "nirvana": (film(), Target(quality=20, effort=1)),
        "hnerv": (film(), Target(quality=20, effort=1)),
        "hyperprior-extras": (picture(20, 24), Target(quality=20, effort=5)),
        "vqextreme-chunks": (picture(256, 224), Target(quality=0)),
        "nerv-sound": (film(SoundTrack(files.encode(tone, "speech").data)), Target(quality=20, effort=1)),
    }
    for name, (medium, target) in media.items():
        path = folder / f"{name}.fwb"
        if not path.exists():
            path.write_bytes(files.encode(medium, name.split("-")[0], target).data)
            print(path.name, path.stat().st_size, flush=True)
