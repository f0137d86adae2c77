"""Frames as FFmpeg decodes them: their samples as RGB, and what they say about colour, turning and all that is lost."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fewbits.codecs.colour import Colour, Planes
from fewbits.codecs.colour import to_rgb as planes_to_rgb

if TYPE_CHECKING:
    import av
    import av.video.plane

# numbers of ITU-T H.273, which FFmpeg has too
_MATRICES = {1: "bt709", 5: "bt601", 6: "bt601", 4: "bt601", 9: "bt2020"}
_RGB_MATRIX, _UNKNOWN_MATRIX, _FULL_RANGE = 0, 2, 2
_LAYOUTS = {(1, 1): "yuv444p", (2, 1): "yuv422p", (1, 2): "yuv440p", (2, 2): "yuv420p", (4, 1): "yuv411p"}
_PACKED = {"rgb24": "rgb", "bgr24": "bgr"} | {name: name for name in ("rgba", "bgra", "argb", "abgr", "rgb0", "bgr0",
                                                                      "0rgb", "0bgr")}
_SIDE = 64  # of a picture, to ask how much smaller its chroma is


@dataclass(frozen=True)
class Turn:
    """How a decoded frame becomes one that stands upright.

    Attributes:
        swap: rows become columns, before all else.
        mirror_across, mirror_down: left changes with right, top with bottom.
    """

    swap: bool = False
    mirror_across: bool = False
    mirror_down: bool = False

    def applied(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W, 3) pixels upright, in memory of their own order."""
        upright = pixels.swapaxes(0, 1) if self.swap else pixels
        return np.ascontiguousarray(upright[:: -1 if self.mirror_down else 1, :: -1 if self.mirror_across else 1])


def turn_of(frame: "av.VideoFrame") -> Turn:
    """What the display matrix asks for; nothing where it asks for angles that are not right."""
    matrix = _display_matrix(frame)
    if matrix is None or not _is_upright(matrix):
        return Turn()
    (a, b), (c, d) = matrix  # a point (x, y) goes to (a x + c y, b x + d y)
    swap = bool(a == 0)
    return Turn(swap, bool((c if swap else a) < 0), bool((b if swap else d) < 0))


def colour_of(frame: "av.VideoFrame") -> Colour:
    """How the frame's luma and chroma are meant; BT.601 and the limited range where nothing else is said."""
    full = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
    return Colour(_MATRICES.get(int(frame.colorspace), Colour.matrix), full and not frame.format.is_rgb)


def losses(frame: "av.VideoFrame", stream: "av.VideoStream") -> tuple[str, ...]:
    """Sentences for the user on what a film loses when its frames become RGB of 8 bits."""
    bits = _bits(frame)
    aspect, matrix = stream.sample_aspect_ratio, _display_matrix(frame)
    found = (
        (bits > 8, f"The film has {bits} bits a sample; 8 are kept."),
        (any(component.is_alpha for component in frame.format.components), "Its opacity is left out."),
        (bool(aspect) and aspect != 1, f"Its pixels are {aspect} as wide as high, which is not kept: it will look "
                                       "narrower or wider."),
        (frame.interlaced_frame, "It is interlaced; its lines are kept as they are, two moments in each frame."),
        (matrix is not None and not _is_upright(matrix), "It asks to be turned by an angle that is not a right one; "
                                                         "that is left out."),
        (not frame.format.is_rgb and int(frame.colorspace) not in (*_MATRICES, _UNKNOWN_MATRIX, _RGB_MATRIX),
         "Its colours are meant by a matrix that is not known here; they are taken for BT.601."),
    )
    return tuple(sentence for lost, sentence in found if lost)


def to_rgb(frame: "av.VideoFrame", colour: Colour) -> np.ndarray:
    """The frame's samples as (H, W, 3) uint8 RGB."""
    name = frame.format.name
    if name.startswith("gbr"):
        green, blue, red = _planes(frame)
        return np.stack((red, green, blue), axis=-1)
    if _is_chromatic(frame):
        return planes_to_rgb(_planes(frame if name.startswith("yuv") else _planar(frame)), colour)
    if name in _PACKED:
        samples = _rows(frame.planes[0], np.dtype(np.uint8))
        step = len(_PACKED[name])
        whole = samples[:, : step * frame.width].reshape(frame.height, frame.width, step)
        return np.stack([whole[..., _PACKED[name].index(letter)] for letter in "rgb"], axis=-1)
    if _bits(frame) > 8:
        return to_rgb(frame.reformat(format="gbrp16le"), colour)
    return frame.to_ndarray(format="rgb24")


def _is_chromatic(frame: "av.VideoFrame") -> bool:
    """Whether the frame has luma and chroma; otherwise it has RGB, grey or a palette."""
    form = frame.format
    return not form.is_rgb and not form.has_palette and any(component.is_chroma for component in form.components)


def _planar(frame: "av.VideoFrame") -> "av.VideoFrame":
    """A frame of packed or half packed luma and chroma, as planes of the same layout."""
    form = frame.format
    steps = _SIDE // form.chroma_width(_SIDE), _SIDE // form.chroma_height(_SIDE)
    depth = "16le" if _bits(frame) > 8 else ""
    return frame.reformat(format=_LAYOUTS.get(steps, "yuv444p") + depth)


def _planes(frame: "av.VideoFrame") -> Planes:
    """The first three planes, uint8; samples of more bits are rounded."""
    bits = _bits(frame)
    kind = np.dtype(np.uint8 if bits <= 8 else ">u2" if frame.format.is_big_endian else "<u2")
    first, second, third = (_rows(plane, kind)[:, : plane.width] for plane in frame.planes[:3])
    if bits <= 8:
        return first, second, third
    half, most = 1 << bits - 9, (1 << bits) - 1
    first, second, third = (((plane.astype(np.uint32) + half).clip(max=most) >> bits - 8).astype(np.uint8)
                            for plane in (first, second, third))
    return first, second, third


def _rows(plane: "av.video.plane.VideoPlane", kind: np.dtype) -> np.ndarray:
    """The samples of a plane with all that stands behind each row."""
    return np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1)


def _bits(frame: "av.VideoFrame") -> int:
    return frame.format.components[0].bits


def _display_matrix(frame: "av.VideoFrame") -> np.ndarray | None:
    """The four numbers of the display matrix that turn and mirror, (2, 2) int32; None where there is none."""
    side_data: Any = frame.side_data  # PyAV's types know some keys only
    if "DISPLAYMATRIX" not in side_data:
        return None
    return np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32).reshape(3, 3)[:2, :2]


def _is_upright(matrix: np.ndarray) -> bool:
    """Whether it turns by right angles only, and mirrors."""
    straight, crossed = matrix[[0, 1], [0, 1]].any(), matrix[[0, 1], [1, 0]].any()
    return bool(straight != crossed)
