"""What all codecs with 8 bits per sample do alike about the layout of a picture: opacity, and samples of 16 bits."""

import numpy as np

from fewbits.codecs.codec import Stream
from fewbits.codecs.image.alpha import decode_alpha
from fewbits.codecs.media import Image

ROUNDED = "This codec works with 8 bits per sample: the 16-bit samples were rounded."


def finished(samples: np.ndarray, stream: Stream, shape: dict[str, int]) -> Image:
    """The picture that a header describes.

    Args:
        samples: (H, W, 1 or 3) uint8, without opacity.
        stream: its last section holds the opacity, where there is any; a damaged one is opaque.
        shape: the media fields of the header.

    Raises:
        DamagedError: if the opacity is wrong.
    """
    if shape["channels"] in (2, 4):
        alpha = decode_alpha(stream.sections[-1] or b"", shape["height"], shape["width"])
        samples = np.concatenate([samples, alpha[..., None]], 2)
    return Image(samples.astype(np.uint16) * np.uint16(257) if shape["bits"] == 16 else samples)
