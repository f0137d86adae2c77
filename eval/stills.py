"""A frame of a film, as every codec of an evaluation has it at about the same rate, to look at side by side."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fewbits.codecs.video_source import VideoSource
from fewbits.eval.crops import CropRow

_WIDTH, _HEIGHT = 640, 360  # shown of a frame, at most


@dataclass(frozen=True)
class Still:
    """A part of a decoded frame: pixels (h, w, 3) uint8; rate and PSNR are of the whole film."""

    codec: str
    setting: float
    bpp: float
    psnr: float
    pixels: np.ndarray
    sound: ClassVar[None] = None

    @property
    def caption(self) -> str:
        return f"@{self.setting:.4g}: {self.bpp:.4f} bpp, {self.psnr:.2f} dB"


class Stills:
    """Keeps, while an evaluation runs, the middle frame of its first film: one still for each codec.

    It is that of the setting which is nearest to a rate on a logarithmic scale. So no film is coded again, which may
    take long. Lossless codecs are left out.

    Args:
        rate: bits per pixel of the whole film.
    """

    def __init__(self, rate: float = 0.05) -> None:
        self._rate = rate
        self._file, self._source = "", np.empty((0, 0, 3), np.uint8)
        self._nearest: dict[str, Still] = {}

    def see(self, record: dict[str, Any], source: VideoSource, decoded: VideoSource) -> None:
        """Takes what is worth keeping; arguments as of `videos.Seen`, of a record with PSNR."""
        if not self._file:
            self._file, self._source = record["file"], _middle(source)
        known = self._nearest.get(record["codec"])
        if record["file"] != self._file or record["exact"]:
            return
        if known is None or self._distance(record["bpp"]) < self._distance(known.bpp):
            codec, setting, bpp, psnr = record["codec"], record["setting"], record["bpp"], record["metrics"]["psnr"]
            self._nearest[codec] = Still(codec, setting, bpp, psnr, _middle(decoded))

    def rows(self) -> list[CropRow]:
        """The one row, for reports."""
        return [CropRow(self._file, self._rate, self._source, tuple(self._nearest.values()))]

    def _distance(self, bpp: float) -> float:
        return abs(math.log(bpp / self._rate))


def _middle(film: VideoSource) -> np.ndarray:
    """The middle of the frame in the middle, in memory of its own: nobody has chosen it for what it shows."""
    number = film.count // 2
    frame = next(film.frames(number, number + 1))
    top, left = max(film.height - _HEIGHT, 0) // 2, max(film.width - _WIDTH, 0) // 2
    return frame[top : top + _HEIGHT, left : left + _WIDTH].copy()
