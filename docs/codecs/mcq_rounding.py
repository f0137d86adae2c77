"""What codebooks of vectors are worth to `mcq`: photos by the codec as it is, and with residuals rounded to whole
steps. An ablation of `mcq.md`.

    python docs/codecs/mcq_rounding.py PHOTOS

PHOTOS is the folder of the training, whose validation photos are coded: bits per pixel are those of the sections, and
what is printed was decoded. The networks were trained with the codebooks.
"""

import sys
from functools import cached_property
from pathlib import Path

from torch import Tensor

from fewbits.apps.train.hyperprior import cut, load_photos
from fewbits.codecs.codec import Target
from fewbits.codecs.image.hyperprior.weights import Weights, load_weights
from fewbits.codecs.image.mcq.codec import WEIGHTS, McqCodec
from fewbits.codecs.media import Image
from fewbits.eval.curves import Curve, Point, bd_rate
from fewbits.eval.metrics import psnr

QUALITIES = (0.0, 15.0, 30.0, 50.0, 75.0, 100.0)


class RoundingCodec(McqCodec):
    """`mcq` without its codebooks."""

    @cached_property
    def weights(self) -> Weights:
        return load_weights(WEIGHTS, self.device)


def point(codec: McqCodec, photos: list[Tensor], quality: float) -> Point:
    """Mean bits per pixel and PSNR of photos at a quality."""
    bits, psnrs = 0.0, 0.0
    for photo in photos:
        image = Image(cut(photo).permute(1, 2, 0).contiguous().numpy())
        stream = codec.encode(image, Target(quality=quality))
        shape = {"width": image.width, "height": image.height, "channels": 3, "bits": 8}
        bits += 8 * sum(map(len, stream.sections)) / (image.height * image.width)
        psnrs += psnr(codec.decode(stream, shape).pixels, image.pixels)
    return Point(quality, bits / len(photos), psnrs / len(photos))


def main() -> None:
    """Prints a table, and the mean difference in rate."""
    _, photos = load_photos(Path(sys.argv[1]))
    curves = [Curve(name, "psnr", tuple(point(codec(), photos, quality) for quality in QUALITIES))
              for name, codec in (("rounding", RoundingCodec), ("codebooks", McqCodec))]
    print("| quality | rounding: bits per pixel, PSNR | codebooks: bits per pixel, PSNR |\n|---|---|---|")
    for rounded, chosen in zip(*(curve.points for curve in curves), strict=True):
        cells = [f"{found.rate:.4f}, {found.value:.2f}" for found in (rounded, chosen)]
        print(f"| {rounded.setting:g} |", " | ".join(cells), "|")
    print(f"codebooks against rounding: {bd_rate(*curves).percent:+.2f} % bits at equal PSNR")


if __name__ == "__main__":
    main()
