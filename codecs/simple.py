"""The four calls that most users need, handed on by `import fewbits`."""

import builtins
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image as PillowImage

from fewbits.codecs import files, registry
from fewbits.codecs.codec import Target
from fewbits.codecs.image_set import ImageSet
from fewbits.codecs.media import MAX_PIXELS, Image
from fewbits.errors import InputError


def encode(source: str | Path | IO[bytes] | PillowImage.Image | np.ndarray | files.Media, codec: str = "hyperprior", *,
           quality: float | None = None, bits_per_pixel: float | None = None, size: int | None = None,
           psnr: float | None = None, effort: int = 5, tune: str = "psnr", keep_best: bool = False,
           device: str = "cpu") -> bytes:
    """Codes a picture, or a set of images with a codec for these, into the bytes of a `.fwb` file.

    Args:
        source: a file name, an open file, a Pillow picture, or an array (H, W) or (H, W, C) of uint8; of a set of
            images an idx file, a folder, or an array (N, H, W) or (N, H, W, C).
        quality, bits_per_pixel, size, psnr, effort, tune, keep_best: see `fewbits.codecs.codec.Target`; at most one
            aim.
        device: "cpu" or "cuda".

    Raises:
        InputError: if the source cannot be read or an aim makes no sense.
        WeightsError: if the codec's weights are missing.
    """
    target = Target(quality, bits_per_pixel, size, psnr, effort, tune, keep_best)
    media = _media(source, registry.entry(codec).kind == "images")
    return files.encode(media, codec, target, device=device).data


def decode(source: bytes | str | Path, *, device: str = "cpu", max_pixels: int = MAX_PIXELS) -> files.Media:
    """Decodes the bytes of a `.fwb` file, or the file of that name. Raises `StreamError` or `WeightsError`."""
    return files.decode(_bytes(source), device=device, max_pixels=max_pixels).media


def info(source: bytes | str | Path) -> dict[str, object]:
    """What a `.fwb` file says about itself, without decoding it. Raises `StreamError`."""
    return files.info(_bytes(source))


def open(source: str | Path, max_pixels: int = MAX_PIXELS) -> Image:
    """Opens a picture of any format: `.fwb` or what Pillow reads. Raises `InputError` or `StreamError`."""
    if Path(source).suffix.lower() == ".fwb":
        return files.decode(_bytes(source), max_pixels=max_pixels).image
    return Image.open(source, max_pixels)


def _bytes(source: bytes | str | Path) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    try:
        with builtins.open(source, "rb") as file:
            return file.read()
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror}.") from None


def _media(source: str | Path | IO[bytes] | PillowImage.Image | np.ndarray | files.Media, as_set: bool) -> files.Media:
    if isinstance(source, files.Media):
        return source
    if isinstance(source, PillowImage.Image):
        return Image.from_pillow(source)
    if isinstance(source, np.ndarray):
        media, axes_of_grey = (ImageSet, 3) if as_set else (Image, 2)
        return media(source[..., None] if source.ndim == axes_of_grey else source)
    if not as_set:
        return Image.open(source)
    return ImageSet.open(source) if isinstance(source, str | Path) else ImageSet.from_idx(source)
