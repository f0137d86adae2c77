"""Where in a picture its bits went, as a picture."""

import numpy as np

from fewbits.codecs.media import Image

_HOT = 0.99  # of the cells have fewer bits than what is brightest


def heat_map(side: int, bits: np.ndarray, width: int, height: int) -> tuple[Image, float]:
    """Bits of square cells, as `fewbits.codecs.files.bits_by_place` tells them, in matplotlib's colours.

    Args:
        side: of a cell, in pixels.
        bits: (ceil(height / side), ceil(width / side)).

    Returns:
        A picture of the size of the other, black where there are no bits, and the bits per pixel of what is brightest.
    """
    from matplotlib import colormaps  # slow to import

    rows, columns = (np.minimum(side, size - np.arange(0, size, side)) for size in (height, width))
    rate = bits / (rows[:, None] * columns)
    top = float(np.quantile(rate, _HOT)) or 1.0
    colours = colormaps["inferno"](np.minimum(rate / top, 1), bytes=True)[..., :3]
    return Image(np.ascontiguousarray(colours.repeat(rows, 0).repeat(columns, 1))), top
