"""What all codecs with 8 bits per sample do alike about the layout of a picture: opacity, grey, samples of 16 bits, and
tiles put into their place."""

from typing import TYPE_CHECKING

import numpy as np

from fewbits.codecs.codec import Stream
from fewbits.codecs.image.alpha import decode_alpha
from fewbits.codecs.media import Image
from fewbits.errors import DamagedError

if TYPE_CHECKING:
    from torch import Tensor

ROUNDED = "This codec works with 8 bits per sample: the 16-bit samples were rounded."


def check_sections(stream: Stream, shape: dict[str, int], own: int) -> None:
    """Raises `DamagedError` unless a stream has so many sections of its codec's own, and one of opacity where it needs
    one."""
    needed = own + (shape["channels"] in (2, 4))
    if len(stream.sections) != needed:
        raise DamagedError(f"The picture needs {needed} sections, the file has {len(stream.sections)}.")


def sections_of_tiles(shape: dict[str, int], count: int, tiles: int, levels: int) -> list[range]:
    """Which of `count` sections are those of each tile, as `ProgressiveCodec.parts` gives them."""
    own = count - (shape["channels"] in (2, 4))
    return [range(number, own, tiles) for number in range(tiles)] if own in (tiles, levels * tiles) else []


def blank_samples(shape: dict[str, int]) -> np.ndarray:
    """Samples (H, W, 1 or 3) uint8 to be filled, without opacity."""
    return np.empty((shape["height"], shape["width"], 1 if shape["channels"] <= 2 else 3), np.uint8)


def put(samples: np.ndarray, pixels: "Tensor", top: int, left: int) -> None:
    """Puts pixels (3, h, w), about 0 to 1, into a place of samples (H, W, 1 or 3) uint8, as far as these go there."""
    if samples.shape[2] == 1:
        pixels = pixels.mean(0, keepdim=True)
    part = (pixels * 255).round_().clamp_(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    place = samples[top : top + part.shape[0], left : left + part.shape[1]]
    place[:] = part[: place.shape[0], : place.shape[1]]


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
