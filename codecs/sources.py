"""Sources of all kinds, names and open files, and the media in them."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fewbits.codecs import registry
from fewbits.codecs.film import MAX_VIDEO_PIXELS
from fewbits.codecs.image_set import ImageSet
from fewbits.codecs.kinds import MediaSource, check_fit
from fewbits.codecs.media import MAX_PIXELS, Image, is_picture
from fewbits.codecs.sound import MAX_SAMPLES
from fewbits.codecs.sound_source import SoundFile, opened
from fewbits.codecs.suffixes import kind_by_suffix
from fewbits.codecs.video_source import VideoFile, holds_film

Source = str | Path | IO[bytes]


def open_for(source: Source, codec: str | None = None, max_pixels: int | None = None,
             max_samples: int = MAX_SAMPLES) -> tuple[MediaSource, str]:
    """Reads a picture or a set of images, or opens a sound or a film, which are read when they are coded.

    Args:
        source: a path, or an open file that can seek; sounds and films need it open until they are coded.
        codec: what the media are for; None for the usual codec of their kind, which the suffix of the name tells, or
            where it does not, the content: what Pillow does not know, and no film, is taken for a sound. The sound of
            a film is taken where the codec is for sounds.
        max_pixels, max_samples: limits, for pixels of all images or frames and samples of all channels; None for the
            usual limit of pictures or films.

    Returns:
        The media, and the name of the codec.

    Raises:
        InputError: if the source cannot be read, is larger than the limits, or is not for this codec.
    """
    wanted = None if codec is None else registry.entry(codec).kind
    kind = "images" if wanted == "images" else _kind_of_name(source) or wanted
    kind = "audio" if (kind, wanted) == ("video", "audio") else kind or _kind_of_content(source)
    if codec is None:
        codec = registry.default(kind)
    elif wanted is not None:
        check_fit(codec, wanted, kind)
    return _open(source, kind, max_pixels, max_samples), codec


def kind_of_source(source: Source) -> str:
    """The kind of media that a picture, a sound or a film holds, as `open_for` finds it out.

    Raises:
        InputError: if there is no such file.
    """
    return _kind_of_name(source) or _kind_of_content(source)


@contextmanager
def seekable(source: Source) -> Iterator[Source]:
    """The source, or what comes through a pipe, in a temporary file: it may be long, and is read more than once."""
    if isinstance(source, str | Path) or source.seekable():
        yield source
        return
    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(source, file)
        file.seek(0)
        yield file


def _open(source: Source, kind: str, max_pixels: int | None, max_samples: int) -> MediaSource:
    if kind == "audio":
        return SoundFile(source, max_samples)
    if kind == "video":
        return VideoFile(source, max_pixels or MAX_VIDEO_PIXELS)
    max_pixels = max_pixels or MAX_PIXELS
    if kind == "image":
        return Image.open(source, max_pixels)
    if isinstance(source, str | Path):
        return ImageSet.open(source, max_pixels)
    return ImageSet.from_idx(source, max_pixels=max_pixels)


def _kind_of_content(source: Source) -> str:
    if is_picture(source):
        return "image"
    with opened(source) as file:
        return "video" if holds_film(file) else "audio"


def _kind_of_name(source: Source) -> str | None:
    return kind_by_suffix(source) if isinstance(source, str | Path) else None
