"""The four calls that most users need, handed on by `import fewbits`."""

import builtins
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image as PillowImage

from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.media import MAX_PIXELS, Image
from fewbits.errors import InputError


def encode(source: str | Path | IO[bytes] | PillowImage.Image | np.ndarray | Image, codec: str = "hyperprior", *,
           quality: float | None = None, bits_per_pixel: float | None = None, size: int | None = None,
           psnr: float | None = None, effort: int = 5, tune: str = "psnr", keep_best: bool = False,
           device: str = "cpu") -> bytes:
    """Codes a picture into the bytes of a `.fwb` file.

    Args:
        source: a file name, an open file, a Pillow picture, or an array (H, W) or (H, W, C) of uint8.
        quality, bits_per_pixel, size, psnr, effort, tune, keep_best: see `fewbits.codecs.codec.Target`; at most one
            aim.
        device: "cpu" or "cuda".

    Raises:
        InputError: if the source cannot be read or an aim makes no sense.
        WeightsError: if the codec's weights are missing.
    """
    target = Target(quality, bits_per_pixel, size, psnr, effort, tune, keep_best)
    return files.encode(_picture(source), codec, target, device=device).data


def decode(source: bytes | str | Path, *, device: str = "cpu", max_pixels: int = MAX_PIXELS) -> Image:
    """Decodes the bytes of a `.fwb` file, or the file of that name. Raises `StreamError` or `WeightsError`."""
    return files.decode(_bytes(source), device=device, max_pixels=max_pixels).media


def info(source: bytes | str | Path) -> dict[str, object]:
    """What a `.fwb` file says about itself, without decoding it. Raises `StreamError`."""
    return files.info(_bytes(source))


def open(source: str | Path, max_pixels: int = MAX_PIXELS) -> Image:
    """Opens a picture of any format: `.fwb` or what Pillow reads. Raises `InputError` or `StreamError`."""
    if Path(source).suffix.lower() == ".fwb":
        return decode(source, max_pixels=max_pixels)
    return Image.open(source, max_pixels)


def _bytes(source: bytes | str | Path) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    try:
        with builtins.open(source, "rb") as file:
            return file.read()
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror}.") from None


def _picture(source: str | Path | IO[bytes] | PillowImage.Image | np.ndarray | Image) -> Image:
    if isinstance(source, Image):
        return source
    if isinstance(source, PillowImage.Image):
        return Image.from_pillow(source)
    if isinstance(source, np.ndarray):
        return Image(source[..., None] if source.ndim == 2 else source)
    return Image.open(source)
