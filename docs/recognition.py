"""What is still recognised in decoded photos: top-1 of the classifier that ships with fewbits, codec by codec.

    python docs/recognition.py LABELLED/val jpeg@5,20 hyperprior@0,30

In the folder, each class has a folder of photos. Every size is that of a file that was written and decoded again; the
classifier has seen neither these photos nor decoded ones.
"""

import sys
import tempfile
from pathlib import Path
from statistics import fmean

from fewbits.codecs.media import Image
from fewbits.eval.classifier import top1
from fewbits.eval.contenders import entrant, parse_codec
from fewbits.eval.evaluate import PICTURE_SUFFIXES

EFFORT = 5


def main() -> None:
    """Prints a table: mean bytes of a file, bits per pixel, and top-1 of the originals and of what was decoded."""
    paths = sorted(p for p in Path(sys.argv[1]).glob("*/*") if p.suffix.lower() in PICTURE_SUFFIXES)
    photos, labels = [Image.open(path) for path in paths], [path.parent.name for path in paths]
    before = top1((photo.rgb() for photo in photos), labels)
    print(f"{len(photos)} photos of {len(set(labels))} classes\n")
    print("| codec | setting | bytes | bpp | top-1 before | after |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for text in sys.argv[2:]:
            codec, settings = entrant(*parse_codec(text))
            for setting in settings:
                trips = [codec.trip(photo, setting, EFFORT, Path(folder)) for photo in photos]
                sizes = [record["bytes"] for _, record in trips]
                bpp = fmean(8 * size / photo.pixel_count for size, photo in zip(sizes, photos, strict=True))
                after = top1((decoded.rgb() for decoded, _ in trips), labels)
                print(f"| {codec.name} | {setting:g} | {fmean(sizes):.0f} | {bpp:.3f} | {before:.3f} | {after:.3f} |")


if __name__ == "__main__":
    main()
