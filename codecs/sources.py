"""Sources of all kinds, names and open files, and the media in them."""

from pathlib import Path
from typing import IO

from fewbits.codecs import registry
from fewbits.codecs.image_set import ImageSet
from fewbits.codecs.kinds import Media, check_fit
from fewbits.codecs.media import MAX_PIXELS, Image, is_picture
from fewbits.codecs.sound import MAX_SAMPLES, Audio
from fewbits.codecs.suffixes import kind_by_suffix

Source = str | Path | IO[bytes]


def open_for(source: Source, codec: str | None = None, max_pixels: int = MAX_PIXELS,
             max_samples: int = MAX_SAMPLES) -> tuple[Media, str]:
    """Reads a picture, a set of images or a sound.

    Args:
        source: a path, or an open file that can seek.
        codec: what the media are for; None for the usual codec of their kind, which the suffix of the name tells, or
            where it does not, the content: what Pillow does not know is taken for a sound.

    Returns:
        The media, and the name of the codec.

    Raises:
        InputError: if the source cannot be read, is larger than the limits, or is not for this codec.
    """
    wanted = None if codec is None else registry.entry(codec).kind
    kind = "images" if wanted == "images" else _kind_of_name(source) or wanted
    kind = kind or ("image" if is_picture(source) else "audio")
    if codec is not None and wanted is not None:
        check_fit(codec, wanted, kind)
    return _open(source, kind, max_pixels, max_samples), codec or registry.default(kind)


def _open(source: Source, kind: str, max_pixels: int, max_samples: int) -> Media:
    if kind == "audio":
        return Audio.open(source, max_samples)
    if kind == "image":
        return Image.open(source, max_pixels)
    if isinstance(source, str | Path):
        return ImageSet.open(source, max_pixels)
    return ImageSet.from_idx(source, max_pixels=max_pixels)


def _kind_of_name(source: Source) -> str | None:
    return kind_by_suffix(source) if isinstance(source, str | Path) else None
