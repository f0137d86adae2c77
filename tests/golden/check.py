"""What golden files decode to here: a line of JSON for each.

    python tests/golden/check.py [--encode] [--without-onednn] FILE.fwb ...

"symbols": whether what decides probabilities is what it was; null where samples must be equal and say it all.
"difference": the largest of a sample, in levels (of sounds, thousandths of full scale). "encoded": the SHA-256 of what
the codec makes of the expected media, which may differ between machines where the encoder is a float network.
"""

import argparse
import hashlib
import json
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch

from fewbits.codecs import files, registry
from fewbits.codecs.codec import Target
from fewbits.codecs.image_set import ImageSet
from fewbits.codecs.kinds import MediaSource
from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio
from fewbits.codecs.video_source import VideoFile

SOUND_LEVEL = 1e-3  # of full scale: what counts as a level of a sound
EXACT = ("overfit", "circuit", "circuit-tree")  # their samples are equal everywhere, so they have no .sha256
_SYMBOLS = (("latents", "<i2"), ("indices", "<i4"), ("integers", "<i4"))


def codec_of(golden: Path) -> str:
    """The name of the codec of a golden file, which the file's name begins with."""
    return golden.stem.rsplit("-", 1)[0]


def weights_of(golden: Path) -> Path | None:
    """The weights beside a golden file of a codec that takes those of the user."""
    weights = golden.with_suffix(".safetensors")
    return weights if weights.exists() else None


def digest(golden: Path) -> str:
    """SHA-256 of the symbols that a file holds: what every machine must decode alike."""
    parsed = files.parse(golden.read_bytes(), weights=weights_of(golden))
    method, form = next(pair for pair in _SYMBOLS if hasattr(parsed.codec, pair[0]))
    symbols = getattr(parsed.codec, method)(parsed.stream, parsed.shape)
    symbols = symbols[0] if isinstance(symbols, tuple) else symbols
    whole = symbols.joined() if hasattr(symbols, "joined") else symbols
    return hashlib.sha256(np.asarray(whole).astype(form).tobytes()).hexdigest()


def expected(golden: Path) -> MediaSource:
    """The media that a file is to decode to."""
    kind = registry.entry(codec_of(golden)).kind
    if kind == "image":
        return Image.open(golden.with_suffix(".png"))
    if kind == "images":
        return ImageSet.open(golden.with_suffix(".idx"))
    return Audio.open(golden.with_suffix(".flac")) if kind == "audio" else VideoFile(golden.with_suffix(".mkv"), 10**6)


def difference(golden: Path) -> float:
    """The largest difference of a sample from the expected one, in levels; infinite for other shapes or rates."""
    data, kept = golden.read_bytes(), expected(golden)
    made: MediaSource
    if isinstance(kept, VideoFile):
        made = files.CodedVideo(data)
        pairs = list(zip_longest(made.frames(), kept.frames(), fillvalue=np.zeros(0)))
    else:
        made = files.decode(data, weights=weights_of(golden)).media
        pairs = [(_samples(made), _samples(kept))]
    if getattr(made, "rate", None) != getattr(kept, "rate", None) or any(a.shape != b.shape for a, b in pairs):
        return float("inf")
    level = SOUND_LEVEL if isinstance(kept, Audio) else 1
    return max(float(np.abs(a.astype(np.float64) - b).max()) / level for a, b in pairs)


def _samples(media: object) -> np.ndarray:
    return media.pixels if isinstance(media, Image) else media.samples


def encoded(golden: Path) -> str:
    """SHA-256 of the file that the codec makes of the expected media."""
    codec = codec_of(golden)
    target = Target(effort=1, verify=False)
    return hashlib.sha256(files.encode(expected(golden), codec, target, weights=weights_of(golden)).data).hexdigest()


def symbols_kept(golden: Path) -> bool | None:
    """Whether a file's symbols are those of its .sha256; None where samples say it all."""
    if codec_of(golden) in EXACT:
        return None
    return digest(golden) == golden.with_suffix(".sha256").read_text().strip()


def main() -> None:
    """Prints the lines."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--encode", action="store_true")
    parser.add_argument("--without-onednn", action="store_true")
    parser.add_argument("goldens", nargs="+", type=Path, metavar="FILE.fwb")
    given = parser.parse_args()
    torch.backends.mkldnn.set_flags(not given.without_onednn)
    for golden in given.goldens:
        line = {"file": golden.name, "symbols": symbols_kept(golden), "difference": difference(golden)}
        print(json.dumps(line | ({"encoded": encoded(golden)} if given.encode else {})), flush=True)


if __name__ == "__main__":
    main()
