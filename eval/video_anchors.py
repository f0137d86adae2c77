"""The classical codecs of films that others are measured against, all through PyAV, which brings FFmpeg.

Settings are constant rate factors (CRF): the smaller, the larger and the better the file. Files are bare streams, Annex
B of H.264 and HEVC and the OBUs of AV1, without the messages in which encoders note their options: nothing that can be
decoded is smaller. Sound is left out. The encoders choose the number of threads themselves, on which their files depend
a little; those of x264 and x265 differ by some bytes even from run to run.
"""

import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import IO, TYPE_CHECKING

import numpy as np

from fewbits.codecs.film import MAX_VIDEO_PIXELS
from fewbits.codecs.planar_frame import planar_frame, say_colour
from fewbits.codecs.video_source import VideoFile, VideoSource
from fewbits.errors import InputError

if TYPE_CHECKING:
    import av


@dataclass(frozen=True)
class VideoAnchor:
    """A classical codec of films, which codes planes of 4:2:0 with 8 bits.

    Attributes:
        name, suffix, about: its name here, the end of its file names, one line for people.
        encoder, container, packet_filter: FFmpeg's names of them; the filter takes messages out of the stream.
        settings, low, high: the spread taken where none is asked for, the smallest and the largest setting.
        options: what the encoder is told beside the setting.
        smallest: pixels that a side must have; frames are padded to that.
    """

    name: str
    suffix: str
    about: str
    encoder: str
    container: str
    packet_filter: str
    settings: tuple[int, ...]
    low: int
    high: int
    options: Mapping[str, str]
    smallest: int

    @property
    def whole(self) -> bool:
        """Whether settings must be whole numbers."""
        return True

    def encode(self, film: VideoSource, setting: int) -> bytes:
        """A whole file, in the source's colour. Raises `InputError` where FFmpeg cannot write such a film."""
        import av  # slow to import

        os.environ.setdefault("SVT_LOG", "1")  # errors alone: SVT-AV1 has no other way to be quiet
        file = io.BytesIO()
        try:
            self._write(film, setting, file)
        except (av.FFmpegError, ValueError) as error:
            raise InputError(f"{self.name} cannot code a film of {film.width} x {film.height} pixels and {film.rate} "
                             f"frames a second with setting {setting}: {error}.") from None
        return file.getvalue()

    def decode(self, data: bytes) -> VideoSource:
        """The film in a file that `encode` made, decoded while it is read.

        Odd sides are one larger than they were, small ones `smallest`. Streams of AV1 do not tell the rate.
        """
        return VideoFile(io.BytesIO(data), MAX_VIDEO_PIXELS)

    def _write(self, film: VideoSource, setting: int, file: IO[bytes]) -> None:
        import av

        with av.open(file, "w", format=self.container) as out:
            stream = out.add_stream(self.encoder, rate=film.rate, options={**self.options, "crf": f"{setting}"})
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height = (max(side + side % 2, self.smallest) for side in (film.width, film.height))
            stream.pix_fmt = "yuv420p"
            context = stream.codec_context
            context.time_base = 1 / film.rate
            context.thread_type = "AUTO"  # otherwise x264 cuts frames into slices, a thread each, which takes bits
            say_colour(context, film.colour)
            out.start_encoding()
            bare = av.BitStreamFilterContext(self.packet_filter, in_stream=stream)
            for frame in chain(_frames(film, stream.width, stream.height), (None,)):
                for packet in stream.encode(frame):
                    out.mux(bare.filter(packet))
            out.mux(bare.filter(None))


def _frames(film: VideoSource, width: int, height: int) -> Iterator["av.VideoFrame"]:
    """The frames in planes of 4:2:0, the last row and column repeated up to even sides."""
    for number, pixels in enumerate(film.frames()):
        pixels = np.pad(pixels, ((0, height - film.height), (0, width - film.width), (0, 0)), "edge")
        frame = planar_frame(pixels, film.colour)
        frame.pts, frame.time_base = number, 1 / film.rate
        yield frame


_CRF = (18, 23, 28, 33, 38, 43)
_AV1_CRF = (20, 28, 36, 46, 56, 63)
_X264 = {"preset": "medium"}
_X265 = {"preset": "medium", "x265-params": "log-level=error"}
_SVT = {"preset": "6", "g": "250"}  # key frames as far apart as those of x264 and x265
_SIDE = 64  # frames that are narrower make x265 and SVT-AV1 hang or end the process
_NO_SEI, _NO_HEVC_SEI = "filter_units=remove_types=6", "filter_units=remove_types=39-40"

VIDEO_ANCHORS = {
    anchor.name: anchor
    for anchor in (
        VideoAnchor("x264", ".h264", "H.264 by x264, preset medium", "libx264", "h264", _NO_SEI, _CRF, 0, 51, _X264, 2),
        VideoAnchor("x264-psnr", ".h264", "H.264 by x264, preset medium, tuned for PSNR", "libx264", "h264", _NO_SEI,
                    _CRF, 0, 51, {**_X264, "tune": "psnr"}, 2),
        VideoAnchor("x265", ".hevc", "HEVC by x265, preset medium", "libx265", "hevc", _NO_HEVC_SEI, _CRF, 0, 51,
                    _X265, _SIDE),
        VideoAnchor("x265-psnr", ".hevc", "HEVC by x265, preset medium, tuned for PSNR", "libx265", "hevc",
                    _NO_HEVC_SEI, _CRF, 0, 51, {**_X265, "tune": "psnr"}, _SIDE),
        VideoAnchor("svtav1", ".obu", "AV1 by SVT-AV1, preset 6, with the tuning of its release", "libsvtav1", "obu",
                    "null", _AV1_CRF, 1, 63, _SVT, _SIDE),
        VideoAnchor("svtav1-psnr", ".obu", "AV1 by SVT-AV1, preset 6, tuned for PSNR", "libsvtav1", "obu", "null",
                    _AV1_CRF, 1, 63, {**_SVT, "svtav1-params": "tune=1"}, _SIDE),
    )
}
"""All anchors of films by name."""
