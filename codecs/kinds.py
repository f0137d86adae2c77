"""Kinds of media: what the header of a file says about each, how large it may be, and what can be aimed at."""

import numpy as np

from fewbits.codecs.codec import Target
from fewbits.codecs.colour import MATRICES
from fewbits.codecs.film import Video, rate_in
from fewbits.codecs.image_set import ImageSet
from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio
from fewbits.codecs.sound_source import SoundSource
from fewbits.codecs.video_source import MAX_FRAME_PIXELS, VideoSource
from fewbits.entropy.container import Header
from fewbits.errors import DamagedError, InputError, LimitError

Media = Image | ImageSet | Audio | Video
"""What is decoded, in memory."""

MediaSource = Image | ImageSet | SoundSource | VideoSource
"""What is coded: all media, and sounds and films that are read while they are coded."""

IN_WORDS = {"image": "one picture", "images": "a set of images", "audio": "sound", "video": "a film"}

_LAYOUT_WIDE, _LAYOUT_PROFILE, _LAYOUT_EXIF = 8, 16, 32  # bits of the layout field of a picture
_LAYOUT_MATRIX, _LAYOUT_FULL, _LAYOUT_SOUND = 3, 4, 8  # bits of the layout field of a film


def in_words(media: MediaSource) -> str:
    """What media are, in words."""
    return IN_WORDS[kind_of(media)]


def kind_of(media: MediaSource) -> str:
    """The kind, one of `fewbits.entropy.container.KINDS`."""
    if isinstance(media, SoundSource):
        return "audio"
    if isinstance(media, VideoSource):
        return "video"
    return "images" if isinstance(media, ImageSet) else "image"


def samples_of(media: MediaSource) -> np.ndarray:
    """All that is coded, in the media's own shape and type."""
    if isinstance(media, SoundSource):
        return Audio.read(media).samples
    if isinstance(media, VideoSource):
        return Video.read(media).samples
    return media.pixels if isinstance(media, Image) else media.samples


def fields_of(media: MediaSource, sound: bool = False) -> dict[str, int]:
    """The media fields of a header; `sound`: the first section of a film is that."""
    if isinstance(media, SoundSource):
        return {"rate": media.rate, "channels": media.channels, "count": media.count}
    if isinstance(media, ImageSet):
        return {"channels": media.channels, "width": media.width, "height": media.height, "count": media.count}
    if isinstance(media, VideoSource):
        layout = MATRICES.index(media.colour.matrix) | _LAYOUT_FULL * media.colour.full_range | _LAYOUT_SOUND * sound
        return {"layout": layout, "width": media.width, "height": media.height, "count": media.count,
                "rate_numerator": media.rate.numerator, "rate_denominator": media.rate.denominator}
    layout = (media.channels | _LAYOUT_WIDE * (media.bits == 16) | _LAYOUT_PROFILE * bool(media.icc_profile)
              | _LAYOUT_EXIF * bool(media.exif))
    return {"layout": layout, "width": media.width, "height": media.height}


def shape_of(header: Header) -> dict[str, int]:
    """What a header says of the media.

    Returns:
        Of pictures `width`, `height`, `channels`, `bits`, `profile` and `exif` (1 where the first sections are those);
        of sets of images also `count` (images); of sounds `rate` (Hz), `channels` and `count` (samples a channel); of
        films `width`, `height`, `count` (frames), `rate_numerator` and `rate_denominator` (frames a second), `matrix`
        (its place in `fewbits.codecs.colour.MATRICES`), `full_range` and `sound` (1 where the first section is that).

    Raises:
        DamagedError: if the fields make no sense.
    """
    if header.kind == "audio":
        return dict(header.media)
    if header.kind == "images":
        if header.media["channels"] not in (1, 3):
            raise DamagedError(f"The file names {header.media['channels']} channels, which sets of images cannot have.")
        return {**header.media, "bits": 8, "profile": 0, "exif": 0}
    if header.kind == "video":
        return _shape_of_film(header.media)
    layout = header.media["layout"]
    shape = {"width": header.media["width"], "height": header.media["height"], "channels": layout & 7,
             "bits": 16 if layout & _LAYOUT_WIDE else 8, "profile": int(bool(layout & _LAYOUT_PROFILE)),
             "exif": int(bool(layout & _LAYOUT_EXIF))}
    if shape["channels"] not in (1, 2, 3, 4) or (shape["bits"] == 16 and shape["channels"] != 1):
        raise DamagedError(f"The file names a sample layout ({layout}) that does not exist.")
    return shape


