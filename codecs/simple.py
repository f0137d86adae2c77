"""The four calls that most users need, handed on by `import fewbits`."""

import builtins
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image as PillowImage

from fewbits.codecs import files, registry, sources
from fewbits.codecs.codec import Target
from fewbits.codecs.image_set import ImageSet
from fewbits.codecs.kinds import Media, MediaSource
from fewbits.codecs.media import MAX_PIXELS, Image
from fewbits.codecs.sound import MAX_SAMPLES
from fewbits.errors import InputError


def encode(source: str | Path | IO[bytes] | PillowImage.Image | np.ndarray | MediaSource, codec: str | None = None, *,
           quality: float | None = None, bits_per_pixel: float | None = None, kbps: float | None = None,
           size: int | None = None, psnr: float | None = None, effort: int = 5, progressive: bool = False,
           tune: str = "psnr", keep_best: bool = False, checkpoint: str | Path | None = None,
           audio: str | None = None, device: str = "cpu", weights: str | Path | None = None) -> bytes:
    """Codes a picture, a sound, a film, or a set of images with a codec for these, into the bytes of a `.fwb` file.

    Args:
        source: a file name, an open file, a Pillow picture, an array (H, W) or (H, W, C) of uint8, a sound: a
            `fewbits.codecs.sound.Audio` or another `fewbits.codecs.sound_source.SoundSource`, or a film: a
            `fewbits.codecs.film.Video` or another `fewbits.codecs.video_source.VideoSource`; of a set of images an
            idx file, a folder, or an array (N, H, W) or (N, H, W, C).
        codec: its name; None for the usual codec of the media's kind: "hyperprior" for pictures, "speech" for sounds.
        quality, bits_per_pixel, kbps, size, psnr, effort, progressive, tune, keep_best, checkpoint: see
            `fewbits.codecs.codec.Target`; at most one aim.
        audio: what becomes of the sound of a film: "copy" (also None), "none", or the name of a codec.
        device: "cpu" or "cuda".
        weights: a weights file, for codecs that take one of yours.

    Raises:
        InputError: if the source cannot be read or an aim makes no sense.
        WeightsError: if the codec's weights are missing.
    """
    target = Target(quality=quality, bits_per_pixel=bits_per_pixel, kbps=kbps, size=size, psnr=psnr, effort=effort,
                    progressive=progressive, tune=tune, keep_best=keep_best,
                    checkpoint=None if checkpoint is None else Path(checkpoint))
    own = None if weights is None else Path(weights)
    if isinstance(source, MediaSource | PillowImage.Image | np.ndarray):
        return files.encode(_in_memory(source, codec), codec, target, audio=audio, device=device, weights=own).data
    with sources.seekable(source) as file:
        media, codec = sources.open_for(file, codec)
        return files.encode(media, codec, target, audio=audio, device=device, weights=own).data


def decode(source: bytes | str | Path, *, device: str = "cpu", levels: int | None = None,
           max_pixels: int = MAX_PIXELS, max_samples: int = MAX_SAMPLES, weights: str | Path | None = None) -> Media:
    """Decodes the bytes of a `.fwb` file, or the file of that name.

    Args:
        levels: of a codec that works in levels, how many to decode; None for all.
        weights: the weights file that it was made with, where that was one of yours.

    Raises:
        InputError: for levels that the file does not have.
        StreamError, WeightsError: if it cannot be decoded.
    """
    return files.decode(_bytes(source), device=device, levels=levels, max_pixels=max_pixels, max_samples=max_samples,
                        weights=None if weights is None else Path(weights)).media


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


def _in_memory(source: PillowImage.Image | np.ndarray | MediaSource, codec: str | None) -> MediaSource:
    """The media of what is no file; the codec tells a picture from a set of images."""
    if isinstance(source, PillowImage.Image):
        return Image.from_pillow(source)
    if not isinstance(source, np.ndarray):
        return source
    as_set = codec is not None and registry.entry(codec).kind == "images"
    made_of, axes_of_grey = (ImageSet, 3) if as_set else (Image, 2)
    return made_of(source[..., None] if source.ndim == axes_of_grey else source)
