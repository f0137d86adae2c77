"""Frames as FFmpeg's encoders take them: planes of 4:2:0, and what is said about their colour."""

from typing import TYPE_CHECKING, Union

import numpy as np

from fewbits.codecs.colour import Colour, to_planes

if TYPE_CHECKING:
    import av
    import av.video.plane

_MATRIX_NUMBERS = {"bt601": 6, "bt709": 1, "bt2020": 9}  # of ITU-T H.273
_LIMITED, _FULL = 1, 2  # FFmpeg's numbers of ranges


def say_colour(place: Union["av.VideoFrame", "av.VideoCodecContext"], colour: Colour) -> None:
    """Notes how luma and chroma are meant, in a frame or an encoder."""
    place.colorspace = _MATRIX_NUMBERS[colour.matrix]
    place.color_range = _FULL if colour.full_range else _LIMITED


def planar_frame(pixels: np.ndarray, colour: Colour) -> "av.VideoFrame":
    """Pixels (H, W, 3) as planes of 4:2:0."""
    import av

    frame = av.VideoFrame(pixels.shape[1], pixels.shape[0], "yuv420p")
    say_colour(frame, colour)
    for plane, samples in zip(frame.planes, to_planes(pixels, colour), strict=True):
        fill(plane, samples)
    return frame


def fill(plane: "av.video.plane.VideoPlane", rows: np.ndarray) -> None:
    """Puts rows of bytes into a plane, whose own rows may be longer."""
    padded = np.zeros((plane.height, plane.line_size), np.uint8)
    padded[:, : rows.shape[1]] = rows
    plane.update(padded.tobytes())