def _shape_of_film(media: dict[str, int]) -> dict[str, int]:
    layout = media["layout"]
    if layout & _LAYOUT_MATRIX >= len(MATRICES):
        raise DamagedError(f"The file names a layout of colour ({layout}) that does not exist.")
    return {**{name: value for name, value in media.items() if name != "layout"}, "matrix": layout & _LAYOUT_MATRIX,
            "full_range": int(bool(layout & _LAYOUT_FULL)), "sound": int(bool(layout & _LAYOUT_SOUND))}


def check_limits(kind: str, shape: dict[str, int], max_pixels: int, max_samples: int) -> None:
    """Raises `LimitError` for media that are larger than the limits: pixels of all images, samples of all channels."""
    if kind == "audio":
        if shape["count"] * shape["channels"] > max_samples:
            raise LimitError(f"The sound has {shape['channels']} x {shape['count']} samples, more than the limit of "
                             f"{max_samples}: raise the limit if you trust the file.")
        return
    sides = f"{shape['width']} x {shape['height']}"
    if kind == "video" and shape["width"] * shape["height"] > MAX_FRAME_PIXELS:
        raise LimitError(f"The frames of the film have {sides} pixels, more than the limit of {MAX_FRAME_PIXELS}.")
    if _pixels(shape) > max_pixels:
        what = {"images": "images have", "video": "frames of the film have"}.get(kind, "picture has")
        sides = f"{shape['count']} x {sides}" if "count" in shape else sides
        raise LimitError(f"The {what} {sides} pixels, more than the limit of {max_pixels}: raise the limit if you "
                         "trust the file.")


def rate_of(kind: str, shape: dict[str, int], size: int) -> dict[str, float]:
    """The rate of a file of `size` bytes: `bits_per_pixel`, or for sounds `seconds` and `kbps` (1000 bits a second).

    For films all of these, and `fps`, the frames a second.
    """
    if kind == "audio":
        return _rate_in_time(shape["count"] / shape["rate"], size)
    rate = {"bits_per_pixel": size * 8 / _pixels(shape)}
    if kind != "video":
        return rate
    return {"fps": float(rate_in(shape)), **_rate_in_time(float(shape["count"] / rate_in(shape)), size), **rate}


def _rate_in_time(seconds: float, size: int) -> dict[str, float]:
    return {"seconds": seconds, "kbps": size * 8 / 1000 / seconds}


def check_fit(codec: str, wanted: str, kind: str) -> None:
    """Raises `InputError` where a codec for media of the kind `wanted` is to code some of another kind."""
    if kind != wanted:
        raise InputError(f"{codec} is for {IN_WORDS[wanted]}, not for {IN_WORDS[kind]}.")


def check_target(target: Target, kind: str) -> None:
    """Raises `InputError` for what media of a kind cannot be coded for."""
    if kind == "video":
        return
    if kind != "audio":
        if target.kbps is not None:
            raise InputError("Pictures do not last, so kbit/s mean nothing for them: aim at bits per pixel, a size, a "
                             "quality or a PSNR.")
    elif target.bits_per_pixel is not None or target.psnr is not None:
        raise InputError("Bits per pixel and PSNR are for pictures and films; of a sound, aim at kbit/s, a size or a "
                         "quality.")


def size_aimed_at(target: Target, media: MediaSource) -> int | None:
    """Bytes of the file where a rate is aimed at, None elsewhere; the target is one for such media."""
    if target.kbps is not None and isinstance(media, SoundSource | VideoSource):
        return int(target.kbps * 1000 * media.seconds / 8)
    if target.bits_per_pixel is not None and not isinstance(media, SoundSource):
        return int(target.bits_per_pixel * media.pixel_count / 8)
    return target.size


def _pixels(shape: dict[str, int]) -> int:
    """Pixels of a picture, or of all images of a set or frames of a film."""
    return shape["width"] * shape["height"] * shape.get("count", 1)
