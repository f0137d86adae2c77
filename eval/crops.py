"""Parts of pictures, coded by every codec of an evaluation at about the same rate, to look at side by side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.media import Image
from fewbits.eval.contenders import Contender, contender
from fewbits.eval.curves import Result, codecs_of
from fewbits.eval.evaluate import expand
from fewbits.eval.metrics import psnr


@dataclass(frozen=True)
class Crop:
    """A part of a decoded picture: pixels (h, w, 3) uint8; rate and PSNR are of the whole picture."""

    codec: str
    setting: float
    bpp: float
    psnr: float
    pixels: np.ndarray
    sound: ClassVar[None] = None

    @property
    def caption(self) -> str:
        return f"@{self.setting:.4g}: {self.bpp:.3f} bpp, {self.psnr:.2f} dB"


class Shown(Protocol):
    """What a codec made of a file, to look at: (h, w, 3) uint8 and a few words about it; of sounds also a FLAC file."""

    @property
    def codec(self) -> str: ...
    @property
    def pixels(self) -> np.ndarray: ...
    @property
    def caption(self) -> str: ...
    @property
    def sound(self) -> bytes | None: ...


@dataclass(frozen=True)
class CropRow:
    """The same part of one file, at about one rate: the source's pixels (h, w, 3) uint8 and what codecs made of it; of
    sounds also the source as a FLAC file."""

    file: str
    rate: float
    source: np.ndarray
    crops: tuple[Shown, ...]
    sound: bytes | None = None


def take_crops(result: Result, paths: Sequence[str | Path], rate: float = 0.3, count: int = 3, side: int = 256,
               progress: Progress = no_progress) -> list[CropRow]:
    """Codes some of the evaluated pictures once more, each codec with the setting that comes nearest to a rate.

    Args:
        paths: what `evaluate` was given.
        rate: bits per pixel of the whole picture. The setting is interpolated between those measured, so that what
            stands side by side is of about one size even where settings were far apart.
        count: pictures to take, spread over the set.
        side: of the part, in pixels.

    Returns:
        One row for each picture; lossless codecs are left out.
    """
    sources = expand(paths)
    names = list(sources)
    chosen = [names[i] for i in sorted({round(k * (len(names) - 1) / max(count - 1, 1)) for k in range(count)})]
    codecs = [contender(name) for name in codecs_of(result)
              if not all(r["exact"] for r in result["records"] if r["codec"] == name)]
    rows = []
    for i, name in enumerate(chosen):
        image = Image.open(sources[name])
        window = _window(image, side)
        crops = []
        for j, codec in enumerate(codecs):
            progress((i * len(codecs) + j) / (len(chosen) * len(codecs)), f"crop of {name}, {codec.name}")
            records = [r for r in result["records"] if (r["file"], r["codec"]) == (name, codec.name)]
            setting = _setting_at(codec, [(r["bpp"], r["setting"]) for r in records], rate)
            crops.append(_crop(codec, setting, image, result["environment"]["effort"], window))
        rows.append(CropRow(name, rate, image.rgb()[window], tuple(crops)))
    progress(1, "done")
    return rows


def _window(image: Image, side: int) -> tuple[slice, slice]:
    """The middle of the picture: nobody has chosen it for what it shows."""
    top, left = max(image.height - side, 0) // 2, max(image.width - side, 0) // 2
    return slice(top, top + side), slice(left, left + side)


def _setting_at(codec: Contender[Image], measured: list[tuple[float, float]], rate: float) -> float:
    """Setting at which a codec should come to a rate, from its measured (bits per pixel, setting)."""
    logs, settings = zip(*sorted((math.log(bpp), setting) for bpp, setting in measured), strict=True)
    setting = float(np.interp(math.log(rate), logs, settings))
    return round(setting) if codec.whole else setting


def _crop(codec: Contender[Image], setting: float, image: Image, effort: int, window: tuple[slice, slice]) -> Crop:
    data, _ = codec.encode(image, setting, effort)
    decoded = codec.decode(data).rgb()
    bpp = 8 * len(data) / (image.width * image.height)
    return Crop(codec.name, setting, bpp, psnr(image.rgb(), decoded), decoded[window].copy())
